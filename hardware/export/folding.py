"""Batch norms folded into the layers before them: the same network with fewer layers."""

from dataclasses import replace

import numpy as np

from hardware.export.source import STATISTICS, Source
from search_spaces.layers import Conv, Dense, Depthwise, Layer


def fold_norms(source: Source) -> tuple[tuple[Layer, ...], dict[str, np.ndarray]]:
    """The network without the norms that fold into the layers before them, which get a bias if they had none.

    Returns:
      Layers, of which the last is still the output, and their weights. The answers are the same, to rounding.
    """
    value = list(range(len(source.layers)))  # the position that holds the same numbers
    kept: dict[int, Layer] = {}
    weights = dict(source.weights)
    for position, layer in enumerate(source.layers):
        norm = source.folded_norm(position)
        if norm is not None and isinstance(layer, Conv | Depthwise | Dense):
            (follower,) = source.readers[position]
            value[follower] = position
            weight, bias = source.folded(position, layer)
            for name in STATISTICS:
                del weights[f"{norm.path}.{name}"]
            weights[f"{layer.path}.weight"] = weight.astype(np.float32)
            weights[f"{layer.path}.bias"] = np.asarray(bias, np.float32)  # a norm always leaves one
            layer = replace(layer, bias=True)
        if value[position] == position:
            kept[position] = layer
    place = {position: i for i, position in enumerate(kept)}
    return tuple(
        replace(layer, inputs=tuple(place[value[source]] for source in layer.inputs)) for layer in kept.values()
    ), weights

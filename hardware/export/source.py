"""What an exporter writes from: the layers that matter, checked, their weights, and the norms that fold into them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hardware.costs.kernels import fused_chain, readers_of
from hardware.export.shapes import check_layer
from hardware.export.weights import check_weights
from search_spaces.alive import alive
from search_spaces.layers import Conv, Dense, Depthwise, Input, Layer, Norm

STATISTICS = ("scale", "bias", "mean", "var")
"""A norm's weights."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A network to write.

    Attributes:
      layers: those that can change the answer (`search_spaces/alive.py`), in execution order.
      weights: arrays by `<layer.path>.<name>`, as `hardware/export/weights.py` says.
      readers: positions that read each layer's output.
      output: position of the layer that nothing reads.
    """

    layers: tuple[Layer, ...]
    weights: Mapping[str, np.ndarray]
    readers: Sequence[Sequence[int]]
    output: int

    def weight(self, layer: Layer, name: str) -> np.ndarray:
        """A weight of a layer."""
        return self.weights[f"{layer.path}.{name}"]

    def folded_norm(self, position: int) -> Norm | None:
        """The norm that is folded into the weights of the layer at `position`, if one is.

        A norm is folded into the convolution or dense layer before it where nothing else reads what is in between.
        """
        chain = fused_chain(self.layers, self.readers, position)
        norm = self.layers[chain[0]] if chain else None
        return norm if isinstance(norm, Norm) else None

    def folded(self, position: int, layer: Conv | Depthwise | Dense) -> tuple[np.ndarray, np.ndarray | None]:
        """Weight and bias with the norm that follows folded in; the output channels are the weight's last axis."""
        weight, bias = self.weight(layer, "weight"), self.weight(layer, "bias") if layer.bias else None
        norm = self.folded_norm(position)
        if norm is None:
            return weight, bias
        factor, offset = self.affine(norm)
        return weight * factor, offset if bias is None else bias * factor + offset

    def affine(self, norm: Norm) -> tuple[np.ndarray, np.ndarray]:
        """What a norm multiplies each channel by, and what it adds then, in float64."""
        scale, offset, mean, var = (self.weight(norm, name).astype(np.float64) for name in STATISTICS)
        factor = scale / np.sqrt(var + norm.epsilon)
        return factor, offset - mean * factor


def source_of(layers: Sequence[Layer], weights: Mapping[str, np.ndarray]) -> Source:
    """A network that can be written, whatever for.

    Raises:
      ValueError: when weights are missing, unknown or of the wrong shape; when attributes and shapes of layers do not
        fit together (`hardware/export/shapes.py`); when the network has not one input and one output.
    """
    check_weights(layers, weights)
    left = alive(layers)
    for position in range(len(left)):
        check_layer(left, position)
    readers = readers_of(left)
    outputs = [position for position, reading in enumerate(readers) if not reading]
    inputs = sum(isinstance(layer, Input) for layer in left)
    if len(outputs) != 1 or inputs != 1:
        raise ValueError(f"a network to export has one input and one output, got {inputs} and {len(outputs)}")
    return Source(layers=left, weights=weights, readers=readers, output=outputs[0])

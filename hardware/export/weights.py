"""What a network's weights are called and how they are shaped.

`<layer.path>.<name>`: a convolution's `weight` is `[kernel, kernel_width, in / groups, out]`, a depthwise one's
`[kernel, kernel, 1, channels]`, a dense layer's `[in, out]`, and those with a bias have a `bias` `[out]`. A norm has
`scale`, `bias`, `mean` and `var`, each `[channels]`, a layer norm `scale` and `bias`. A patch embedding's `weight` is
`[patch, patch, in, out]`, and it has a `bias`; positions have a `weight` `[tokens, channels]` and, with a class token,
a `token` `[channels]`. Relative positions have tables `rows` and `columns`, `[relative_table_size, head_dim]`.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from search_spaces.layers import (
    Conv,
    Dense,
    Depthwise,
    Layer,
    LayerNorm,
    Norm,
    PatchEmbed,
    Positions,
    Relative,
    relative_table_size,
)


def weight_shapes(layers: Sequence[Layer]) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of a network by its name, in execution order.

    Raises:
      ValueError: when two layers have the same path.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    paths = [layer.path for layer in layers if layer.path]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise ValueError(f"two layers have their weights at path `{twice}`; every layer needs its own")
    for layer in layers:
        channels = layer.shape[-1]
        match layer:
            case Conv():
                size = (layer.kernel, layer.kernel_width or layer.kernel)
                shapes[f"{layer.path}.weight"] = (*size, layer.in_channels // layer.groups, channels)
            case Depthwise():
                shapes[f"{layer.path}.weight"] = (layer.kernel, layer.kernel, 1, channels)
            case Dense():
                shapes[f"{layer.path}.weight"] = (layer.in_channels, channels)
            case Norm():
                shapes |= {f"{layer.path}.{name}": (channels,) for name in ("scale", "bias", "mean", "var")}
            case LayerNorm():
                shapes |= {f"{layer.path}.{name}": (channels,) for name in ("scale", "bias")}
            case PatchEmbed():
                shapes[f"{layer.path}.weight"] = (layer.patch, layer.patch, layer.in_channels, channels)
                shapes[f"{layer.path}.bias"] = (channels,)
            case Positions():
                shapes[f"{layer.path}.weight"] = (layer.shape[0], channels)
                if layer.class_token:
                    shapes[f"{layer.path}.token"] = (channels,)
            case Relative():
                size = relative_table_size(layer.reach, layer.class_token)
                shapes |= {f"{layer.path}.{name}": (size, layer.head_dim) for name in ("rows", "columns")}
            case _:
                pass
        if isinstance(layer, Conv | Depthwise | Dense) and layer.bias:
            shapes[f"{layer.path}.bias"] = (channels,)
    return shapes


def check_weights(layers: Sequence[Layer], weights: Mapping[str, np.ndarray]) -> None:
    """Raises unless the weights are exactly those of the layers.

    Raises:
      ValueError: on a missing name, a name no layer has, or a wrong shape.
    """
    shapes = weight_shapes(layers)
    missing = [name for name in shapes if name not in weights]
    unknown = [name for name in weights if name not in shapes]
    if missing or unknown:
        raise ValueError(
            f"the weights are not those of the layers: {len(missing)} missing {missing[:3]},"
            f" {len(unknown)} that no layer has {unknown[:3]}; names are `<layer.path>.<name>`"
        )
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise ValueError(f"weight `{name}` must be {shape}, got {weights[name].shape}")


def random_weights(layers: Sequence[Layer], seed: int = 0) -> dict[str, np.ndarray]:
    """Weights for a network that only needs to run, not to be right: what a network takes in time hangs on its layers.

    Normal with variance `2 / fan_in`, so that values neither vanish nor overflow; norms keep what they are given.
    """
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}
    for name, shape in weight_shapes(layers).items():
        kind = name.rpartition(".")[-1]
        if len(shape) > 1:
            weights[name] = rng.normal(0, math.sqrt(2 / math.prod(shape[:-1])), shape).astype(np.float32)
        else:
            weights[name] = np.full(shape, 1 if kind in ("scale", "var") else 0, np.float32)
    return weights


def random_images(
    layers: Sequence[Layer], images: int = 4, seed: int = 0
) -> Float[np.ndarray, "images height width channels"]:
    """Images for a network that only needs to run: standard normal, as normalised images are."""
    return np.random.default_rng(seed).normal(size=(images, *layers[0].shape)).astype(np.float32)

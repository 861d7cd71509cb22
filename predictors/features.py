"""What a network's kernels have to do, group by group: the columns of an additive model of its latency.

A runtime on a CPU works through the kernels one after another. Each costs a call, its arithmetic and its traffic, and
each kind of kernel has a price of its own for them; so these are summed for each kind. Batch normalisation is folded
into the layer before it and ReLU (or ReLU6) is fused with it, as runtimes do, so neither counts.

Groups of channels and dilation change what a multiplication costs, so such convolutions have groups of their own. In
onnxruntime, on one thread, six 3x3 convolutions of 64 channels at 32x32 ran at 50 GMAC/s when dense, 27 when dilated,
51 in groups of 16 channels and 13 to 7 in groups of 8 to 2; depthwise ones as fast when dilated as when not.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from search_spaces.alive import alive
from search_spaces.layers import (
    Activation,
    Add,
    AvgPool,
    Channels,
    Concat,
    Conv,
    Dense,
    Depthwise,
    Flatten,
    GlobalPool,
    Input,
    Layer,
    LayerNorm,
    MaxPool,
    Mix,
    Norm,
    PatchEmbed,
    Positions,
    Relative,
    Scale,
    Scores,
    Shuffle,
    Softmax,
    Take,
    Tokens,
    Zeros,
    macs,
    params,
    taps,
)

GROUPS: dict[str, tuple[str, ...]] = {
    "conv": ("kernels", "macs", "activations", "weights"),
    "dilated": ("kernels", "macs", "activations", "weights"),
    "grouped": ("kernels", "macs", "activations", "weights"),
    "pointwise": ("kernels", "macs", "activations", "weights"),
    "depthwise3": ("kernels", "macs", "activations"),
    "depthwise5": ("kernels", "macs", "activations"),
    "depthwise7": ("kernels", "macs", "activations"),
    "depthwise_other": ("kernels", "macs", "activations"),
    "matmul": ("kernels", "macs", "activations"),
    "dense": ("kernels", "weights"),
    "pool": ("kernels", "activations"),
    "elementwise": ("kernels", "activations"),
    "copy": ("kernels", "activations"),
    "other": ("kernels", "activations"),
}
"""Which sums each kind of kernel has; those that follow from the others (a dense layer's MACs) are left out."""

FEATURE_NAMES: tuple[str, ...] = ("constant", *(f"{group}_{what}" for group, sums in GROUPS.items() for what in sums))
"""The columns: a constant 1, then for each group `kernels` (how many), `macs`, `activations` (values read and written,
without the weights) and `weights` (parameters read)."""

_START = {group: FEATURE_NAMES.index(f"{group}_kernels") for group in GROUPS}
_WEIGHTS = {group for group, sums in GROUPS.items() if "weights" in sums}
_MACS = {group for group, sums in GROUPS.items() if "macs" in sums}
_ACTIVATIONS = {group for group, sums in GROUPS.items() if "activations" in sums}


def features(layers: Sequence[Layer]) -> Float[np.ndarray, " features"]:
    """What the kernels of one network add up to, in the order of `FEATURE_NAMES`.

    Layers of a kind not known here count under `other`, by the values they read and write; layers that can't change
    the answer (`search_spaces/alive.py`) don't count.
    """
    layers = alive(layers)
    sums = [0.0] * len(FEATURE_NAMES)
    sums[0] = 1.0
    values = [layer.shape[0] * layer.shape[1] * layer.shape[2] for layer in layers]
    for position, layer in enumerate(layers):
        group = kernel_group(layer)
        if group is None:
            continue
        at = _START[group]
        sums[at] += 1
        if group in _MACS:
            at += 1
            sums[at] += macs(layer)
        if group in _ACTIVATIONS:
            at += 1
            sums[at] += values[position] + sum([values[i] for i in layer.inputs])
        if group in _WEIGHTS:
            at += 1
            sums[at] += params(layer)
    return np.array(sums)


def kernel_group(layer: Layer) -> str | None:
    """The kind of kernel that runs a layer; None where it is folded into another, moves nothing or is the image."""
    match layer:
        case Input() | Norm() | Activation(kind="relu" | "relu6") | Flatten():
            return None
        case Conv() if 1 < layer.groups == layer.in_channels:
            return _depthwise(layer.kernel, layer.kernel_width or layer.kernel)
        case Conv() if layer.groups > 1:
            return "grouped"
        case Conv():
            return "pointwise" if taps(layer) == 1 else "dilated" if layer.dilation > 1 else "conv"
        case Depthwise():
            return _depthwise(layer.kernel, layer.kernel)
        case Dense():
            return "dense" if layer.shape[:2] == (1, 1) else "pointwise"
        case PatchEmbed():
            return "conv"
        case Scores() | Mix() | Relative():
            return "matmul"
        case GlobalPool() | AvgPool() | MaxPool():
            return "pool"
        case Activation() | Add() | Scale() | Zeros() | LayerNorm() | Softmax() | Positions() | Take():
            return "elementwise"
        case Concat() | Channels() | Shuffle() | Tokens():
            return "copy"
        case _:
            return "other"


def _depthwise(height: int, width: int) -> str:
    return f"depthwise{height}" if height == width in (3, 5, 7) else "depthwise_other"

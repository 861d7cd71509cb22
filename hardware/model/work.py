"""What a network asks of whatever runs it, in terms that can be counted; what each costs is a fitted model's.

Each term is a sum over kernels and never falls as a network grows, so that a model with costs of 0 or more never says
that more network takes less.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hardware.costs.kernels import Kernel, kernels
from search_spaces.alive import alive
from search_spaces.layers import (
    Activation,
    Add,
    AvgPool,
    Conv,
    GlobalPool,
    Layer,
    LayerNorm,
    MaxPool,
    Norm,
    Scale,
    Softmax,
)

FAR = 2**16  # values of a kernel: 256 kB of floats, what a small cache holds
POINTWISE = Add | Norm | Activation | LayerNorm | Softmax
"""Elementwise layers that compute; the others copy, but for `Scale`."""
SMOOTH = ("swish", "sigmoid", "tanh", "gelu")  # need an exponential
HARD = ("hard_swish", "hard_sigmoid")  # need a multiplication or two


@dataclass(frozen=True, kw_only=True)
class Term:
    """One thing that is counted.

    Attributes:
      count: of a kernel.
      prior: what one takes, beside one MAC of a pointwise convolution, as far as is known before anything is measured.
      kind: `arithmetic`, `traffic` or `calls`: what devices differ in together.
    """

    count: Callable[[Kernel], float]
    prior: float
    kind: str


def _windowed(kernel: Kernel) -> bool:
    return kernel.kind == "conv"


def _product(kernel: Kernel) -> bool:
    return kernel.kind in ("conv", "pointwise")


def _groups(kernel: Kernel) -> int:
    return getattr(kernel.layer, "groups", 1) if _product(kernel) else 1


def _channels(kernel: Kernel) -> tuple[float, float]:
    """Input and output channels of a group; of what attention multiplies, one head's."""
    layer, groups = kernel.layer, _groups(kernel)
    ins = getattr(layer, "in_channels", None) or getattr(layer, "head_dim", layer.shape[-1])
    return ins / groups, layer.shape[-1] / groups


def _taps(kernel: Kernel) -> int:
    layer = kernel.layer
    height = getattr(layer, "kernel", 0) or getattr(layer, "patch", 1)
    return height * (getattr(layer, "kernel_width", None) or height)


def _winograd(kernel: Kernel) -> bool:
    layer = kernel.layer
    return isinstance(layer, Conv) and (
        layer.kernel,
        layer.kernel_width or layer.kernel,
        layer.stride,
        layer.groups,
        layer.dilation,
    ) == (3, 3, 1, 1, 1)


def _values(kernel: Kernel) -> int:
    return kernel.input_values + kernel.output_values


def _activated(kernel: Kernel, kinds: Sequence[str]) -> int:
    layers = (kernel.layer, *kernel.fused)
    times = sum(isinstance(each, Activation) and each.kind in kinds for each in layers)
    return kernel.output_values * times


def _copies(kernel: Kernel) -> bool:
    return kernel.kind == "elementwise" and not isinstance(kernel.layer, POINTWISE | Scale)


def _side(kernel: Kernel) -> int:
    return getattr(kernel.layer, "kernel", 1)


TERMS: Mapping[str, Term] = {
    # Of a window one tap: what a convolution of 1x1 has, and a larger one at the least.
    "tap_macs": Term(count=lambda k: k.macs / _taps(k) if _product(k) else 0.0, prior=1.0, kind="arithmetic"),
    # ... on top, where there are windows
    "window_macs": Term(count=lambda k: k.macs * _windowed(k), prior=0.5, kind="arithmetic"),
    # ... on top, where Winograd's algorithm does not serve
    "direct_macs": Term(count=lambda k: k.macs * (_windowed(k) and not _winograd(k)), prior=0.6, kind="arithmetic"),
    # ... on top, where the image is read: few channels, in no runtime's favourite layout
    "image_macs": Term(count=lambda k: k.macs * (_product(k) and k.reads == (0,)), prior=1.0, kind="arithmetic"),
    "grouped_macs": Term(count=lambda k: k.macs * (_groups(k) > 1), prior=0.5, kind="arithmetic"),
    # Few input channels: sums too short for a full pipeline; few output channels: inputs read for little.
    "sums": Term(count=lambda k: k.macs / _channels(k)[0] if _product(k) else 0.0, prior=3.0, kind="arithmetic"),
    "spreads": Term(count=lambda k: k.macs / _channels(k)[1] if _product(k) else 0.0, prior=3.0, kind="arithmetic"),
    "depthwise_macs": Term(count=lambda k: k.macs * (k.kind == "depthwise"), prior=3.0, kind="arithmetic"),
    "depthwise_5_macs": Term(
        count=lambda k: k.macs * (k.kind == "depthwise" and _side(k) > 3), prior=0.5, kind="arithmetic"
    ),
    "depthwise_7_macs": Term(
        count=lambda k: k.macs * (k.kind == "depthwise" and _side(k) > 5), prior=0.5, kind="arithmetic"
    ),
    "smooth_values": Term(count=lambda k: _activated(k, SMOOTH), prior=30.0, kind="arithmetic"),
    "hard_values": Term(count=lambda k: _activated(k, HARD), prior=6.0, kind="arithmetic"),
    "pooled_values": Term(
        count=lambda k: k.output_values * _side(k) ** 2 * isinstance(k.layer, MaxPool | AvgPool),
        prior=2.0,
        kind="arithmetic",
    ),
    "depthwise_values": Term(count=lambda k: _values(k) * (k.kind == "depthwise"), prior=5.0, kind="traffic"),
    "product_values": Term(count=lambda k: _values(k) * _product(k), prior=2.0, kind="traffic"),
    "added_values": Term(
        count=lambda k: _values(k) * isinstance(k.layer, POINTWISE),
        prior=3.0,
        kind="traffic",
    ),
    "scaled_values": Term(count=lambda k: _values(k) * isinstance(k.layer, Scale), prior=3.0, kind="traffic"),
    "averaged_values": Term(
        count=lambda k: k.input_values * isinstance(k.layer, GlobalPool), prior=2.0, kind="traffic"
    ),
    "copied_values": Term(count=lambda k: 2 * k.output_values * _copies(k), prior=4.0, kind="traffic"),
    # ... on top, where a kernel's tensors do not stay in a cache
    "far_values": Term(
        count=lambda k: _values(k) * (k.kind != "dense" and _values(k) + k.weight_values > FAR),
        prior=5.0,
        kind="traffic",
    ),
    "weights": Term(count=lambda k: k.weight_values * _product(k), prior=2.0, kind="traffic"),
    # ... on top, where they have windows: Winograd's algorithm has more of them
    "window_weights": Term(count=lambda k: k.weight_values * _windowed(k), prior=10.0, kind="traffic"),
    "dense_weights": Term(count=lambda k: k.weight_values * (k.kind == "dense"), prior=5.0, kind="traffic"),
    "calls": Term(count=lambda k: 1.0, prior=8e4, kind="calls"),
    "group_calls": Term(count=lambda k: _groups(k) - 1.0, prior=8e4, kind="calls"),  # where groups run one by one
}
"""By name. Where terms overlap (`window_macs`, `direct_macs`), the narrower is what comes on top."""


def work(layers: Sequence[Layer]) -> Float[np.ndarray, " terms"]:
    """How much of each of the `TERMS` a network asks for, for one image.

    Raises:
      ValueError: on a layer of unknown kind.
    """
    run = kernels(alive(layers))
    return np.array([math.fsum(term.count(kernel) for kernel in run) for term in TERMS.values()])

"""Elastic layers: `layer.cut(...)` reads the part of its parameters an architecture uses, calling it runs that part.

Each layer is written once, as a concrete layer. Under a masked reading `cut` weights the parameters, under a cut
reading it slices them, and in an extracted network it does nothing; extraction is the very same `cut`, kept.
Images are NHWC, convolution weights `[kernel, kernel, in, out]`. `init` takes its numbers from `initialise.py`.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from search_spaces.axes import EVERYTHING, Axis, Taps
from search_spaces.blocks.depthwise import depthwise
from search_spaces.initialise import Draw
from search_spaces.layers import Nonlinearity, Padding, same_padding
from search_spaces.named import named

Stats = dict[str, Any]  # {"mean": [channels], "var": [channels]}
Images = Float[Array, "batch height width channels"]
Convolved = Float[Array, "batch out_height out_width out_channels"]
Normed = Float[Array, "*positions channels"]

_FUNCTIONS: dict[Nonlinearity, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "hard_swish": jax.nn.hard_swish,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "swish": jax.nn.silu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
}


def _activate(x: Array, *, kind: Nonlinearity) -> Array:
    return _FUNCTIONS[kind](x)


NONLINEARITIES: dict[Nonlinearity, Callable[[Array], Array]] = {
    kind: named("Activation", _activate, kind=kind) for kind in _FUNCTIONS
}

GATES = ("hard_sigmoid", "sigmoid")  # nonlinearities that don't leave 0 at 0

EPSILON = 1e-3  # of batch norm, as in MobileNetV3 (arXiv:1905.02244)


def make_divisible(value: int | float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `value`, but never less than 0.9 of it (MobileNet's rounding rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class Conv(nnx.Module):
    """A convolution of all channels, or in groups of them.

    Padded by `dilation * (kernel // 2)` on each side, unless `padding` says the rows above and below and the columns
    left and right, or is `same` (TensorFlow's, by the image's size). Symmetric padding is what exporters and runtimes
    have; at stride 2 it and "SAME" differ.
    """

    def __init__(
        self,
        weight: Any,
        stride: int = 1,
        *,
        bias: Any = None,
        groups: int = 1,
        dilation: int = 1,
        padding: Padding | Literal["same"] | None = None,
    ):
        self.weight = nnx.Param(weight)
        self.bias = None if bias is None else nnx.Param(bias)
        self.stride, self.groups, self.dilation = stride, groups, dilation
        self.padding: Padding | Literal["same"] | None = padding

    @classmethod
    def init(
        cls,
        draw: Draw,
        in_channels: int,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        kernel_width: int | None = None,
        bias: bool = False,
        groups: int = 1,
        **more: Any,
    ) -> "Conv":
        """He initialisation over the fan-out, as the MobileNets use; biases of zero."""
        deviation = math.sqrt(2 * groups / (kernel * (kernel_width or kernel) * channels))
        weight = draw(kernel, kernel_width or kernel, in_channels // groups, channels) * deviation
        return cls(weight, stride, bias=jnp.zeros(channels) if bias else None, groups=groups, **more)

    def cut(self, ins: Axis, outs: Axis, taps: Taps = EVERYTHING, stride: int | None = None) -> "Conv":
        """The same layer between fewer channels, with a smaller kernel or at another stride (a static choice).

        One in groups keeps its input channels: which of them a group reads would change with their number.
        """
        weight = outs.cut(self.weight[...], 3)
        return Conv(
            taps.cut(ins.cut(weight, 2) if self.groups == 1 else weight),
            self.stride if stride is None else stride,
            bias=None if self.bias is None else outs.cut(self.bias[...], 0),
            groups=self.groups,
            dilation=self.dilation,
            padding=self.padding,
        )

    def pads(self, height: int, width: int) -> Padding:
        """Rows above and below and columns left and right of an image of this size."""
        size_rows, size_columns = self.weight.shape[:2]
        if self.padding == "same":
            return same_padding((height, width, 1), (size_rows, size_columns), self.stride)
        rows, columns = (self.dilation * (side // 2) for side in (size_rows, size_columns))
        return self.padding or (rows, rows, columns, columns)

    def __call__(self, x: Images) -> Convolved:
        """Convolves."""
        weight = self.weight[...]
        above, below, left, right = self.pads(*x.shape[1:3])
        if weight.shape[:2] == (1, 1) and self.stride == self.groups == 1 and not any((above, below, left, right)):
            y = x @ weight[0, 0]  # faster than a convolution on CPUs
        else:
            y = jax.lax.conv_general_dilated(
                x,
                weight,
                (self.stride, self.stride),
                ((above, below), (left, right)),
                rhs_dilation=(self.dilation, self.dilation),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=self.groups,
            )
        return y if self.bias is None else y + self.bias[...]


class Depthwise(nnx.Module):
    """A depthwise convolution with an elastic kernel: smaller kernels are the centre of the largest.

    With transform matrices, one for each smaller kernel, the centre of the next larger kernel is passed through a
    matrix that all channels share (Once-for-All, arXiv:1908.09791); without, it is used as it is (as in Single-Path
    NAS, arXiv:1904.02877).
    """

    def __init__(
        self, weight: Any, stride: int = 1, transforms: Sequence[Any] = (), *, bias: Any = None, dilation: int = 1
    ):
        self.weight = nnx.Param(weight)
        self.bias = None if bias is None else nnx.Param(bias)
        self.transforms = nnx.List([nnx.Param(matrix) for matrix in transforms])
        self.stride, self.dilation = stride, dilation

    @classmethod
    def init(
        cls,
        draw: Draw,
        channels: int,
        kernel: int,
        stride: int = 1,
        transformed: Sequence[int] = (),
        *,
        bias: bool = False,
        dilation: int = 1,
    ) -> "Depthwise":
        """He initialisation over the taps; matrices start as the identity, for the kernels in `transformed`."""
        transforms = [jnp.eye(size * size) for size in sorted(transformed, reverse=True)]
        weight = draw(kernel, kernel, 1, channels) * (math.sqrt(2) / kernel)
        return cls(weight, stride, transforms, bias=jnp.zeros(channels) if bias else None, dilation=dilation)

    def cut(self, channels: Axis, taps: Taps, stride: int | None = None) -> "Depthwise":
        """The same layer over fewer channels, with a smaller kernel or at another stride (a static choice).

        The kernel has been through its matrices then, and none are left.
        """
        weight = channels.cut(self.weight[...], 3)
        transforms = tuple(matrix[...] for matrix in self.transforms)
        return Depthwise(
            taps.cut(weight, transforms),
            self.stride if stride is None else stride,
            bias=None if self.bias is None else channels.cut(self.bias[...], 0),
            dilation=self.dilation,
        )

    def __call__(self, x: Images) -> Convolved:
        """Convolves each channel by itself."""
        weight = self.weight[...]
        if self.dilation == 1:
            y = depthwise(x, weight, self.stride)
        else:
            pads = [(self.dilation * (size // 2),) * 2 for size in weight.shape[:2]]
            y = jax.lax.conv_general_dilated(
                x,
                weight,
                (self.stride, self.stride),
                pads,
                rhs_dilation=(self.dilation, self.dilation),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=x.shape[-1],
            )
        return y if self.bias is None else y + self.bias[...]


class Dense(nnx.Module):
    """A linear map of vectors, or of each token's, with bias or without."""

    def __init__(self, weight: Any, bias: Any = None):
        self.weight = nnx.Param(weight)
        self.bias = None if bias is None else nnx.Param(bias)

    @classmethod
    def init(cls, draw: Draw, in_channels: int, channels: int, bias: bool = True) -> "Dense":
        """LeCun initialisation, zero bias."""
        return cls(draw(in_channels, channels) / math.sqrt(in_channels), jnp.zeros(channels) if bias else None)

    def cut(self, ins: Axis, outs: Axis) -> "Dense":
        """The same layer between fewer channels."""
        bias = None if self.bias is None else outs.cut(self.bias[...], 0)
        return Dense(outs.cut(ins.cut(self.weight[...], 0), 1), bias)

    def __call__(self, x: Float[Array, "*batch ins"]) -> Float[Array, "*batch outs"]:
        """Multiplies and adds the bias."""
        y = x @ self.weight[...]
        return y if self.bias is None else y + self.bias[...]


def _normalise(x: Normed, scale: Array, bias: Array, mean: Array, var: Array, *, epsilon: float) -> Normed:
    factor = jax.lax.rsqrt(var + epsilon) * scale
    shift = bias - mean * factor
    return x * factor.astype(x.dtype) + shift.astype(x.dtype)


class Norm(nnx.Module):
    """Batch normalisation as a pure function: statistics go in, or are taken from the batch; those used come out.

    Running averages mean nothing while the architecture changes every step: statistics are recalibrated for the
    architecture that is judged (as in Slimmable Networks, arXiv:1903.05134, and SPOS, arXiv:1904.00420).
    """

    def __init__(self, scale: Any, bias: Any, epsilon: float = EPSILON):
        self.scale = nnx.Param(scale)
        self.bias = nnx.Param(bias)
        self.epsilon = epsilon

    @classmethod
    def init(cls, channels: int, epsilon: float = EPSILON) -> "Norm":
        """Scale one, bias zero."""
        return cls(jnp.ones(channels), jnp.zeros(channels), epsilon)

    def cut(self, channels: Axis) -> "Norm":
        """The same layer over fewer channels."""
        return Norm(channels.cut(self.scale[...], 0), channels.cut(self.bias[...], 0), self.epsilon)

    def __call__(self, x: Normed, stats: Stats | None = None) -> tuple[Normed, Stats]:
        """Returns the normalised activations, of images or vectors, and the statistics they were normalised with.

        Statistics are summed in float32 at least, whatever the activations are computed in.
        """
        if stats is None:
            precise = x.astype(jnp.promote_types(x.dtype, np.float32))
            all_but_channels = tuple(range(x.ndim - 1))
            stats = {"mean": precise.mean(all_but_channels), "var": precise.var(all_but_channels)}
        normalise = named("Norm", _normalise, epsilon=self.epsilon)
        return normalise(x, self.scale[...], self.bias[...], stats["mean"], stats["var"]), stats

    @staticmethod
    def cut_stats(stats: Stats, channels: Axis) -> Stats:
        """Statistics over fewer channels."""
        return {name: channels.cut(value, 0) for name, value in stats.items()}

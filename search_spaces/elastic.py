"""Elastic layers: `layer.cut(...)` reads the part of its parameters an architecture uses, calling it runs that part.

Each layer is written once, as a concrete layer. Under a masked reading `cut` weights the parameters, under a cut
reading it slices them, and in an extracted network it does nothing; extraction is the very same `cut`, kept.
Images are NHWC, convolution weights `[kernel, kernel, in, out]`. `init` takes its numbers from `initialise.py`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from search_spaces.axes import EVERYTHING, Axis, Taps
from search_spaces.depthwise import depthwise
from search_spaces.initialise import Draw
from search_spaces.layers import Nonlinearity

Stats = dict[str, Any]  # {"mean": [channels], "var": [channels]}
Images = Float[Array, "batch height width channels"]
Convolved = Float[Array, "batch out_height out_width out_channels"]

NONLINEARITIES: dict[Nonlinearity, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "hard_swish": jax.nn.hard_swish,
}

EPSILON = 1e-3  # of batch norm, as in MobileNetV3 (arXiv:1905.02244)


def make_divisible(value: int | float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `value`, but never less than 0.9 of it (MobileNet's rounding rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class Conv(nnx.Module):
    """A dense convolution without bias, padded by `kernel // 2` on each side."""

    def __init__(self, weight: Any, stride: int = 1):
        self.weight = nnx.Param(weight)
        self.stride = stride

    @classmethod
    def init(cls, draw: Draw, in_channels: int, channels: int, kernel: int = 1, stride: int = 1) -> "Conv":
        """He initialisation over the fan-out, as the MobileNets use."""
        deviation = math.sqrt(2 / (kernel**2 * channels))
        return cls(draw(kernel, kernel, in_channels, channels) * deviation, stride)

    def cut(self, ins: Axis, outs: Axis, taps: Taps = EVERYTHING, stride: int | None = None) -> "Conv":
        """The same layer between fewer channels, with a smaller kernel or at another stride (a static choice)."""
        weight = taps.cut(outs.cut(ins.cut(self.weight[...], 2), 3))
        return Conv(weight, self.stride if stride is None else stride)

    def __call__(self, x: Images) -> Convolved:
        """Convolves."""
        weight = self.weight[...]
        if weight.shape[:2] == (1, 1) and self.stride == 1:
            return x @ weight[0, 0]  # faster than a convolution on CPUs
        # Symmetric padding, not "SAME": exporters and runtimes pad so, and at stride 2 the two differ.
        pad = weight.shape[0] // 2
        return jax.lax.conv_general_dilated(
            x,
            weight,
            (self.stride, self.stride),
            ((pad, pad), (pad, pad)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )


class Depthwise(nnx.Module):
    """A depthwise convolution with an elastic kernel: smaller kernels are the centre of the largest.

    With transform matrices, one for each smaller kernel, the centre of the next larger kernel is passed through a
    matrix that all channels share (Once-for-All, arXiv:1908.09791); without, it is used as it is (as in Single-Path
    NAS, arXiv:1904.02877).
    """

    def __init__(self, weight: Any, stride: int = 1, transforms: Sequence[Any] = ()):
        self.weight = nnx.Param(weight)
        self.transforms = nnx.List([nnx.Param(matrix) for matrix in transforms])
        self.stride = stride

    @classmethod
    def init(
        cls, draw: Draw, channels: int, kernel: int, stride: int = 1, transformed: Sequence[int] = ()
    ) -> "Depthwise":
        """He initialisation over the taps; matrices start as the identity, for the kernels in `transformed`."""
        transforms = [jnp.eye(size * size) for size in sorted(transformed, reverse=True)]
        return cls(draw(kernel, kernel, 1, channels) * (math.sqrt(2) / kernel), stride, transforms)

    def cut(self, channels: Axis, taps: Taps, stride: int | None = None) -> "Depthwise":
        """The same layer over fewer channels, with a smaller kernel or at another stride (a static choice).

        The kernel has been through its matrices then, and none are left.
        """
        weight = channels.cut(self.weight[...], 3)
        transforms = tuple(matrix[...] for matrix in self.transforms)
        return Depthwise(taps.cut(weight, transforms), self.stride if stride is None else stride)

    def __call__(self, x: Images) -> Convolved:
        """Convolves each channel by itself."""
        return depthwise(x, self.weight[...], self.stride)


class Dense(nnx.Module):
    """A linear map of vectors, or of each token's, with bias."""

    def __init__(self, weight: Any, bias: Any):
        self.weight = nnx.Param(weight)
        self.bias = nnx.Param(bias)

    @classmethod
    def init(cls, draw: Draw, in_channels: int, channels: int) -> "Dense":
        """LeCun initialisation, zero bias."""
        return cls(draw(in_channels, channels) / math.sqrt(in_channels), jnp.zeros(channels))

    def cut(self, ins: Axis, outs: Axis) -> "Dense":
        """The same layer between fewer channels."""
        return Dense(outs.cut(ins.cut(self.weight[...], 0), 1), outs.cut(self.bias[...], 0))

    def __call__(self, x: Float[Array, "*batch ins"]) -> Float[Array, "*batch outs"]:
        """Multiplies and adds the bias."""
        return x @ self.weight[...] + self.bias[...]


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

    def __call__(self, x: Images, stats: Stats | None = None) -> tuple[Images, Stats]:
        """Returns the normalised activations and the statistics they were normalised with.

        Statistics are summed in float32 at least, whatever the activations are computed in.
        """
        if stats is None:
            precise = x.astype(jnp.promote_types(x.dtype, np.float32))
            stats = {"mean": precise.mean((0, 1, 2)), "var": precise.var((0, 1, 2))}
        factor = jax.lax.rsqrt(stats["var"] + self.epsilon) * self.scale[...]
        shift = self.bias[...] - stats["mean"] * factor
        return x * factor.astype(x.dtype) + shift.astype(x.dtype), stats

    @staticmethod
    def cut_stats(stats: Stats, channels: Axis) -> Stats:
        """Statistics over fewer channels."""
        return {name: channels.cut(value, 0) for name, value in stats.items()}


class SqueezeExcite(nnx.Module):
    """Gates channels by a two-layer network of their means (arXiv:1709.01507), hard-sigmoid as in MobileNetV3."""

    def __init__(self, reduce: Dense, expand: Dense):
        self.reduce = reduce
        self.expand = expand

    @classmethod
    def init(cls, draw: Draw, channels: int, squeezed: int) -> "SqueezeExcite":
        """Two dense layers."""
        return cls(Dense.init(draw, channels, squeezed), Dense.init(draw, squeezed, channels))

    def cut(self, channels: Axis, squeezed: Axis) -> "SqueezeExcite":
        """The same layer over fewer channels and a narrower bottleneck."""
        return SqueezeExcite(self.reduce.cut(channels, squeezed), self.expand.cut(squeezed, channels))

    def __call__(self, x: Images, squeezed: Axis) -> Images:
        """`squeezed` gates the bottleneck, whose bias would otherwise leak from channels that are off."""
        bottleneck = squeezed.gate(jax.nn.relu(self.reduce(x.mean((1, 2)))))
        return x * jax.nn.hard_sigmoid(self.expand(bottleneck))[:, None, None, :]

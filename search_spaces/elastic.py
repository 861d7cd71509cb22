"""Elastic layers: `layer.cut(...)` reads the part of its parameters an architecture uses, calling it runs that part.

Each layer is written once, as a concrete layer. Under a masked reading `cut` weights the parameters, under a cut
reading it slices them, and in an extracted network it does nothing; extraction is the very same `cut`, kept.
Images are NHWC, convolution weights `[kernel, kernel, in, out]`.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from search_spaces.depthwise import depthwise
from search_spaces.reading import Axis, Taps

Stats = dict[str, Any]  # {"mean": [channels], "var": [channels]}
Images = Float[Array, "batch height width channels"]
Convolved = Float[Array, "batch out_height out_width out_channels"]

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
    def init(cls, key: Array, in_channels: int, channels: int, kernel: int = 1, stride: int = 1) -> "Conv":
        """He initialisation over the fan-out, as the MobileNets use."""
        deviation = math.sqrt(2 / (kernel**2 * channels))
        return cls(jax.random.normal(key, (kernel, kernel, in_channels, channels)) * deviation, stride)

    def cut(self, ins: Axis, outs: Axis) -> "Conv":
        """The same layer between fewer channels."""
        return Conv(outs.cut(ins.cut(self.weight[...], 2), 3), self.stride)

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

    Once-for-All (arXiv:1908.09791) passes the centre through a learned matrix; here it is used as it is.
    """

    def __init__(self, weight: Any, stride: int = 1):
        self.weight = nnx.Param(weight)
        self.stride = stride

    @classmethod
    def init(cls, key: Array, channels: int, kernel: int, stride: int = 1) -> "Depthwise":
        """He initialisation over the taps."""
        return cls(jax.random.normal(key, (kernel, kernel, 1, channels)) * math.sqrt(2) / kernel, stride)

    def cut(self, channels: Axis, taps: Taps) -> "Depthwise":
        """The same layer over fewer channels and with a smaller kernel."""
        return Depthwise(channels.cut(taps.cut(self.weight[...]), 3), self.stride)

    def __call__(self, x: Images) -> Convolved:
        """Convolves each channel by itself."""
        return depthwise(x, self.weight[...], self.stride)


class Dense(nnx.Module):
    """A linear map of vectors, with bias."""

    def __init__(self, weight: Any, bias: Any):
        self.weight = nnx.Param(weight)
        self.bias = nnx.Param(bias)

    @classmethod
    def init(cls, key: Array, in_channels: int, channels: int) -> "Dense":
        """LeCun initialisation, zero bias."""
        return cls(jax.random.normal(key, (in_channels, channels)) / math.sqrt(in_channels), jnp.zeros(channels))

    def cut(self, ins: Axis, outs: Axis) -> "Dense":
        """The same layer between fewer channels."""
        return Dense(outs.cut(ins.cut(self.weight[...], 0), 1), outs.cut(self.bias[...], 0))

    def __call__(self, x: Float[Array, "batch ins"]) -> Float[Array, "batch outs"]:
        """Multiplies and adds the bias."""
        return x @ self.weight[...] + self.bias[...]


class Norm(nnx.Module):
    """Batch normalisation as a pure function: statistics go in, or are taken from the batch; those used come out.

    Running averages mean nothing while the architecture changes every step: statistics are recalibrated for the
    architecture that is judged (as in Slimmable Networks, arXiv:1903.05134, and SPOS, arXiv:1904.00420).
    """

    def __init__(self, scale: Any, bias: Any):
        self.scale = nnx.Param(scale)
        self.bias = nnx.Param(bias)

    @classmethod
    def init(cls, channels: int) -> "Norm":
        """Scale one, bias zero."""
        return cls(jnp.ones(channels), jnp.zeros(channels))

    def cut(self, channels: Axis) -> "Norm":
        """The same layer over fewer channels."""
        return Norm(channels.cut(self.scale[...], 0), channels.cut(self.bias[...], 0))

    def __call__(self, x: Images, stats: Stats | None = None) -> tuple[Images, Stats]:
        """Returns the normalised activations and the statistics they were normalised with."""
        if stats is None:
            stats = {"mean": x.mean((0, 1, 2)), "var": x.var((0, 1, 2))}
        factor = jax.lax.rsqrt(stats["var"] + EPSILON) * self.scale[...]
        return (x - stats["mean"]) * factor + self.bias[...], stats

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
    def init(cls, key: Array, channels: int, squeezed: int) -> "SqueezeExcite":
        """Two dense layers."""
        reduce_key, expand_key = jax.random.split(key)
        return cls(Dense.init(reduce_key, channels, squeezed), Dense.init(expand_key, squeezed, channels))

    def cut(self, channels: Axis, squeezed: Axis) -> "SqueezeExcite":
        """The same layer over fewer channels and a narrower bottleneck."""
        return SqueezeExcite(self.reduce.cut(channels, squeezed), self.expand.cut(squeezed, channels))

    def __call__(self, x: Images, squeezed: Axis) -> Images:
        """`squeezed` gates the bottleneck, whose bias would otherwise leak from channels that are off."""
        bottleneck = squeezed.gate(jax.nn.relu(self.reduce(x.mean((1, 2)))))
        return x * jax.nn.hard_sigmoid(self.expand(bottleneck))[:, None, None, :]

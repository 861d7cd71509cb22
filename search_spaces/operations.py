"""A choice among operations, and the operations there are: zeros, identity, average pooling, ReLU-convolution-norm.

Each operation is a block by itself; `OneOf` holds several of them and is a block whose own choice is `op`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from search_spaces.elastic import Conv, Norm
from search_spaces.initialise import Draw
from search_spaces.layers import Graph, Padding, window_padding, windows
from search_spaces.named import named
from search_spaces.reading import Cut, Reading

Images = Float[Array, "batch height width channels"]
Smaller = Float[Array, "batch out_height out_width out_channels"]


def average_pool(x: Images, kernel: int, stride: int = 1, padding: Padding | None = None) -> Smaller:
    """The mean over windows, as the layer `AvgPool` defines it: what lies beyond the image doesn't count.

    Sums of shifted images, first along one side, then along the other: half the time of `lax.reduce_window` on a CPU
    (two cores, forwards and backwards at (64, 16, 16, 16): 0.6 ms against 1.2 ms).

    Args:
      x: images.
      kernel: rows and columns of a window.
      stride: between windows, in both directions.
      padding: rows above and below and columns left and right; None as for the layer.
    """
    return named("AvgPool", _average_pool, kernel=kernel, stride=stride, padding=padding)(x)


def _average_pool(x: Images, *, kernel: int, stride: int, padding: Padding | None) -> Smaller:
    side = window_padding(kernel)
    above, below, left, right = padding or (side, side, side, side)
    for axis, pad, after in ((1, above, below), (2, left, right)):
        side = x.shape[axis]
        count = windows(side, kernel, stride, pad, after)
        ends = [(pad, after, 0) if i == axis else (0, 0, 0) for i in range(4)]
        padded = jax.lax.pad(x, np.zeros((), x.dtype), ends)
        shifted = [jax.lax.slice_in_dim(padded, i, i + stride * (count - 1) + 1, stride, axis) for i in range(kernel)]
        first = stride * np.arange(count) - pad
        inside = np.minimum(first + kernel, side) - np.maximum(first, 0)
        shape = [count if i == axis else 1 for i in range(4)]
        x = sum(shifted[1:], shifted[0]) * (1 / inside).astype(x.dtype).reshape(shape)
    return x


def average_pool_3x3(x: Images) -> Images:
    """The mean over 3x3 windows, in the input's own size."""
    return average_pool(x, 3)


def zeros(x: Images) -> Images:
    """Zeros in the shape of the input: no connection."""
    return _named_zeros(x)


def _zeros(x: Images) -> Images:
    # A product, not a constant: what a compiled block makes without its inputs is on no device in particular, and JAX
    # compiles whatever reads it again for each mixture of such arrays.
    return x * 0


_named_zeros = named("Zeros", _zeros)


def identity(x: Images) -> Images:
    """The input as it is."""
    return x


def total(*xs: Images) -> Images:
    """The sum, from the first on: a node of a cell."""
    return sum(xs[1:], xs[0])


class Plain(nnx.Module):
    """A function without parameters as a block. No choices."""

    def __init__(self, run: Callable[..., Array]):
        self.run = run  # a function of a module: blocks that hold the same one share compiled programs

    def cut(self, read: Reading) -> "Plain":
        """Itself."""
        return self

    def cut_stats(self, read: Reading, stats: dict[str, Any]) -> dict[str, Any]:
        """There are none."""
        return stats

    def __call__(self, read: Reading, stats: Any, *xs: Array) -> tuple[Array, dict[str, Any]]:
        """What the function makes of the inputs."""
        return self.run(*xs), {}


class ReluConvNorm(nnx.Module):
    """ReLU, a dense convolution, batch norm, in this order. No choices."""

    def __init__(self, conv: Conv, norm: Norm):
        self.conv, self.norm = conv, norm

    @classmethod
    def init(cls, draw: Draw, ins: int, outs: int, kernel: int, epsilon: float, stride: int = 1) -> "ReluConvNorm":
        """From `ins` to `outs` channels."""
        return cls(Conv.init(draw, ins, outs, kernel, stride), Norm.init(outs, epsilon))

    def cut(self, read: Reading) -> "ReluConvNorm":
        """Itself."""
        return self

    def cut_stats(self, read: Reading, stats: dict[str, Any]) -> dict[str, Any]:
        """All of them."""
        return stats

    def __call__(self, read: Reading, stats: dict[str, Any] | None, x: Images) -> tuple[Smaller, dict[str, Any]]:
        """The normalised activations, and the statistics used."""
        y, used = self.norm(self.conv(jax.nn.relu(x)), (stats or {}).get("norm"))
        return y, {"norm": used}


def relu_conv_norm_layers(
    graph: Graph, x: int, outs: int, kernel: int, epsilon: float, path: str, stride: int = 1
) -> int:
    """Writes a `ReluConvNorm` behind position `x`."""
    x = graph.conv(graph.activation(x, "relu"), outs, f"{path}.conv", kernel, stride)
    return graph.norm(x, f"{path}.norm", epsilon)


class OneOf(nnx.Module):
    """One of several blocks whose outputs have one shape. Its choice: `op`.

    Each option has parameters and batch-norm statistics of its own. Masked, all run and their outputs are mixed (as in
    DARTS, arXiv:1806.09055); cut and sliced, only the chosen one runs. Options have no choices of their own.
    """

    def __init__(self, options: Sequence[Any]):
        self.options = nnx.List(options)

    def cut(self, read: Cut) -> "OneOf":
        """Its chosen option."""
        return OneOf([self.options[read.index("op", self.options)].cut(read)])

    def cut_stats(self, read: Cut, stats: dict[str, Any]) -> dict[str, Any]:
        """The statistics of the chosen option."""
        chosen = read.index("op", self.options)
        return {"options": [self.options[chosen].cut_stats(read, stats["options"][chosen])]}

    def __call__(self, read: Reading, stats: dict[str, Any] | None, *xs: Array) -> tuple[Array, dict[str, Any]]:
        """The chosen option's output, and the statistics that each option used."""
        given = stats["options"] if stats else [None] * len(self.options)
        runs = [partial(option, read, own) for option, own in zip(self.options, given, strict=True)]
        y, used = read.mixture("op", runs, *xs)
        return y, {"options": used}

"""The parts of DARTS' cells as recipes: operations, nodes that add two of them, and what leads from cell to cell.

DARTS: Differentiable Architecture Search (arXiv:1806.09055), sizes as in the authors' code (quark0/darts).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations

import jax
from jaxtyping import Array

from search_spaces.axes import EVERYTHING
from search_spaces.blocks.stretches import conv_norm
from search_spaces.elastic import Conv
from search_spaces.layers import Padding
from search_spaces.named import named
from search_spaces.recipe import Builder, Tensor, within
from search_spaces.widths import Width

EPSILON = 1e-5  # of batch norm

SHIFTED = (-1, 1, -1, 1)  # padding: the image from its second row and column on; zeros beyond, where its sides are odd

Operation = Callable[..., Tensor]  # of a builder, an input and a stride


def relu_conv_norm(b: Builder, x: Tensor, channels: int) -> Tensor:
    """ReLU, a pointwise convolution, its norm."""
    return conv_norm(b, b.act(x, "relu"), "conv", channels, norm="norm", epsilon=EPSILON)


def factorized_reduce(b: Builder, x: Tensor, channels: int) -> Tensor:
    """Half the size by two pointwise convolutions at stride 2, one of the image shifted by a row and a column."""
    x = b.act(x, "relu")
    even = b.conv(x, "even", channels // 2, stride=2)
    odd = b.layer(
        x,
        "odd",
        Width(channels // 2),
        init=lambda draw, ins, outs: Conv.init(draw, ins, outs, stride=2),
        cut=lambda module, read: module.cut(x.width.read(read), EVERYTHING),
        run=lambda module, _, array: _of_odd_positions(array, module.weight[...]),
        write=lambda graph, _, at, path, outs: graph.conv(at, outs, path, stride=2, padding=SHIFTED),
        clean=True,
    )
    return b.norm(b.concat(even, odd), "norm", EPSILON)


def _convolved(x: Array, weight: Array, *, stride: int, padding: Padding) -> Array:
    """As `SHIFTED` pads. XLA's convolutions on CPUs read beyond the image where a padding is negative."""
    around = ((0, padding[1]), (0, padding[3]))
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x[:, 1:, 1:], weight, (stride, stride), around, dimension_numbers=numbers)


_of_odd_positions = named("Conv", _convolved, stride=2, padding=SHIFTED)


def _max_pool(b: Builder, x: Tensor, stride: int) -> Tensor:
    return b.max_pool(x, 3, stride)


def _avg_pool(b: Builder, x: Tensor, stride: int) -> Tensor:
    return b.avg_pool(x, 3, stride)


def _skip(b: Builder, x: Tensor, stride: int) -> Tensor:
    return x if stride == 1 else factorized_reduce(b, x, x.width.largest)


def _dilated(b: Builder, x: Tensor, stride: int, *, kernel: int, dilation: int = 2) -> Tensor:
    h = b.depthwise(b.act(x, "relu"), "depthwise", kernel, stride, dilation=dilation)
    return conv_norm(b, h, "pointwise", x.width, norm="norm", epsilon=EPSILON)


def _separable(b: Builder, x: Tensor, stride: int, *, kernel: int) -> Tensor:
    half = partial(_dilated, kernel=kernel, dilation=1)
    return within("second", partial(half, stride=1))(b, within("first", partial(half, stride=stride))(b, x))


OPERATIONS: dict[str, Operation] = {
    "max_pool_3x3": _max_pool,
    "avg_pool_3x3": _avg_pool,
    "skip_connect": _skip,
    "dil_conv_3x3": partial(_dilated, kernel=3),
    "dil_conv_5x5": partial(_dilated, kernel=5),
    "sep_conv_3x3": partial(_separable, kernel=3),
    "sep_conv_5x5": partial(_separable, kernel=5),
}
"""What an edge may do, by the published names, the cheapest first."""


def pairs(inputs: int) -> tuple[tuple[int, int], ...]:
    """The two inputs that a node may read, of so many; last those of the cell's own two, which a reduction shrinks.

    An operation that shrinks costs as much as one that doesn't, or, where it is to skip, more.
    """
    return tuple(sorted(combinations(range(inputs), 2), key=lambda pair: (sum(i < 2 for i in pair), pair)))


@dataclass(frozen=True, kw_only=True)
class Node:
    """The sum of two operations on two of the states before it.

    Its own choices: `inputs`, a pair of states; `first` and `second`, the operations on the first and the second of the
    pair. Each state has parameters for each operation, whichever of the pair it is, so that the relaxed network is the
    paper's: an edge's operations are computed once and mixed, their weights products of two choices' probabilities.

    Attributes:
      strides: of each state's operations.
      operations: that each edge chooses from.
    """

    strides: tuple[int, ...]
    operations: tuple[str, ...]

    def __call__(self, b: Builder, *states: Tensor) -> Tensor:
        """The sum."""

        @cache
        def done(state: int, operation: str) -> Tensor:
            run = partial(OPERATIONS[operation], stride=self.strides[state])
            return within(f"state{state}.{operation}", run)(b, states[state])

        @cache
        def edge(state: int, choice: str) -> Tensor:
            options = [lambda _b, _x, each=each: done(state, each) for each in self.operations]
            return b.one_of(states[state], choice, options)

        def total(_b: Builder, _x: Tensor, pair: tuple[int, int]) -> Tensor:
            return b.add(edge(pair[0], "first"), edge(pair[1], "second"))

        return b.one_of(states[0], "inputs", [partial(total, pair=pair) for pair in pairs(len(states))])


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """What a cell makes of the output of another: as many channels as its own, and half the size where `halves`."""

    channels: int
    halves: bool = False

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """A state of the cell."""
        return (factorized_reduce if self.halves else relu_conv_norm)(b, x, self.channels)


@dataclass(frozen=True, kw_only=True)
class Exit:
    """The channels of all nodes of a cell."""

    def __call__(self, b: Builder, *nodes: Tensor) -> Tensor:
        """The cell's output."""
        first, *others = nodes
        return b.concat(first, *others) if others else first


@dataclass(frozen=True, kw_only=True)
class Convolved:
    """3x3 convolutions, each with its norm and a ReLU between them: what the cells' first input is made of.

    Attributes:
      channels: of each.
      stride: of each.
      activated: whether a ReLU comes first.
    """

    channels: tuple[int, ...]
    stride: int
    activated: bool = False

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The activations, normalised last."""
        for i, channels in enumerate(self.channels):
            x = b.act(x, "relu") if i or self.activated else x
            x = conv_norm(b, x, f"conv{i}", Width(channels), 3, self.stride, epsilon=EPSILON)
        return x

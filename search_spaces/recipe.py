"""A recipe is a block's forward pass, written once: the same lines make its parameters, run, cut and describe it.

A recipe is a frozen dataclass whose `__call__(self, b, *xs)` asks a builder `b` for layers by name. Who is asked
decides what comes of it (`building.py`): parameters for the largest of every option, the masked or cut forward pass,
the parameters that one architecture keeps, or its layers.

```python
@dataclass(frozen=True)
class Residual:
    width: int
    kernels: tuple[int, ...] = (3, 5)

    def __call__(self, b, x):
        h = b.act(b.norm(b.conv(x, "conv", self.width, kernel=self.kernels), "norm"), "relu")
        return b.add(x, h)
```
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array

from search_spaces.axes import EVERYTHING, Taps
from search_spaces.blocks.functions import channel_shuffle, flatten, max_pool, tokens
from search_spaces.blocks.operations import average_pool, zeros
from search_spaces.elastic import EPSILON, GATES, NONLINEARITIES, Conv, Dense, Depthwise
from search_spaces.graph import Graph
from search_spaces.initialise import Draw
from search_spaces.layers import Nonlinearity, Padding, Shape, ceil_padding, same_padding
from search_spaces.reading import Cut, Reading
from search_spaces.widths import Channels, Join, Width, as_width, joined

Stretch = Callable[["Builder", "Tensor"], "Tensor"]
Kernel = int | tuple[int, ...]
PoolPadding = Padding | Literal["ceil"] | None
"""`ceil` lets the last, partly filled windows of a pool count and pads nothing else; None is the layer's own."""


@dataclass(frozen=True)
class Tensor:
    """What flows between the layers of a recipe.

    Attributes:
      value: whatever the builder works with: an array, a position among layers, or nothing.
      width: its channels.
      clean: whether channels that are off are 0, or else will have to be made so.
    """

    value: Any
    width: Channels
    clean: bool = True


@runtime_checkable
class Recipe(Protocol):
    """A block's forward pass. A frozen dataclass: equal recipes share compiled programs, wherever they stand."""

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """`recipe(b, *xs)`: the block's output for its inputs, as the builder `b` makes it."""
        ...


class Builder(ABC):
    """Who a recipe asks for layers. Names are those of parameters in the block, each used once.

    Channels are numbers or widths. Choices are known by the block's own names, which its place binds to the space's.

    Attributes:
      prefix: goes before every name (see `within`).
    """

    prefix: str = ""

    # What kinds of builders differ in

    @abstractmethod
    def layer(
        self,
        x: Tensor,
        name: str,
        channels: Channels,
        *,
        init: Callable[[Draw, int, int], Any],
        cut: Callable[[Any, Reading], Any],
        run: Callable[[Any, Reading, Array], Array],
        write: Callable[[Graph, Reading, int, str, int], int] | None = None,
        clean: bool,
    ) -> Tensor:
        """A layer with parameters of any kind: how to add one that has no method here.

        Args:
          x: its input.
          name: of its parameters.
          channels: of its output.
          init: makes the module for the largest options, from a draw and the channels before and behind it.
          cut: the module with the parameters that a reading uses.
          run: what the cut module makes of its input.
          write: appends its layers behind a position, of parameters at a path and with so many channels; None where
            the space's layers are traced.
          clean: whether what is 0 in its input is 0 in its output.
        """

    @abstractmethod
    def norm(self, x: Tensor, name: str, epsilon: float = EPSILON) -> Tensor:
        """Batch normalisation."""

    @abstractmethod
    def function(
        self,
        xs: Sequence[Tensor],
        channels: Channels,
        *,
        run: Callable[..., Array],
        write: Callable[..., int] | None = None,
        clean: bool = True,
    ) -> Tensor:
        """A function without parameters of the inputs, whose channels that are off are 0.

        Args:
          xs: its inputs.
          channels: of its output.
          run: of arrays.
          write: appends its layers to a graph, behind the positions of its inputs; None where the space's layers are
            traced.
          clean: whether channels that are off come out as 0.
        """

    @abstractmethod
    def optional(self, x: Tensor, choice: str, at_least: int, stretch: Stretch) -> Tensor:
        """`stretch` of `x` where the choice's index is at least `at_least`, elsewhere `x` as it is."""

    @abstractmethod
    def one_of(self, x: Tensor, choice: str, stretches: Sequence[Stretch]) -> Tensor:
        """The chosen one of several stretches, whose outputs have one shape; each has names of its own (`within`)."""

    @abstractmethod
    def cleaned(self, x: Tensor) -> Tensor:
        """The tensor, channels that are off made 0."""

    # Layers with parameters

    def conv(
        self,
        x: Tensor,
        name: str,
        channels: int | Channels,
        kernel: Kernel = 1,
        stride: int = 1,
        *,
        choice: str = "kernel",
        kernel_width: int | None = None,
        groups: int = 1,
        dilation: int = 1,
        bias: bool = False,
        padding: Padding | Literal["same"] | None = None,
    ) -> Tensor:
        """A convolution. Several kernels are options of `choice`; the smaller ones are the centre of the largest."""
        outs, kernels = as_width(channels), _options(kernel)
        _check_elastic(name, kernels, padding, kernel_width, stride)
        if groups > 1 and not (x.width.is_fixed and outs.is_fixed):
            raise ValueError(f"`{name}` has {groups} groups, so its channels before and behind it must be no choice")
        if isinstance(padding, tuple) and min(padding) < 0:
            raise ValueError(f"`{name}`: padding must be 0 or more, got {padding}; crop the image first")
        more = {"groups": groups, "dilation": dilation, "bias": bias, "kernel_width": kernel_width}

        def init(draw: Draw, ins: int, outs: int) -> Conv:
            return Conv.init(draw, ins, outs, max(kernels), stride, padding=padding, **more)

        def cut(module: Conv, read: Reading) -> Conv:
            return module.cut(x.width.read(read), outs.read(read), _taps(read, kernels, choice))

        def write(graph: Graph, read: Any, at: int, path: str, outs: int) -> int:
            size = _chosen(read, kernels, choice)
            around = padding
            if around == "same":
                around = same_padding(graph.shape(at), (size, kernel_width or size), stride)
            return graph.conv(at, outs, path, size, stride, padding=around, **more)

        return self.layer(x, name, outs, init=init, cut=cut, run=_call, write=write, clean=not bias)

    def depthwise(
        self,
        x: Tensor,
        name: str,
        kernel: Kernel = 3,
        stride: int = 1,
        *,
        choice: str = "kernel",
        transformed: bool = False,
        dilation: int = 1,
        bias: bool = False,
    ) -> Tensor:
        """A depthwise convolution; with `transformed`, smaller kernels pass through matrices (see `Depthwise`)."""
        kernels = _options(kernel)
        _check_elastic(name, kernels)

        def init(draw: Draw, ins: int, outs: int) -> Depthwise:
            smaller = kernels[:-1] if transformed else ()
            return Depthwise.init(draw, outs, max(kernels), stride, smaller, dilation=dilation, bias=bias)

        def cut(module: Depthwise, read: Reading) -> Depthwise:
            return module.cut(x.width.read(read), _taps(read, kernels, choice))

        def write(graph: Graph, read: Any, at: int, path: str, outs: int) -> int:
            return graph.depthwise(at, path, _chosen(read, kernels, choice), stride, dilation, bias)

        return self.layer(x, name, x.width, init=init, cut=cut, run=_call, write=write, clean=not bias)

    def dense(self, x: Tensor, name: str, channels: int | Channels, bias: bool = True) -> Tensor:
        """A linear map of a vector, or of each token's."""
        outs = as_width(channels)
        return self.layer(
            x,
            name,
            outs,
            init=lambda draw, ins, outs: Dense.init(draw, ins, outs, bias),
            cut=lambda module, read: module.cut(x.width.read(read), outs.read(read)),
            run=_call,
            write=lambda graph, read, at, path, outs: graph.dense(at, outs, path, bias),
            clean=not bias,
        )

    # Functions

    def act(self, x: Tensor, kind: Nonlinearity | None) -> Tensor:
        """An elementwise nonlinearity; None for none."""
        if kind is None:
            return x
        y = self.function(
            [replace(x, clean=True)],  # a channel that is off is made 0 behind it, and only once
            x.width,
            run=NONLINEARITIES[kind],
            write=lambda graph, at: graph.activation(at, kind),
            clean=x.clean and kind not in GATES,
        )
        return y if kind in GATES else self.cleaned(y)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """The sum of two tensors of one shape; joined channels lie unlike those of one elastic width."""
        shapes = [(x.width.largest, not x.width.is_fixed and isinstance(x.width, Join)) for x in (x, y)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"channels of {x.width} and {y.width} don't lie alike, so they cannot be added")
        return self.function([x, y], y.width, run=jnp.add, write=Graph.sum)

    def scale(self, x: Tensor, gate: Tensor) -> Tensor:
        """`x`, each channel multiplied by the vector `gate`'s."""
        gate = replace(gate, clean=True)  # what is off in `x` is 0 already
        return self.function([x, gate], x.width, run=_scale, write=Graph.scale)

    def concat(self, *xs: Tensor) -> Tensor:
        """The channels of all of `xs`, one behind the other."""
        width = joined(tuple(x.width for x in xs))
        run = lambda *arrays: jnp.concatenate(arrays, -1)  # noqa: E731
        return self.function(xs, width, run=run, write=lambda graph, *at: graph.concat(at))

    def channels(self, x: Tensor, start: int, channels: int) -> Tensor:
        """Some of the channels, which must be no choice."""
        if not x.width.is_fixed:
            raise ValueError("only channels that are no choice can be taken apart")
        return self.function(
            [x],
            Width(channels),
            run=lambda array: array[..., start : start + channels],
            write=lambda graph, at: graph.channels(at, start, channels),
        )

    def shuffle(self, x: Tensor, groups: int) -> Tensor:
        """The channels, dealt out group by group; they must be no choice."""
        if not x.width.is_fixed or x.width.largest % groups:
            raise ValueError(f"only channels that are no choice, in {groups} equal groups, can be shuffled")
        run = channel_shuffle(groups)
        return self.function([x], x.width, run=run, write=lambda graph, at: graph.shuffle(at, groups))

    def global_pool(self, x: Tensor) -> Tensor:
        """The mean over all positions, as a vector."""
        return self.function(
            [replace(x, clean=True)],
            x.width,
            run=lambda array: array.mean((1, 2)) if array.ndim == 4 else array.mean(1),
            write=lambda graph, at: graph.global_pool(at),
            clean=x.clean,
        )

    def avg_pool(self, x: Tensor, kernel: int, stride: int = 1, padding: PoolPadding = None) -> Tensor:
        """The mean over windows, counting only what lies on the image; without a padding, odd ones are padded."""
        around = partial(_around, padding, kernel, stride)
        return self.function(
            [x],
            x.width,
            run=lambda array: average_pool(array, kernel, stride, around(array.shape[1:])),
            write=lambda graph, at: graph.avg_pool(at, kernel, stride, around(graph.shape(at))),
        )

    def max_pool(self, x: Tensor, kernel: int, stride: int = 1, padding: PoolPadding = None) -> Tensor:
        """The largest value in windows; without a padding, odd ones are padded."""
        around = partial(_around, padding, kernel, stride)
        return self.function(
            [x],
            x.width,
            run=lambda array: max_pool(kernel, stride, around(array.shape[1:]))(array),
            write=lambda graph, at: graph.max_pool(at, kernel, stride, around(graph.shape(at))),
        )

    def zeros(self, x: Tensor) -> Tensor:
        """Zeros in the shape of `x`."""
        return self.function([x], x.width, run=zeros, write=Graph.zeros)

    def flatten(self, x: Tensor, positions: int) -> Tensor:
        """All numbers of an image of so many positions as one vector."""
        if not x.width.is_fixed:
            raise ValueError("only channels that are no choice can be flattened; pool the positions first")
        width = Width(x.width.largest * positions)
        return self.function([x], width, run=flatten, write=lambda graph, at: graph.flatten(at))

    def tokens(self, x: Tensor) -> Tensor:
        """The positions of an image as tokens."""
        return self.function([x], x.width, run=tokens, write=lambda graph, at: graph.tokens(at))


def within(name: str, stretch: Callable[..., Tensor]) -> Stretch:
    """A stretch, or a recipe, whose layers are called `<name>.<its own name>`: as a part of a larger one."""

    def run(b: Builder, *xs: Tensor) -> Tensor:
        outer = b.prefix
        b.prefix = f"{outer}{name}."
        try:
            return stretch(b, *xs)
        finally:
            b.prefix = outer

    return run


def _options(kernel: Kernel) -> tuple[int, ...]:
    return (kernel,) if isinstance(kernel, int) else tuple(kernel)


def _check_elastic(
    name: str,
    kernels: tuple[int, ...],
    padding: Padding | Literal["same"] | None = None,
    kernel_width: int | None = None,
    stride: int = 1,
) -> None:
    """Refuses several kernels of which the smaller ones don't stand in the centre of the image's windows.

    Raises:
      ValueError: where masked and cut would read different pixels.
    """
    if len(kernels) == 1:
        return
    if any(size % 2 == 0 for size in kernels) or list(kernels) != sorted(set(kernels)):
        raise ValueError(f"`{name}`: several kernels must be odd and increase, got {kernels}")
    shifted = isinstance(padding, tuple) or (padding == "same" and stride > 1)
    if kernel_width is not None or shifted:
        raise ValueError(
            f"`{name}`: several kernels {kernels} need square windows and padding of their own, got kernel_width"
            f" {kernel_width} and padding {padding} at stride {stride}; make them options of `one_of`"
        )


def _taps(read: Reading, kernels: tuple[int, ...], choice: str) -> Taps:
    return read.taps(kernels, choice) if len(kernels) > 1 else EVERYTHING


def _chosen(read: Cut, kernels: tuple[int, ...], choice: str) -> int:
    index = read.index(choice, kernels) if len(kernels) > 1 else 0
    return kernels[index]


def _around(padding: PoolPadding, kernel: int, stride: int, shape: Shape) -> Padding | None:
    return ceil_padding(shape, kernel, stride) if padding == "ceil" else padding


def _call(module: Any, read: Reading, x: Array) -> Array:
    return module(x)


def _scale(x: Array, gate: Array) -> Array:
    return x * gate[:, None, None, :]

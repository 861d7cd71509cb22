"""The kinds of builders that a recipe is read by, and the block that keeps what they made."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from flax import nnx
from jaxtyping import Array

from search_spaces.elastic import EPSILON, Norm
from search_spaces.graph import Graph
from search_spaces.initialise import Draw
from search_spaces.reading import Cut, Reading, Whole
from search_spaces.recipe import Builder, Recipe, Stretch, Tensor
from search_spaces.widths import Channels, Width

RESERVED = ("recipe", "ins", "names", "settled", "cut", "cut_stats", "init")


class Planning(Builder):
    """Follows the widths alone; what there is of every option."""

    def layer(self, x: Tensor, name: str, channels: Channels, *, clean: bool, **how: Any) -> Tensor:
        """Its width."""
        return Tensor(None, channels)

    def norm(self, x: Tensor, name: str, epsilon: float = EPSILON) -> Tensor:
        """Its width."""
        return x

    def function(self, xs: Sequence[Tensor], channels: Channels, **how: Any) -> Tensor:
        """Its width."""
        return Tensor(None, channels)

    def optional(self, x: Tensor, choice: str, at_least: int, stretch: Stretch) -> Tensor:
        """The width of the stretch, which must be that of what passes by."""
        y = stretch(self, x)
        self._same(choice, x, y)
        return y

    def one_of(self, x: Tensor, choice: str, stretches: Sequence[Stretch]) -> Tensor:
        """The widths of all, which must be one."""
        outs = [stretch(self, x) for stretch in stretches]
        for y in outs[1:]:
            self._same(choice, outs[0], y)
        return outs[-1]

    def _same(self, choice: str, x: Tensor, y: Tensor) -> None:
        """Refuses what cannot stand in one place: numbers of channels of which there are others to choose from."""
        if (x.width.largest, x.width.is_fixed) != (y.width.largest, y.width.is_fixed):
            raise ValueError(
                f"what `{choice}` chooses among must have equally many channels, got {x.width} and {y.width}"
            )

    def cleaned(self, x: Tensor) -> Tensor:
        """The same."""
        return x


class Making(Planning):
    """Makes parameters for the largest of every option."""

    def __init__(self, draw: Draw):
        self.draw, self.modules = draw, dict[str, Any]()

    def _keep(self, name: str, module: Any) -> None:
        if name in self.modules or name in RESERVED or name.startswith("_"):
            raise ValueError(f"a block's layers need names of their own, got `{name}` twice or reserved")
        self.modules[name] = module

    def layer(
        self, x: Tensor, name: str, channels: Channels, *, init: Callable[[Draw, int, int], Any], **how: Any
    ) -> Tensor:
        """Makes its parameters."""
        self._keep(self.prefix + name, init(self.draw, x.width.largest, channels.largest))
        return Tensor(None, channels)

    def norm(self, x: Tensor, name: str, epsilon: float = EPSILON) -> Tensor:
        """Makes its parameters."""
        self._keep(self.prefix + name, Norm.init(x.width.largest, epsilon))
        return x


class Cutting(Planning):
    """Cuts parameters, and statistics, to what a known architecture uses."""

    def __init__(self, block: "Block", read: Cut):
        self.block, self.read = block, read
        self.modules: dict[str, Any] = {}
        self.norms: dict[str, Channels] = {}

    def layer(
        self, x: Tensor, name: str, channels: Channels, *, cut: Callable[[Any, Reading], Any], **how: Any
    ) -> Tensor:
        """Cuts its parameters."""
        name = self.prefix + name
        self.modules[name] = cut(getattr(self.block, name), self.read)
        return Tensor(None, channels)

    def norm(self, x: Tensor, name: str, epsilon: float = EPSILON) -> Tensor:
        """Cuts its parameters."""
        name = self.prefix + name
        self.modules[name] = getattr(self.block, name).cut(x.width.read(self.read))
        self.norms[name] = x.width
        return x

    def optional(self, x: Tensor, choice: str, at_least: int, stretch: Stretch) -> Tensor:
        """What the stretch keeps, where it is there."""
        return stretch(self, x) if self.read.has(choice, at_least) else x

    def one_of(self, x: Tensor, choice: str, stretches: Sequence[Stretch]) -> Tensor:
        """What the chosen stretch keeps."""
        return stretches[self.read.index(choice, stretches)](self, x)


class Running(Builder):
    """Runs a block under a reading, with batch-norm statistics that are given or its batch's own."""

    def __init__(self, block: "Block", read: Reading, stats: dict[str, Any] | None):
        self.block, self.given = block, stats or {}
        self.read: Reading = (block.settled or Cut(())) if isinstance(read, Whole) else read
        self.is_cut = isinstance(read, Whole)
        self.used: dict[str, Any] = {}

    def layer(
        self,
        x: Tensor,
        name: str,
        channels: Channels,
        *,
        cut: Callable[[Any, Reading], Any],
        run: Callable[[Any, Reading, Array], Array],
        clean: bool,
        **how: Any,
    ) -> Tensor:
        """Runs it on its input, channels that are off made 0."""
        module = getattr(self.block, self.prefix + name)
        module = module if self.is_cut else cut(module, self.read)
        # Weights of channels that are off are not 0: under a mask nothing but a depthwise layer keeps them so.
        kept = clean and channels is x.width
        return Tensor(run(module, self.read, self.cleaned(x).value), channels, kept or channels.is_fixed)

    def norm(self, x: Tensor, name: str, epsilon: float = EPSILON) -> Tensor:
        """Normalises, and keeps the statistics."""
        name = self.prefix + name
        module = getattr(self.block, name)
        module = module if self.is_cut else module.cut(x.width.read(self.read))
        value, self.used[name] = module(x.value, self.given.get(name))
        return Tensor(value, x.width, x.width.is_fixed)

    def function(
        self, xs: Sequence[Tensor], channels: Channels, *, run: Callable[..., Array], clean: bool = True, **how: Any
    ) -> Tensor:
        """Runs it."""
        return Tensor(run(*(self.cleaned(x).value for x in xs)), channels, clean or channels.is_fixed)

    def optional(self, x: Tensor, choice: str, at_least: int, stretch: Stretch) -> Tensor:
        """As the reading has it."""
        width = x.width

        def run(array: Array) -> tuple[Array, None]:
            nonlocal width
            y = self.cleaned(stretch(self, Tensor(array, x.width)))
            width = y.width
            return y.value, None

        if not self._may_have(choice, at_least):
            return x
        y, _ = self.read.optional(choice, at_least, run, self.cleaned(x).value)
        return Tensor(y, width)

    def _may_have(self, choice: str, at_least: int) -> bool:
        return not isinstance(self.read, Cut) or self.read.has(choice, at_least)

    def one_of(self, x: Tensor, choice: str, stretches: Sequence[Stretch]) -> Tensor:
        """As the reading has it."""
        width = x.width

        def option(stretch: Stretch) -> Callable[[Array], tuple[Array, None]]:
            def run(array: Array) -> tuple[Array, None]:
                nonlocal width
                y = self.cleaned(stretch(self, Tensor(array, x.width)))
                width = y.width
                return y.value, None

            return run

        y, _ = self.read.mixture(choice, [option(stretch) for stretch in stretches], self.cleaned(x).value)
        return Tensor(y, width)

    def cleaned(self, x: Tensor) -> Tensor:
        """The tensor, gated where it is not clean."""
        return x if x.clean else replace(x, value=x.width.read(self.read).gate(x.value), clean=True)


class Writing(Planning):
    """Writes the layers of a known architecture."""

    def __init__(self, graph: Graph, read: Cut, path: str):
        self.graph, self.read, self.path = graph, read, path

    def _count(self, width: Channels) -> int:
        return sum(int(part.read(self.read).size) for part in _parts(width))  # pyright: ignore[reportAttributeAccessIssue]

    def layer(
        self, x: Tensor, name: str, channels: Channels, *, write: Callable[..., int] | None = None, **how: Any
    ) -> Tensor:
        """Writes it behind its input."""
        told, path = _told(write, f"layer `{name}`"), f"{self.path}.{self.prefix}{name}"
        at = told(self.graph, self.read, x.value, path, self._count(channels))
        return Tensor(at, channels)

    def norm(self, x: Tensor, name: str, epsilon: float = EPSILON) -> Tensor:
        """Writes it behind its input."""
        return replace(x, value=self.graph.norm(x.value, f"{self.path}.{self.prefix}{name}", epsilon))

    def function(
        self, xs: Sequence[Tensor], channels: Channels, *, write: Callable[..., int] | None = None, **how: Any
    ) -> Tensor:
        """Writes it behind its inputs."""
        return Tensor(_told(write, "a function")(self.graph, *(x.value for x in xs)), channels)

    def optional(self, x: Tensor, choice: str, at_least: int, stretch: Stretch) -> Tensor:
        """Writes the stretch where it is there."""
        return stretch(self, x) if self.read.has(choice, at_least) else x

    def one_of(self, x: Tensor, choice: str, stretches: Sequence[Stretch]) -> Tensor:
        """Writes the chosen stretch."""
        return stretches[self.read.index(choice, stretches)](self, x)


def _told(write: Callable[..., int] | None, what: str) -> Callable[..., int]:
    if write is None:
        raise ValueError(
            f"{what} of a recipe was given no `write`: give one, or let the space's `layers` be"
            " search_spaces.trace.blocks.traced_layers(self, arch)"
        )
    return write


class Block(nnx.Module):
    """A recipe with its parameters: a block of a network, as `network.py` wants them.

    Attributes:
      recipe: its forward pass.
      ins: the widths of its inputs, in the block's own names of the choices (`in0.0`, ...).
      settled: the indices that an extracted block was cut by; None in a supernet.
    """

    def __init__(self, recipe: Recipe, ins: tuple[Channels, ...], modules: dict[str, Any], settled: Cut | None = None):
        self.recipe, self.ins, self.settled = recipe, ins, settled
        for name, module in modules.items():
            setattr(self, name, module)

    @classmethod
    def init(cls, draw: Draw, recipe: Recipe, ins: tuple[Channels, ...]) -> "Block":
        """With parameters for the largest of every option."""
        making = Making(draw)
        recipe(making, *_inputs(ins))
        return cls(recipe, ins, making.modules)

    def cut(self, read: Cut) -> "Block":
        """The block with the parameters that a known architecture uses."""
        cutting = Cutting(self, read)
        self.recipe(cutting, *_inputs(self.ins))
        return Block(self.recipe, self.ins, cutting.modules, read)

    def cut_stats(self, read: Cut, stats: dict[str, Any]) -> dict[str, Any]:
        """Batch-norm statistics of the channels that a known architecture uses."""
        cutting = Cutting(self, read)
        self.recipe(cutting, *_inputs(self.ins))
        return {name: Norm.cut_stats(stats[name], width.read(read)) for name, width in cutting.norms.items()}

    def __call__(self, read: Reading, stats: dict[str, Any] | None, *xs: Array) -> tuple[Array, dict[str, Any]]:
        """The block's output and the batch-norm statistics used, by the norms' names."""
        running = Running(self, read, stats)
        inputs = [Tensor(x, width) for x, width in zip(xs, self.ins, strict=True)]
        return running.cleaned(self.recipe(running, *inputs)).value, running.used


@lru_cache(maxsize=4096)
def outs_of(recipe: Recipe, ins: tuple[Channels, ...]) -> Channels:
    """The width of a recipe's output, in the block's own names."""
    return recipe(Planning(), *_inputs(ins)).width


def written(recipe: Recipe, graph: Graph, xs: Sequence[int], read: Cut, path: str, ins: tuple[Channels, ...]) -> int:
    """Writes a block of a known architecture behind positions `xs`; returns the position of its output."""
    inputs = [Tensor(x, width) for x, width in zip(xs, ins, strict=True)]
    return recipe(Writing(graph, read, path), *inputs).value


def _inputs(ins: Iterable[Channels]) -> list[Tensor]:
    return [Tensor(None, width) for width in ins]


def _parts(width: Channels) -> tuple[Width, ...]:
    return (width,) if isinstance(width, Width) else width.parts

"""The DARTS space: two cells, a normal and a reduction, of nodes that choose two inputs and an operation on each.

DARTS: Differentiable Architecture Search (arXiv:1806.09055). All cells of a kind share their choices; every cell has
parameters of its own for each operation on each edge.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, Literal

import numpy as np
from jaxtyping import Int, PRNGKeyArray

from search_spaces.assembly import Place, layers, supernet
from search_spaces.blocks.darts_cell import OPERATIONS, Convolved, Entrance, Exit, Node, pairs
from search_spaces.blocks.stretches import Classifier
from search_spaces.checks import at_least_one, one_of, some_in_order
from search_spaces.layers import Layer
from search_spaces.network import Network
from search_spaces.reading import Cut
from search_spaces.space import Choice, check_arch, options

Genotype = Sequence[tuple[str, int]]
"""A cell as published: two operations a node, each with the state it is done on; 0 and 1 are the cell's inputs."""

KINDS = ("normal", "reduction")


@dataclass(frozen=True, kw_only=True)
class Darts:
    """The space. The default is the published network for CIFAR: 1.08 * 10^18 networks.

    A cell's states are the outputs of the two cells before it and then its nodes; a node adds an operation on one of
    the states before it and one on another; the cell's output is the channels of all nodes. Cells at one and two thirds
    of the depth halve the size and double the channels.

    References:
      DARTS (arXiv:1806.09055).
      Differs: `none` is no option: the cells that are derived never have it. Which two states a node reads is a choice
      among pairs, instead of the two edges of the largest weights; relaxed, an edge's weight for an operation is the
      probability of being read times that of the operation. Norms have a scale and a shift in the relaxed network too,
      and pools no norm. No auxiliary classifier and no dropped paths: they are for training alone.

    Attributes:
      image_size: height and width of the images, px.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      channels: of a node in the first cells; even.
      cells: how many, the two reductions included.
      nodes: in a cell.
      operations: that edges choose from, the cheapest first.
      stem: what meets the image: for `cifar` one convolution, three times as wide as a node; for `imagenet` three
        that make the image an eighth as large.
    """

    image_size: int = 32
    image_channels: int = 3
    classes: int = 10
    channels: int = 36
    cells: int = 20
    nodes: int = 4
    operations: tuple[str, ...] = tuple(OPERATIONS)
    stem: Literal["cifar", "imagenet"] = "cifar"

    def __post_init__(self) -> None:
        at_least_one(self, "image_channels", "classes", "nodes")
        one_of(self, "stem", ("cifar", "imagenet"))
        if self.channels < 2 or self.channels % 2:
            raise ValueError(
                f"`channels` must be even, as reductions make half of them each way, got {self.channels}; did you mean"
                f" {max(2, self.channels + self.channels % 2)}?"
            )
        if self.cells < 3:
            raise ValueError(f"`cells` must be at least 3, a normal one and two reductions, got {self.cells}")
        least = 3 if self.stem == "cifar" else 17
        if self.image_size < least:
            raise ValueError(
                f"`image_size` must be at least {least} px, so that the last reduction has something to halve, got"
                f" {self.image_size}"
            )
        some_in_order(self, "operations", tuple(OPERATIONS))

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Per kind of cell and node, the pair of states it reads and the operation on each of them."""
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        return tuple(self._each_choice())

    def _each_choice(self) -> Iterator[Choice]:
        for kind in KINDS:
            for node in range(2, self.nodes + 2):
                name = f"{kind}.node{node}"
                if node > 2:
                    yield Choice(name=f"{name}.inputs", options=pairs(node))
                for own in ("first", "second"):
                    # Of fewer channels a dilated 5x5 convolution costs more than two separable 3x3.
                    yield Choice(name=f"{name}.{own}", options=self.operations, ordered=self.channels > 6)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The stem, per cell its two entrances, its nodes and its exit, and the classifier."""
        return tuple(self._each_place())

    def _each_place(self) -> Iterator[Place]:
        position, width = count(1), self.channels
        before, last = yield from self._stem(position)
        was_halved = self.stem == "imagenet"
        for cell in range(self.cells):
            halves = cell in (self.cells // 3, 2 * self.cells // 3)
            width *= 1 + halves
            yield Place(recipe=Entrance(channels=width, halves=was_halved), inputs=(before,))
            states = [next(position)]
            yield Place(recipe=Entrance(channels=width), inputs=(last,))
            states.append(next(position))
            for node in range(2, self.nodes + 2):
                yield Place(
                    recipe=Node(strides=(1 + halves,) * 2 + (1,) * (node - 2), operations=self.operations),
                    inputs=tuple(states),
                    choices=_bound(KINDS[halves], node),
                )
                states.append(next(position))
            yield Place(recipe=Exit(), inputs=tuple(states[2:]))
            before, last, was_halved = last, next(position), halves
        yield Place(recipe=Classifier(classes=self.classes), inputs=(last,))

    def _stem(self, position: Iterator[int]) -> Iterator[Place]:
        """Returns the places of the first cell's inputs."""
        if self.stem == "cifar":
            yield Place(recipe=Convolved(channels=(3 * self.channels,), stride=1), inputs=(0,))
            only = next(position)
            return only, only
        yield Place(recipe=Convolved(channels=(self.channels // 2, self.channels), stride=2), inputs=(0,))
        first = next(position)
        yield Place(recipe=Convolved(channels=(self.channels,), stride=2, activated=True), inputs=(first,))
        return first, next(position)

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: every edge of every cell has all operations. Wrap in `jax.jit`: eager creation is slow."""
        return supernet(key, self.places, self.image_channels)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        image = (self.image_size, self.image_size, self.image_channels)
        return layers(self.places, image, Cut.of(self.choices, check_arch(self, arch)))


def _bound(kind: str, node: int) -> tuple[tuple[str, str], ...]:
    own = ("inputs", "first", "second") if node > 2 else ("first", "second")  # the first node has one pair to read
    return tuple((name, f"{kind}.node{node}.{name}") for name in own)


def arch_of(space: Darts, normal: Genotype, reduction: Genotype) -> Int[np.ndarray, " choices"]:
    """The architecture of two cells as published.

    Args:
      space: with as many nodes.
      normal: two `(operation, state)` a node.
      reduction: likewise.

    Raises:
      ValueError: when a cell has another number of nodes, or one reads a state twice, or one that is not before it, or
        has an operation that is none of the space's.
    """
    said: dict[str, Any] = {}
    for kind, cell in zip(KINDS, (normal, reduction), strict=True):
        if len(cell) != 2 * space.nodes:
            raise ValueError(
                f"the {kind} cell needs two operations for each of {space.nodes} nodes, got {len(cell)} in all"
            )
        for node in range(2, space.nodes + 2):
            (state, first), (other, second) = sorted((i, name) for name, i in cell[2 * node - 4 : 2 * node - 2])
            if not 0 <= state < other < node:
                raise ValueError(
                    f"node {node} of the {kind} cell must read two different states of 0 to {node - 1}, got {state}"
                    f" and {other}"
                )
            for name in (first, second):
                if name not in space.operations:
                    raise ValueError(f"`{name}` is no operation of this space; they are {', '.join(space.operations)}")
            said |= {f"{kind}.node{node}.{own}": name for own, name in (("first", first), ("second", second))}
            said[f"{kind}.node{node}.inputs"] = (state, other)
    return np.array([choice.options.index(said[choice.name]) for choice in space.choices], np.int32)


def genotype(space: Darts, arch: Int[Any, " choices"] | Sequence[int]) -> dict[str, tuple[tuple[str, int], ...]]:
    """The two cells of an architecture as published, by their kinds.

    Raises:
      ValueError: when it is no architecture of the space.
    """
    said = options(space, arch)
    cells: dict[str, tuple[tuple[str, int], ...]] = {}
    for kind in KINDS:
        cell: list[tuple[str, int]] = []
        for node in range(2, space.nodes + 2):
            name = f"{kind}.node{node}"
            states = said.get(f"{name}.inputs", (0, 1))
            cell += [(said[f"{name}.{own}"], state) for own, state in zip(("first", "second"), states, strict=True)]
        cells[kind] = tuple(cell)
    return cells

"""NAS-Bench-201: a cell of four nodes whose six edges choose among five operations, repeated through the network.

After NAS-Bench-201 (arXiv:2001.00326). All cells of a network share the six choices, so that there are 5^6 = 15,625
networks. Operations are ordered from the cheapest to the dearest, not as published: `cell_string` and `arch_of` turn
an architecture into the published string and back, `nas_bench_201_table.py` into the published index.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from itertools import count
from typing import Any

import numpy as np
from jaxtyping import Int, PRNGKeyArray

from search_spaces.assembly import Place, layers, supernet
from search_spaces.blocks.stretches import Classifier, Stem, conv_norm
from search_spaces.checks import at_least_one
from search_spaces.layers import Layer
from search_spaces.network import Network
from search_spaces.reading import Cut
from search_spaces.recipe import Builder, Stretch, Tensor, within
from search_spaces.space import Choice, check_arch

OPERATIONS = ("none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3")
"""The options of every edge, by their published names, the cheapest first."""

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""From which node to which, in the order of the choices and of the published string."""

EPSILON = 1e-5


@dataclass(frozen=True, kw_only=True)
class NasBench201:
    """The space. The default is the published network: up to 220 M MACs and 1.53 M parameters at 32 px.

    A cell adds up, at each of its nodes 1 to 3, what the edges from the nodes before it give; node 0 is its input, node
    3 its output. Edges may all be `none`: such a network answers the same to every image.

    Attributes:
      image_size: height and width of the images, px; each stage after the first halves them.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      channels: of the first stage; each further stage has twice as many as the one before.
      cells: in each stage.
      stages: 3 as published.
    """

    image_size: int = 32
    image_channels: int = 3
    classes: int = 10
    channels: int = 16
    cells: int = 5
    stages: int = 3

    def __post_init__(self) -> None:
        at_least_one(self, "image_size", "image_channels", "classes", "channels", "cells", "stages")
        unit = 2 ** (self.stages - 1)
        if self.image_size % unit:
            raise ValueError(
                f"`image_size` must be a multiple of {unit}, as {self.stages} stages halve it {self.stages - 1} times,"
                f" got {self.image_size}; did you mean {max(unit, round(self.image_size / unit) * unit)}?"
            )

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The operation of each edge; `edge02` leads from node 0 to node 2."""
        return CHOICES

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: every edge of every cell has all operations. Wrap in `jax.jit`: eager creation is slow."""
        return supernet(key, self.places, self.image_channels)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture, as published: cut edges are `Zeros`, and what leads nowhere is there too."""
        image = (self.image_size, self.image_size, self.image_channels)
        return layers(self.places, image, Cut.of(self.choices, check_arch(self, arch)))

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The stem, the edges and sums of every cell, reductions between the stages, and the head."""
        return tuple(self._each_place())

    def _each_place(self) -> Iterator[Place]:
        position = count(1)
        yield Place(recipe=Stem(outs=self.channels, stride=1, activation=None, epsilon=EPSILON))
        x = next(position)
        for stage in range(self.stages):
            if stage:
                yield Place(recipe=ResidualReduction(outs=self.channels * 2**stage), inputs=(x,))
                x = next(position)
            for _ in range(self.cells):
                nodes = [x]
                for node in range(1, 4):
                    terms = []
                    for start in range(node):
                        yield Place(recipe=Edge(), inputs=(nodes[start],), choices=(("op", f"edge{start}{node}"),))
                        terms.append(next(position))
                    if len(terms) > 1:
                        yield Place(recipe=Total(), inputs=tuple(terms))
                    nodes.append(next(position) if len(terms) > 1 else terms[0])
                x = nodes[-1]
        yield Place(recipe=NormHead(classes=self.classes), inputs=(x,))


CHOICES = tuple(Choice(name=f"edge{start}{end}", options=OPERATIONS) for start, end in EDGES)


def relu_conv_norm(b: Builder, x: Tensor, *, outs: int | None = None, kernel: int, stride: int = 1) -> Tensor:
    """ReLU, a convolution to `outs` channels or as many as before, batch norm."""
    more = {"norm": "norm", "epsilon": EPSILON}
    return conv_norm(b, b.act(x, "relu"), "conv", outs or x.width, kernel, stride, **more)


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One of `OPERATIONS`. Its own choice: `op`."""

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """What the edge gives its node."""
        stretches: dict[str, Stretch] = {
            "none": lambda b, x: b.zeros(x),
            "skip_connect": lambda _, x: x,
            "avg_pool_3x3": lambda b, x: b.avg_pool(x, 3),
            "nor_conv_1x1": within("conv1x1", partial(relu_conv_norm, kernel=1)),
            "nor_conv_3x3": within("conv3x3", partial(relu_conv_norm, kernel=3)),
        }
        return b.one_of(x, "op", [stretches[name] for name in OPERATIONS])


@dataclass(frozen=True, kw_only=True)
class Total:
    """A node: the sum of its edges, from the first on."""

    def __call__(self, b: Builder, *xs: Tensor) -> Tensor:
        """The sum."""
        return reduce(b.add, xs)


@dataclass(frozen=True, kw_only=True)
class ResidualReduction:
    """Half the size: two ReLU-conv3x3-norms, the first at stride 2, plus the input's 2x2 means through a 1x1 conv."""

    outs: int

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The reduced activations."""
        y = within("down", partial(relu_conv_norm, outs=self.outs, kernel=3, stride=2))(b, x)
        y = within("conv", partial(relu_conv_norm, kernel=3))(b, y)
        return b.add(b.conv(b.avg_pool(x, 2, 2), "shortcut", self.outs), y)


@dataclass(frozen=True, kw_only=True)
class NormHead:
    """Batch norm, ReLU, the mean over positions and a classifier."""

    classes: int

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """Logits."""
        return Classifier(classes=self.classes)(b, b.act(b.norm(x, "norm", EPSILON), "relu"))


def cell_string(arch: Int[Any, " choices"] | Sequence[int]) -> str:
    """The cell as published: `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`, each operation with the node it comes from.

    Raises:
      ValueError: when it is no architecture of the space.
    """
    names = [OPERATIONS[index] for index in check_arch(NasBench201(), arch)]
    ends = dict(zip(EDGES, names, strict=True))
    return "+".join("|" + "".join(f"{ends[start, node]}~{start}|" for start in range(node)) for node in range(1, 4))


def arch_of(cell: str) -> Int[np.ndarray, " choices"]:
    """The architecture of a cell as published.

    Raises:
      ValueError: when it is not such a string.
    """
    names = re.findall(r"(\w+)~\d", cell)
    fits = len(names) == len(EDGES) and set(names) <= set(OPERATIONS)
    arch = np.array([OPERATIONS.index(name) for name in names] if fits else [], np.int32)
    fits = fits and cell_string(arch) == cell
    if not fits:
        raise ValueError(
            f"a cell reads `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|` with operations of {', '.join(OPERATIONS)};"
            f" got `{cell}`"
        )
    return arch


def is_connected(arch: Int[Any, " choices"] | Sequence[int]) -> bool:
    """Whether a way leads from a cell's input to its output; without one a network answers the same to every image."""
    reached = {0}
    for (start, end), index in zip(EDGES, check_arch(NasBench201(), arch).tolist(), strict=True):
        if start in reached and index != OPERATIONS.index("none"):
            reached.add(end)
    return 3 in reached

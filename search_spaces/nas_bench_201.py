"""NAS-Bench-201: a cell of four nodes whose six edges choose among five operations, repeated through the network.

After NAS-Bench-201 (arXiv:2001.00326). All cells of a network share the six choices, so that there are 5^6 = 15,625
networks. Operations are ordered from the cheapest to the dearest, not as published: `cell_string` and `arch_of` turn
an architecture into the published string and back, `nas_bench_201_table.py` into the published index.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from search_spaces.elastic import Conv, Dense, Norm
from search_spaces.ends import Stem, stem_layers
from search_spaces.initialise import Draw, drawn
from search_spaces.layers import Graph, Layer
from search_spaces.network import Network, Slot
from search_spaces.operations import (
    OneOf,
    Plain,
    ReluConvNorm,
    average_pool,
    average_pool_3x3,
    identity,
    relu_conv_norm_layers,
    total,
    zeros,
)
from search_spaces.reading import Cut, Reading
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
        for name in ("image_size", "image_channels", "classes", "channels", "cells", "stages"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
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
        return drawn(key, lambda draw: Network([p.slot for p in self._places], [p.block(draw) for p in self._places]))

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture, as published: cut edges are `Zeros`, and what leads nowhere is there too."""
        read = Cut.of(self.choices, check_arch(self, arch))
        graph = Graph((self.image_size, self.image_size, self.image_channels))
        outputs = [0]
        for i, place in enumerate(self._places):
            inputs = [outputs[j] for j in place.inputs]
            outputs.append(place.layers(graph, inputs, read.bound(place.slot.choices), f"blocks.{i}"))
        return tuple(graph.layers)

    @cached_property
    def _places(self) -> tuple["_Place", ...]:
        """Every block, in order."""
        return tuple(self._wired())

    def _wired(self) -> Iterator["_Place"]:
        position = count(1)
        widths = [self.channels * 2**stage for stage in range(self.stages)]
        yield _Place(kind="stem", inputs=(0,), ins=self.image_channels, outs=widths[0])
        x = next(position)
        for before, width in zip([None, *widths], widths, strict=False):
            if before is not None:
                yield _Place(kind="reduction", inputs=(x,), ins=before, outs=width)
                x = next(position)
            for _ in range(self.cells):
                nodes = [x]
                for node in range(1, 4):
                    terms = []
                    for start in range(node):
                        edge = EDGES.index((start, node))
                        yield _Place(kind="edge", inputs=(nodes[start],), ins=width, outs=width, edge=edge)
                        terms.append(next(position))
                    if len(terms) > 1:
                        yield _Place(kind="sum", inputs=tuple(terms), ins=width, outs=width)
                    nodes.append(next(position) if len(terms) > 1 else terms[0])
                x = nodes[-1]
        yield _Place(kind="head", inputs=(x,), ins=widths[-1], outs=self.classes)


CHOICES = tuple(Choice(name=f"edge{start}{end}", options=OPERATIONS) for start, end in EDGES)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A block of the space: what it is, what feeds it, and its channels."""

    kind: Literal["stem", "reduction", "edge", "sum", "head"]
    inputs: tuple[int, ...]
    ins: int
    outs: int
    edge: int = 0

    @property
    def slot(self) -> Slot:
        choices = (("op", CHOICES[self.edge].name),) if self.kind == "edge" else ()
        return Slot(inputs=self.inputs, choices=choices)

    def block(self, draw: Draw) -> nnx.Module:
        match self.kind:
            case "stem":
                return Stem.init(draw, self.ins, self.outs, 1, None, EPSILON)
            case "reduction":
                return ResidualReduction.init(draw, self.ins, self.outs)
            case "edge":
                return edge(draw, self.outs)
            case "sum":
                return Plain(total)
            case "head":
                return NormHead.init(draw, self.ins, self.outs)

    def layers(self, graph: Graph, xs: Sequence[int], read: Cut, path: str) -> int:
        x = xs[0]
        match self.kind:
            case "stem":
                return stem_layers(graph, self.outs, 1, None, path, EPSILON)
            case "reduction":
                y = relu_conv_norm_layers(graph, x, self.outs, 3, EPSILON, f"{path}.down", stride=2)
                y = relu_conv_norm_layers(graph, y, self.outs, 3, EPSILON, f"{path}.conv")
                return graph.sum(graph.conv(graph.avg_pool(x, 2, 2), self.outs, f"{path}.shortcut"), y)
            case "edge":
                return edge_layers(graph, x, OPERATIONS[read.index("op", OPERATIONS)], f"{path}.options.0")
            case "sum":
                for other in xs[1:]:
                    x = graph.sum(x, other)
                return x
            case "head":
                x = graph.activation(graph.norm(x, f"{path}.norm", EPSILON), "relu")
                return graph.dense(graph.global_pool(x), self.outs, f"{path}.classifier")


def edge(draw: Draw, channels: int) -> OneOf:
    """An edge with all `OPERATIONS`, in their order."""
    pointwise, conv = (ReluConvNorm.init(draw, channels, channels, kernel, EPSILON) for kernel in (1, 3))
    return OneOf([Plain(zeros), Plain(identity), Plain(average_pool_3x3), pointwise, conv])


def edge_layers(graph: Graph, x: int, operation: str, path: str) -> int:
    """Writes an edge of one operation behind position `x`."""
    channels = graph.shape(x)[-1]
    match operation:
        case "none":
            return graph.zeros(x)
        case "skip_connect":
            return x
        case "avg_pool_3x3":
            return graph.avg_pool(x, 3)
        case "nor_conv_1x1":
            return relu_conv_norm_layers(graph, x, channels, 1, EPSILON, path)
        case _:
            return relu_conv_norm_layers(graph, x, channels, 3, EPSILON, path)


class ResidualReduction(nnx.Module):
    """Half the size: two ReLU-conv3x3-norms, the first at stride 2, plus the input's 2x2 means through a 1x1 conv."""

    def __init__(self, down: ReluConvNorm, conv: ReluConvNorm, shortcut: Conv):
        self.down, self.conv, self.shortcut = down, conv, shortcut

    @classmethod
    def init(cls, draw: Draw, ins: int, outs: int) -> "ResidualReduction":
        """From `ins` to `outs` channels."""
        down, conv = ReluConvNorm.init(draw, ins, outs, 3, EPSILON, 2), ReluConvNorm.init(draw, outs, outs, 3, EPSILON)
        return cls(down, conv, Conv.init(draw, ins, outs))

    def cut(self, read: Reading) -> "ResidualReduction":
        """Itself."""
        return self

    def cut_stats(self, read: Reading, stats: dict[str, Any]) -> dict[str, Any]:
        """All of them."""
        return stats

    def __call__(
        self, read: Reading, stats: dict[str, Any] | None, x: Float[Array, "..."]
    ) -> tuple[Array, dict[str, Any]]:
        """The reduced activations, and the statistics used."""
        given, used = stats or {}, {}
        y, used["down"] = self.down(read, given.get("down"), x)
        y, used["conv"] = self.conv(read, given.get("conv"), y)
        return self.shortcut(average_pool(x, 2, 2)) + y, used


class NormHead(nnx.Module):
    """Batch norm, ReLU, the mean over positions and a classifier. No choices."""

    def __init__(self, norm: Norm, classifier: Dense):
        self.norm, self.classifier = norm, classifier

    @classmethod
    def init(cls, draw: Draw, ins: int, classes: int) -> "NormHead":
        """From `ins` channels."""
        return cls(Norm.init(ins, EPSILON), Dense.init(draw, ins, classes))

    def cut(self, read: Reading) -> "NormHead":
        """Itself."""
        return self

    def cut_stats(self, read: Reading, stats: dict[str, Any]) -> dict[str, Any]:
        """All of them."""
        return stats

    def __call__(
        self, read: Reading, stats: dict[str, Any] | None, x: Float[Array, "..."]
    ) -> tuple[Float[Array, "batch classes"], dict[str, Any]]:
        """Logits."""
        x, used = self.norm(x, (stats or {}).get("norm"))
        return self.classifier(jax.nn.relu(x).mean((1, 2))), {"norm": used}


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

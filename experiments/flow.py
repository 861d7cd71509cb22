"""Where things are drawn: a network's nodes in modules between bottlenecks, and modules in rows read like text.

A *module* is a stretch of nodes that one tensor enters and one leaves: a convolution, a residual block, a cell. A *row*
is the modules of one block, side by side; rows that repeat are kept once. Inside a module the nodes stand in columns by
their distance from its entry and in lanes, the longest way through straight on in lane 0.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Any

from experiments.nodes import Node
from search_spaces.layers import Layer, total_macs, total_params

LONGEST_MODULE, SHORTEST_MODULE = 16, 4
"""Columns of what is cut where two tensors are to be read, and of what that may leave."""
LONGEST_PERIOD = 6
"""So many rows in a row may repeat together."""


@dataclass(frozen=True, kw_only=True)
class Wire:
    """A tensor on its way from one node to another inside a module; column 0 is the module's entry.

    Attributes:
      source: position of the node; the entry, and what comes from afar, lie before the module.
      target: position of the node.
      lane: where it runs between the columns of both; None where they are neighbours.
    """

    source: int
    target: int
    lane: int | None


@dataclass(frozen=True, kw_only=True)
class Module:
    """A stretch of nodes that one tensor enters and one leaves; where there is no such stretch, more may enter.

    Attributes:
      entry: position of the node before it, whose tensor enters; None at the image.
      places: column (from 1) and lane of each node, by its position.
      wires: all connections that end in it.
      afar: position and lane of other nodes before it whose tensors enter.
    """

    entry: int | None
    places: dict[int, tuple[int, int]]
    wires: tuple[Wire, ...]
    afar: tuple[tuple[int, int], ...] = ()

    @property
    def columns(self) -> int:
        """How many there are."""
        return max(column for column, _ in self.places.values())

    @property
    def lanes(self) -> tuple[int, int]:
        """The first and the last lane in use."""
        used = [lane for _, lane in self.places.values()]
        used += [wire.lane for wire in self.wires if wire.lane is not None]
        used += [lane for _, lane in self.afar]
        return min(used), max(used)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Modules side by side.

    Attributes:
      name: of the blocks it is of; empty where it goes on with the row before.
      modules: in order.
      layers: of all its nodes.
    """

    name: str
    modules: tuple[Module, ...]
    layers: tuple[Layer, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one copy."""
        return total_macs(self.layers)

    @property
    def params(self) -> int:
        """Parameters of one copy."""
        return total_params(self.layers)


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """Consecutive rows that occur `times` times one after the other.

    Attributes:
      rows: as they are the first time.
      times: 1 for rows that don't repeat.
      name: of the blocks from the first to the last time.
    """

    rows: tuple[Row, ...]
    times: int
    name: str


def modules_of(nodes: Sequence[Node]) -> tuple[Module, ...]:
    """The modules of a network: cut wherever the tensor just made is the only one still to be read.

    What is then longer than 16 columns (DARTS' cells each read the two before) is cut where one more is to be read.
    """
    last_read = {source: i for i, node in enumerate(nodes) for source in node.inputs}
    cuts, loose, alive = [0], list[int](), set[int]()
    for i in range(len(nodes)):
        alive = {source for source in alive | {i} if last_read.get(source, -1) > i}
        if alive == {i} or i == len(nodes) - 1:
            cuts.append(i + 1)
        elif i in alive and len(alive) == 2:
            loose.append(i + 1)
    return tuple(module for start, end in pairwise(cuts) for module in _modules(nodes, start, end, loose))


def _modules(nodes: Sequence[Node], start: int, end: int, loose: Sequence[int]) -> Iterator[Module]:
    """One module; of one that is too long, several that each end in their last column."""
    if _module(nodes, start, end).columns > LONGEST_MODULE:
        for each in loose:
            if start < each < end:
                module = _module(nodes, start, each)
                column, _ = module.places[each - 1]
                if column == module.columns >= SHORTEST_MODULE:
                    yield module
                    start = each
    yield _module(nodes, start, end)


def _module(nodes: Sequence[Node], start: int, end: int) -> Module:
    sources = {source for i in range(start, end) for source in nodes[i].inputs}
    afar = sorted(source for source in sources if source < start - 1)
    column = {start - 1: 0, **dict.fromkeys(afar, 0)}
    for i in range(start, end):
        column[i] = 1 + max((column[source] for source in nodes[i].inputs), default=0)
    lane = {start - 1: 0, **dict(zip(afar, _outwards(-1), strict=False))}
    taken: dict[tuple[int, int], int] = {}  # lane and column to the node whose tensor (or self) is there

    def free(candidates: Iterator[int], first: int, last: int, source: int) -> int:
        for each in candidates:
            if all(taken.get((each, at), source) == source for at in range(first, last + 1)):
                taken.update({(each, at): source for at in range(first, last + 1)})
                return each
        raise AssertionError("lanes are endless")

    def chain(i: int) -> list[int]:
        """The longest way back from a node over nodes that have no lane yet."""
        found = [i]
        while before := [s for s in nodes[found[-1]].inputs if s >= start and s not in lane]:
            found.append(max(before, key=lambda s: column[s]))
        return found

    for i in sorted(range(start, end), key=lambda i: (i != end - 1, -column[i], i)):
        if i not in lane:
            path = chain(i)
            straight = iter([0]) if i == end - 1 else _outwards(1)
            first, last = column[path[-1]], column[path[0]]
            chosen = next(each for each in straight if all((each, at) not in taken for at in range(first, last + 1)))
            for member in path:
                lane[member] = chosen
            taken.update({(chosen, at): path[0] for at in range(first, last + 1)})
    wires = []
    for i in range(start, end):
        for source in nodes[i].inputs:
            first, last = column[source] + 1, column[i] - 1
            if last < first:
                wires.append(Wire(source=source, target=i, lane=None))
                continue
            near = (each for group in ((lane[source], lane[i]), _outwards(-1)) for each in group)
            wires.append(Wire(source=source, target=i, lane=free(near, first, last, -2 - source)))
    places = {i: (column[i], lane[i]) for i in range(start, end)}
    entering = tuple((source, lane[source]) for source in afar)
    return Module(entry=start - 1 if start else None, places=places, wires=tuple(wires), afar=entering)


def _outwards(sign: int) -> Iterator[int]:
    """1, -1, 2, -2, ... times the sign."""
    for distance in count(1):
        yield sign * distance
        yield -sign * distance


def rows_of(
    nodes: Sequence[Node], modules: Sequence[Module], width: Callable[[Module], float], widest: float
) -> tuple[Repeated, ...]:
    """Modules in rows, a block or more each; rows that repeat are kept once.

    Args:
      nodes: of the network.
      modules: of them.
      width: of a module, as drawn.
      widest: that a row may be, unless a single module is wider.
    """
    rows: list[Row] = []
    held: list[Module] = []
    waiting: list[Module] = []  # have no parameters: they go with what follows
    name = ""

    def close() -> None:
        if held:
            layers = tuple(layer for module in held for i in module.places for layer in nodes[i].layers)
            rows.append(Row(name=name, modules=tuple(held), layers=layers))
            held.clear()

    def place() -> None:
        for each in waiting:
            if each.afar or sum(map(width, held)) + width(each) > widest:
                close()
            held.append(each)
        waiting.clear()

    for module in modules:
        blocks = blocks_of([layer for i in module.places for layer in nodes[i].layers])
        waiting.append(module)
        if blocks:
            if name and blocks != name:
                close()
            name = blocks
            place()
    place()
    close()
    return _repeated(rows, [_signature(nodes, row) for row in rows])


def blocks_of(layers: Sequence[Layer]) -> str:
    """What part of the network these layers are: the first words of their paths up to a number, `blocks.3`."""
    parts = list(dict.fromkeys(_part(layer.path) for layer in layers if layer.path))
    return _span(parts[0], parts[-1]) if parts else ""


def _span(first: str, last: str) -> str:
    """From the first part of one to the last of the other: `blocks.3–5`."""
    first, last = first.partition("–")[0], last
    stem, _, number = first.rpartition(".")
    end = last.rpartition("–")[2].removeprefix(f"{stem}.") if stem else last.rpartition("–")[2]
    return first if first == last or end == number else f"{first}–{end}"


def _part(path: str) -> str:
    words = path.split(".")
    numbers = [i for i, word in enumerate(words) if word.isdigit()]
    return ".".join(words[: numbers[0] + 1]) if numbers else words[0]


def _signature(nodes: Sequence[Node], row: Row) -> Any:
    """Equal for rows that look the same."""
    start = min(row.modules[0].places)
    plain = [dataclasses.replace(layer, path="", inputs=()) for layer in row.layers]
    return plain, [tuple(s - start for s in nodes[i].inputs) for module in row.modules for i in module.places]


def _repeated(rows: Sequence[Row], signatures: Sequence[Any]) -> tuple[Repeated, ...]:
    found: list[Repeated] = []
    at = 0
    while at < len(rows):
        best, times = 1, 1
        for period in range(1, LONGEST_PERIOD + 1):
            repeats = 1
            while signatures[at : at + period] == signatures[at + repeats * period : at + (repeats + 1) * period] != []:
                repeats += 1
            if (repeats - 1) * period > (times - 1) * best:
                best, times = period, repeats
        name = _span(rows[at].name, rows[at + best * times - 1].name)
        found.append(Repeated(rows=tuple(rows[at : at + best]), times=times, name=name))
        at += best * times
    return tuple(found)

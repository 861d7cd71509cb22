"""Which slot of its network a part of it belongs to, and so what each slot of an architecture costs."""

from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Int

from search_spaces.layers import Layer
from search_spaces.network import Network, Slot
from search_spaces.reading import Cut
from search_spaces.space import Space, canonical

BLOCKS = "blocks."
"""How the path of a layer begins; the position of its block in the extracted network follows."""


class Readings(NamedTuple):
    """What the parts of one network cost: layers, or kernels, in order of execution.

    Attributes:
      paths: of each part, as `paths_of` gives them.
      values: whole numbers, int64, a row for each part.
    """

    paths: Sequence[str]
    values: Int[np.ndarray, "parts costs"]


Read = Callable[[tuple[Layer, ...]], Readings]
"""The costs of a network's parts; what a part costs may hang on the whole network (who reads it, what is alive)."""


class SlotCosts:
    """Costs of an architecture's parts, summed (or their highest taken) by the slots that they belong to.

    The path of a part tells its block, and blocks that are there stand in the order of the slots. A part without a
    path (an activation, a product of attention) may belong to the block of the path before it or to one behind it:
    such parts are groups of their own, one behind each slot. Where the supernet is no `Network`, all parts are one
    group. How parts are grouped decides how small the tables of `tables.py` are: any grouping adds up. Calls are kept.

    Attributes:
      space: whose architectures.
      slots: of the space's network.
      highest: positions of the costs of which a network has the highest of its parts; of the others it has the sum.
      groups: how many there are: with paths, one a slot; then without, one behind each slot.
    """

    def __init__(self, space: Space, read: Read, costs: int, highest: Iterable[int] = ()):
        """Takes what reads a network, and how many costs it reads."""
        self.space, self._read, self._costs = space, read, costs
        self.slots, self.highest = slots_of(space), frozenset(highest)
        self.groups = 2 * len(self.slots) or 1
        self._kept: dict[bytes, np.ndarray] = {}
        self._seen: list[tuple[np.ndarray, np.ndarray]] = []

    def declared(self) -> list[set[int]]:
        """For each group, the positions of the choices that its slot says shape it."""
        position = {choice.name: i for i, choice in enumerate(self.space.choices)}
        said: list[set[int]] = [set() for _ in range(self.groups)]
        for i, slot in enumerate(self.slots):
            said[i] = {position[name] for _, name in slot.bindings}
        return said

    def __call__(self, arch: Int[np.ndarray, " choices"]) -> Int[np.ndarray, "groups costs"]:
        """The costs of the groups; a group without parts has 0."""
        asked = arch.tobytes()
        if (known := self._kept.get(asked)) is None:
            row = canonical(self.space, arch)
            if (known := self._kept.get(row.tobytes())) is None:
                known = self._kept[row.tobytes()] = self._measured(row)
                self._seen.append((row, known))
            self._kept[asked] = known
        return known

    def seen(self) -> tuple[Int[np.ndarray, "archs choices"], Int[np.ndarray, "archs groups costs"]]:
        """All canonical rows that were measured so far, and their costs."""
        archs, costs = zip(*self._seen, strict=True)
        return np.array(archs), np.array(costs)

    def _measured(self, row: np.ndarray) -> np.ndarray:
        read = Cut.of(self.space.choices, row)
        there = [i for i, slot in enumerate(self.slots) if slot.is_there(read)]
        found = self._read(self.space.layers(row))
        slot, of_parts = 0, []
        for path in found.paths:
            number = path.removeprefix(BLOCKS).split(".")[0] if path.startswith(BLOCKS) else ""
            if has_path := number.isdecimal() and int(number) < len(there):
                slot = there[int(number)]
            of_parts.append(slot if has_path else len(self.slots) + slot)
        at = np.array(of_parts, np.intp)
        costs = np.zeros((self.groups, self._costs), np.int64)
        for cost in range(self._costs):
            gathered = np.maximum if cost in self.highest else np.add
            gathered.at(costs[:, cost], at, found.values[:, cost])
        return costs


def of_layers(per_layer: Callable[[Layer], int]) -> Read:
    """Reads one cost, a function of a layer.

    Raises:
      ValueError: when the cost of a layer is no whole number.
    """

    def cost_of(layer: Layer) -> int:
        cost = per_layer(layer)
        if not isinstance(cost, Integral):
            raise ValueError(f"the cost of a layer must be a whole number, got {cost!r} for {type(layer).__name__}")
        return int(cost)

    def read(layers: tuple[Layer, ...]) -> Readings:
        values = np.array([cost_of(layer) for layer in layers], np.int64)
        return Readings(paths_of(layers), values[:, None])

    return read


def paths_of(layers: Sequence[Layer]) -> list[str]:
    """The path of each layer's parameters; of what has none and only prepares a layer that has, that layer's.

    What a block does before its first parameters (an activation, a shuffle) so counts as its own.
    """
    readers: list[list[int]] = [[] for _ in layers]
    for position, layer in enumerate(layers):
        for source in layer.inputs:
            readers[source].append(position)
    return [
        layers[readers[i][0]].path if not layer.path and len(layer.inputs) == len(readers[i]) == 1 else layer.path
        for i, layer in enumerate(layers)
    ]


def slots_of(space: Space) -> tuple[Slot, ...]:
    """The slots of the space's network; none where its supernet is no `Network`."""
    network = nnx.eval_shape(lambda: space.supernet(jax.random.key(0)))
    return network.slots if isinstance(network, Network) else ()

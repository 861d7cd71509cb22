"""Which slot of its network a layer belongs to, and so what each slot of an architecture costs."""

from collections.abc import Callable, Sequence
from numbers import Integral

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


class SlotCosts:
    """Costs of an architecture's layers, summed by the slots that they belong to; calls are kept.

    The path of a layer tells its block, and blocks that are there stand in the order of the slots. A layer without a
    path (an activation, a product of attention) may belong to the block of the path before it or to one behind it:
    such layers are groups of their own, behind each slot or all together. Where the supernet is no `Network`, all
    layers are one group. How layers are grouped decides how small the tables of `factors.py` are: any grouping adds up.

    Attributes:
      groups: how many there are.
    """

    def __init__(self, space: Space, per_layer: Callable[[Layer], int], slots: Sequence[Slot], apart: bool):
        """Takes the slots of the space's network, and whether layers without a path are kept apart by slots."""
        self._space, self._per_layer, self._slots, self._apart = space, per_layer, tuple(slots), apart
        self._kept: dict[bytes, np.ndarray] = {}
        self.groups = (2 if apart else 1) * len(self._slots) + (not apart)

    def declared(self) -> list[set[int]]:
        """For each group, the positions of the choices that its slot says shape it."""
        position = {choice.name: i for i, choice in enumerate(self._space.choices)}
        said: list[set[int]] = [set() for _ in range(self.groups)]
        for i, slot in enumerate(self._slots):
            names = [name for _, name in slot.choices] + ([slot.when[0]] if slot.when else [])
            said[i] = {position[name] for name in names}
        return said

    def __call__(self, arch: Int[np.ndarray, " choices"]) -> Int[np.ndarray, " groups"]:
        """The costs of the groups.

        Raises:
          ValueError: when the cost of a layer is no whole number.
        """
        row = canonical(self._space, arch)
        if (known := self._kept.get(row.tobytes())) is None:
            known = self._kept[row.tobytes()] = self._measured(row)
        return known

    def _measured(self, row: np.ndarray) -> np.ndarray:
        sums = [0] * self.groups
        read = Cut.of(self._space.choices, row)
        there = [i for i, slot in enumerate(self._slots) if slot.is_there(read)]
        slot = 0
        for layer in self._space.layers(row):
            cost = self._per_layer(layer)
            if not isinstance(cost, Integral):
                raise ValueError(f"the cost of a layer must be a whole number, got {cost!r} for {type(layer).__name__}")
            number = layer.path.removeprefix(BLOCKS).split(".")[0] if layer.path.startswith(BLOCKS) else ""
            if number.isdecimal() and int(number) < len(there):
                slot = there[int(number)]
                sums[slot] += int(cost)
            else:
                sums[len(self._slots) + slot * self._apart] += int(cost)
        return np.array(sums, np.int64)


def slots_of(space: Space) -> tuple[Slot, ...]:
    """The slots of the space's network; none where its supernet is no `Network`."""
    network = nnx.eval_shape(lambda: space.supernet(jax.random.key(0)))
    return network.slots if isinstance(network, Network) else ()

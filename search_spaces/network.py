"""An elastic network is blocks in slots: a slot says what feeds its block, which choices shape it and when it is there.

The same list is run masked, cut or whole (`Network.__call__`), block by block at true cost (`sliced.py`), and cut out
(`extract.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import jax
from flax import nnx
from jaxtyping import Array, Float

from search_spaces.reading import Cut, Names, Reading


@runtime_checkable
class Block(Protocol):
    """One stretch of a network, an `nnx.Module` whose own fields (all but parameters) are hashable and say its shapes.

    Blocks that are equal in these and in their parameters' shapes share their compiled programs, wherever they stand;
    so a block knows its choices by names of its own.
    """

    def cut(self, read: Any) -> Any:
        """The block with the parameters that the reading uses."""
        ...

    def cut_stats(self, read: Any, stats: Any) -> Any:
        """Of the statistics that a call used, those that the reading needs."""
        ...

    def __call__(self, read: Any, stats: Any, *xs: Any) -> tuple[Any, Any]:
        """The output for these inputs, and the batch-norm statistics used.

        Args:
          read: how to run it, with the block's own names of its choices.
          stats: statistics to normalise with, in the structure that comes out; None takes each batch's own.
          *xs: outputs of the slots that feed this one.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Where a block stands.

    Attributes:
      inputs: what feeds it: 0 is the image, `i` the output of the i-th slot (from 1); all before its own.
      choices: the choices that shape the block: its own name of each, and the space's.
      when: `(choice, index)`: the block is there while the choice's index is at least `index`, else its first input
        passes by. None where it always is.
    """

    inputs: tuple[int, ...]
    choices: Names = ()
    when: tuple[str, int] | None = None

    @property
    def bindings(self) -> Names:
        """Every choice of the space that it names, with what it is for."""
        return self.choices if self.when is None else (*self.choices, ("when", self.when[0]))

    def is_there(self, read: Cut) -> bool:
        """Whether a known architecture has the block."""
        return self.when is None or read.has(*self.when)


class Network(nnx.Module):
    """Blocks in slots; `network(read, images, stats)` gives logits and batch-norm statistics, one entry a slot."""

    def __init__(self, slots: Sequence[Slot], blocks: Sequence[Any]):
        if len(slots) != len(blocks):
            raise ValueError(f"each block stands in a slot, got {len(blocks)} blocks and {len(slots)} slots")
        for position, slot in enumerate(slots, 1):
            if not slot.inputs or not all(0 <= i < position for i in slot.inputs):
                raise ValueError(f"slot {position} must be fed by some of 0 to {position - 1}, got {slot.inputs}")
        self.slots = tuple(slots)
        self.blocks = nnx.List(blocks)

    def __call__(
        self, read: Reading, images: Float[Array, "batch height width channels"], stats: Any = None
    ) -> tuple[Float[Array, "batch classes"], list[Any]]:
        """Returns logits and the batch-norm statistics used.

        Args:
          read: how to run it: `Masked`, `Cut` or, once extracted, `Whole`.
          images: normalised, of the size that the static choices ask for.
          stats: statistics to normalise with, in the structure that comes out; None takes each batch's own.
        """
        values, used = [images], []
        for slot, block, given in zip(self.slots, self.blocks, stats or [None] * len(self.slots), strict=True):
            run = read.stretch(_bound(block, read.bound(slot.choices), given))
            inputs = [values[i] for i in slot.inputs]
            y, block_used = run(*inputs) if slot.when is None else read.optional(*slot.when, run, *inputs)
            values.append(y)
            used.append(block_used)
        return values[-1], used

    def cut(self, read: Cut) -> "Network":
        """The network of one architecture, its absent blocks gone."""
        slots, blocks, position = [], [], {0: 0}
        for i, (slot, block) in enumerate(zip(self.slots, self.blocks, strict=True), 1):
            if not slot.is_there(read):
                position[i] = position[slot.inputs[0]]
                continue
            slots.append(Slot(inputs=tuple(position[j] for j in slot.inputs)))
            blocks.append(block.cut(read.bound(slot.choices)))
            position[i] = len(slots)
        return Network(slots, blocks)

    def cut_stats(self, read: Cut, stats: Sequence[Any]) -> list[Any]:
        """The statistics of the network that `cut` gives."""
        return [
            block.cut_stats(read.bound(slot.choices), given)
            for slot, block, given in zip(self.slots, self.blocks, stats, strict=True)
            if slot.is_there(read)
        ]


def _bound(block: Any, read: Reading, given: Any) -> Any:
    return lambda *xs: block(read, given, *xs)


def rematerialised(read: Any) -> Any:
    """The masked reading under which only blocks' inputs are kept for the gradient (arXiv:1604.06174)."""
    return replace(read, remat=True)


def cast(network: Any, dtype: Any) -> Any:
    """The network with its parameters in another precision, to compute in."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype), network)

"""Which box of each of its parameters a block needs for one architecture, found by asking the block's own `cut`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from search_spaces.reading import Cut


class Box(NamedTuple):
    """A part of an array, contiguous along every axis.

    Attributes:
      start: where it begins, an index an axis.
      size: how far it goes along each axis; a box without entries is of size 0 along all.
      whole: whether it is all of the array.
    """

    start: tuple[int, ...]
    size: tuple[int, ...]
    whole: bool

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in it."""
        return 0 in self.size

    def of(self, array: Any) -> Any:
        """What the array holds there."""
        spans = zip(self.start, self.size, strict=True)
        return array if self.whole else array[tuple(slice(start, start + size) for start, size in spans)]

    def written(self, array: Float[Any, "..."], part: Float[Any, "..."]) -> Float[Any, "..."]:
        """The array with this part in place of its own."""
        return part if self.whole else jax.lax.dynamic_update_slice(array, part, self.start)

    def padded(self, part: Float[Any, "..."], shape: tuple[int, ...]) -> Float[Any, "..."]:
        """The part with zeros around it."""
        sides = [(a, full - a - n) for a, n, full in zip(self.start, self.size, shape, strict=True)]
        return part if self.whole else jnp.pad(part, sides)


def whole(shape: tuple[int, ...]) -> Box:
    """The box that is all of an array."""
    return Box((0,) * len(shape), shape, True)


def around(marked: np.ndarray) -> Box:
    """The smallest box that has all entries that are marked."""
    if marked.ndim == 0:
        return whole(())
    if not marked.any():
        return Box((0,) * marked.ndim, (0,) * marked.ndim, False)
    spans = [(int(places.min()), int(places.max()) + 1) for places in np.nonzero(marked)]
    start, size = tuple(a for a, _ in spans), tuple(b - a for a, b in spans)
    return Box(start, size, size == marked.shape)


def boxes(block: Any, read: Cut) -> tuple[Box, ...]:
    """The smallest box of each parameter that holds all that `block.cut(read)` is made of.

    A parameter matters where the gradient of a weighted sum of what was cut is not 0. A block in which these boxes
    stand for the parameters is cut to the very same; a parameter for which that doesn't hold is needed whole (a
    matrix, some rows of which are for the rim of a kernel that is left out).

    Args:
      block: with parameters, or their shapes alone.
      read: under the block's own names.
    """
    leaves, structure = jax.tree.flatten(block)
    if not leaves:
        return ()
    rng = np.random.default_rng(0)
    drawn = [rng.uniform(1, 2, leaf.shape).astype(np.float32) for leaf in leaves]

    def cut(leaves: Any) -> list[Any]:
        return jax.tree.leaves(jax.tree.unflatten(structure, leaves).cut(read))

    def weighted(leaves: Any) -> Any:
        parts = cut(leaves)
        return sum(((part * jnp.linspace(1.0, 2.0, part.size).reshape(part.shape)).sum() for part in parts), 0.0)

    found = tuple(around(np.asarray(gradient) != 0) for gradient in jax.jit(jax.grad(weighted))(drawn))
    expected = cut(drawn)

    def holds(tried: Sequence[Box]) -> bool:
        try:
            again = cut([box.of(leaf) for box, leaf in zip(tried, drawn, strict=True)])
        except (TypeError, ValueError, IndexError):  # it goes by its parameters' shapes
            return False
        return len(again) == len(expected) and all(map(_close, again, expected))

    if holds(found):
        return found
    kept = [whole(leaf.shape) for leaf in leaves]
    for i, box in enumerate(found):
        if holds([*kept[:i], box, *kept[i + 1 :]]):
            kept[i] = box
    return tuple(kept)


def _close(a: Any, b: Any) -> bool:
    return a.shape == b.shape and np.allclose(a, b)

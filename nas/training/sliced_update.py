"""The optimizer's part of a sliced step: what the architecture uses is updated in place, the rest is not even read."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nas.training.optimizer import optimizer_of
from nas.training.settings import Training
from nas.training.state import TrainState
from search_spaces.boxes import Box
from search_spaces.sliced import Gradient, Sliced

Parts = list[Array]


class _Layout(NamedTuple):
    """What an optimizer's state is made of, in the order of its leaves.

    Attributes:
      outer: its structure, where what is like the parameters counts as one.
      nodes: of each, the place of its first leaf, and whether it is like the parameters.
    """

    outer: Any
    nodes: tuple[tuple[int, bool], ...]


class _Program(NamedTuple):
    """What an update is compiled by: the boxes of the parameters that a block uses, and the layout."""

    boxes: tuple[Box, ...]
    layout: _Layout


class SlicedUpdate:
    """Updates the parameters of one architecture by the gradients of its blocks, block by block.

    The same as the whole step's update: gradients are clipped by their norm over all blocks; then each entry is updated
    by itself, and one whose gradient is 0 keeps its value and its optimizer state. So no block needs another's, and
    what no block uses needs nothing. Numbers that all parameters share (Adam's count) advance once.

    A block's new parts are computed first and then written into the shared parameters, in their own memory: in one
    program, where new parameters and new optimizer state depend on the old of both, XLA on CPUs copies the shared
    parameters before it writes. Where a part is all of its parameter, it takes its place unwritten.

    Attributes:
      compiles: distinct updates compiled; blocks that use the same boxes share one.
    """

    def __init__(self, sliced: Sliced, settings: Training, per_epoch: int, placed: Any):
        """Compiles nothing yet.

        Args:
          sliced: whose gradients these will be.
          settings: of a training with `keep_unsampled` and without a moving average.
          per_epoch: steps in an epoch.
          placed: the sharding of every part of a state.
        """
        self.sliced, self.clip_norm, self.per_epoch = sliced, settings.clip_norm, per_epoch
        self.compiles = 0
        # Clipped already, by the norm over all blocks.
        self.optimizer = optimizer_of(replace(settings, clip_norm=math.inf))
        self._layouts: dict[Any, _Layout] = {}
        self._programs: list[_Program] = []
        self._numbers: dict[tuple[int, Any], int] = {}
        self._shared = jax.jit(self._once, static_argnums=0, out_shardings=placed)
        self._computed = jax.jit(self._new_parts, static_argnums=0, out_shardings=placed)
        self._written = jax.jit(self._in_place, static_argnums=0, donate_argnums=1, out_shardings=placed)

    def __call__(
        self, state: TrainState, loss: Float[Any, ""], gradients: Sequence[Gradient | None], learning_rate: Any
    ) -> tuple[TrainState, Float[Array, ""]]:
        """The state after a step, and the loss, which is NaN too where the gradient is not finite.

        Args:
          state: is used up.
          loss: of the step's one architecture.
          gradients: one entry a slot.
          learning_rate: of this step, float32.
        """
        params, params_structure = jax.tree.flatten(state.params)
        kept, kept_structure = jax.tree.flatten(state.optimizer)
        layout = self._layouts.get(kept_structure)
        if layout is None:
            layout = self._layouts[kept_structure] = _layout(kept_structure, params_structure)
        places = self.sliced.places(params_structure)
        sources = [(params, 0), *((kept, first) for first, is_like in layout.nodes if is_like)]
        scalars = [kept[place] for place, is_like in layout.nodes if not is_like]
        squares = [gradient.square for gradient in gradients if gradient is not None]
        so_far = (state.step, state.loss)
        factor, loss, so_far, new_scalars = self._shared(layout, squares, loss, so_far, scalars)

        for where, gradient in zip(places, gradients, strict=True):
            if gradient is None or not gradient.parts:
                continue
            at = [where[i] for i in gradient.run.taken]
            olds = [[leaves[first + i] for i in at] for leaves, first in sources]
            news = self._block(gradient, kept_structure, olds, scalars, factor, learning_rate)
            for (leaves, first), new in zip(sources, news, strict=True):
                for i, leaf in zip(at, new, strict=True):
                    leaves[first + i] = leaf

        for (place, _), scalar in zip((node for node in layout.nodes if not node[1]), new_scalars, strict=True):
            kept[place] = scalar
        optimizer = jax.tree.unflatten(kept_structure, kept)
        step, total = so_far
        return TrainState(jax.tree.unflatten(params_structure, params), optimizer, step, None, total, state.key), loss

    def _block(
        self, gradient: Gradient, structure: Any, olds: list[Parts], scalars: Parts, factor: Any, learning_rate: Any
    ) -> list[Parts]:
        """A block's new parameters, and what the optimizer keeps of them, in full."""
        run = gradient.run
        key = run.number, structure
        if key not in self._numbers:
            program = _Program(tuple(run.boxes[i] for i in run.taken), self._layouts[structure])
            if program not in self._programs:
                self._programs.append(program)
            self._numbers[key] = self._programs.index(program)
        number = self._numbers[key]
        news = self._computed(number, olds, scalars, gradient.parts, factor, learning_rate)
        split = [j for j, box in enumerate(self._programs[number].boxes) if not box.whole]
        if split:
            pick = lambda lists: [[parts[j] for j in split] for parts in lists]  # noqa: E731
            for new, written in zip(news, self._written(number, pick(olds), pick(news)), strict=True):
                for j, leaf in zip(split, written, strict=True):
                    new[j] = leaf
        return news

    def _once(
        self, layout: _Layout, squares: Parts, loss: Array, so_far: tuple[Array, Array], scalars: Parts
    ) -> tuple[Array, Array, tuple[Array, Array], Parts]:
        """What is done once a step: how much the gradient is clipped, the loss, and the numbers that all share."""
        norm = jnp.sqrt(sum(squares[1:], squares[0]))
        factor = jnp.where(norm < self.clip_norm, 1, self.clip_norm / norm)  # as optax.clip_by_global_norm
        # A gradient that is not finite spoils the parameters though this step's loss is sound: it is named here.
        loss = jnp.where(jnp.isfinite(norm), loss, jnp.nan)
        step, total = so_far
        # A parameter of no entries: what comes out beside it depends on no parameter.
        none = [jnp.zeros(0)]
        state = _state(layout, [none for _, is_like in layout.nodes if is_like], scalars)
        _, new_scalars = _taken_apart(layout, self.optimizer.update(none, state, none)[1])
        return factor, loss, (step + 1, jnp.where(step % self.per_epoch == 0, 0, total) + loss), new_scalars

    def _new_parts(
        self, number: int, olds: list[Parts], scalars: Parts, gradients: Parts, factor: Array, learning_rate: Array
    ) -> list[Parts]:
        self.compiles += 1
        boxes, layout = self._programs[number]
        params, *kept = [[box.of(leaf) for box, leaf in zip(boxes, leaves, strict=True)] for leaves in olds]
        clipped = [(factor * part).astype(part.dtype) for part in gradients]
        updates: Any
        updates, state = self.optimizer.update(clipped, _state(layout, kept, scalars), params)
        moved = [(old - learning_rate * update).astype(old.dtype) for old, update in zip(params, updates, strict=True)]
        return [moved, *_taken_apart(layout, state)[0]]

    def _in_place(self, number: int, olds: list[Parts], news: list[Parts]) -> list[Parts]:
        boxes = [box for box in self._programs[number].boxes if not box.whole]
        return [
            [box.written(old, new) for box, old, new in zip(boxes, *pair, strict=True)]
            for pair in zip(olds, news, strict=True)
        ]


def _layout(structure: Any, params: Any) -> _Layout:
    """The layout of an optimizer's state, by its structure and the parameters'."""
    numbered = jax.tree.unflatten(structure, range(structure.num_leaves))
    nodes, outer = jax.tree.flatten(numbered, is_leaf=lambda node: jax.tree.structure(node) == params)
    return _Layout(outer, tuple((jax.tree.leaves(node)[0], not isinstance(node, int)) for node in nodes))


def _state(layout: _Layout, kept: Sequence[Parts], scalars: Parts) -> Any:
    """The optimizer's state of some parameters, given as lists."""
    of_params, shared = iter(kept), iter(scalars)
    return jax.tree.unflatten(layout.outer, [next(of_params if is_like else shared) for _, is_like in layout.nodes])


def _taken_apart(layout: _Layout, state: Any) -> tuple[list[Parts], Parts]:
    """What `_state` put together."""
    nodes = layout.outer.flatten_up_to(state)
    pairs = list(zip(nodes, layout.nodes, strict=True))
    return [node for node, (_, is_like) in pairs if is_like], [node for node, (_, is_like) in pairs if not is_like]

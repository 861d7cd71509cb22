"""Sliced execution: one architecture at its true cost, block by block, each distinct block compiled once.

A block's key is its own settings, its parameters' shapes and the indices of its choices: a space of 10^19 networks has
some tens or hundreds of them. Blocks are dispatched from Python, forwards and, by the pull-backs that `jax.vjp` returns
from inside `jit`, backwards.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from search_spaces.network import Network
from search_spaces.reading import Cut, Masked
from search_spaces.space import Space, check_arch, largest, option_counts
from search_spaces.static import Fixed, fixed_of

Images = Float[Array, "batch height width channels"]
Logits = Float[Array, "batch classes"]
Arch = Int[Any, " choices"] | Sequence[int]


class Sliced:
    """Runs and differentiates architectures of one space, and keeps the blocks that it has compiled.

    Parameters come as the supernet or as its `nnx.State`, and gradients go in the same structure. Between the two they
    are plain lists of arrays: flattening a module costs more than running a small block.

    Attributes:
      compiles: distinct blocks compiled for the gradient, and for the forward pass alone.
    """

    def __init__(self, space: Space, dtype: Any = None):
        """Compiles nothing yet.

        Args:
          space: the space.
          dtype: to compute in, e.g. `jnp.bfloat16`; gradients come in the parameters' own. None computes in that too.
        """
        self.space, self.dtype = space, dtype
        self.compiles = {"gradient": 0, "forward": 0}
        network: Network = nnx.eval_shape(lambda: space.supernet(jax.random.key(0)))
        self.slots = network.slots
        self._structures, self._kinds = _kinds(network)
        self._network = network
        self._orders: dict[Any, tuple[tuple[int, ...], ...]] = {}
        self._bound = lru_cache(maxsize=None)(_bound)
        self._forward = jax.jit(self._run, static_argnums=(0, 1))
        self._differentiated = jax.jit(self._run_keeping, static_argnums=(0, 1, 2))
        self._pull = jax.jit(lambda pull, cotangent: pull(cotangent))
        self._add = jax.jit(jnp.add)
        self._zeros: dict[Any, Any] = {}

    def forward(self, params: Any, arch: Arch, images: Images, stats: Any = None) -> tuple[Logits, list[Any]]:
        """Logits and the statistics used, as `network(Cut.of(...), images, stats)` gives them.

        Args:
          params: the supernet, or its state.
          arch: the architecture.
          images: normalised, of the architecture's resolution.
          stats: batch-norm statistics to normalise with; None takes the batch's own.

        Raises:
          ValueError: when the architecture is not of the space.
        """
        reads, (blocks, _) = self._reads(arch), self._by_blocks(params)
        values, used = [images], []
        for position, (slot, read) in enumerate(zip(self.slots, reads, strict=True)):
            if read is None:
                y, block_used = values[slot.inputs[0]], None
            else:
                given, xs = None if stats is None else stats[position], [values[i] for i in slot.inputs]
                y, block_used = self._forward(self._kinds[position], read, blocks[position], given, *xs)
            values.append(y)
            used.append(block_used)
        return values[-1], used

    def vjp(self, params: Any, arch: Arch, images: Images) -> tuple[Logits, list[Any], Callable[[Logits], Any]]:
        """Logits, the batch statistics used, and the pull-back to the parameters.

        Args:
          params: the supernet, or its state.
          arch: the architecture.
          images: normalised, of the architecture's resolution.

        Returns:
          `pull(cotangent of the logits)`: the gradient in the structure of `params`, zero where the architecture uses
          nothing.

        Raises:
          ValueError: when the architecture is not of the space.
        """
        reads, (blocks, whole) = self._reads(arch), self._by_blocks(params)
        values, used, pulls = [images], [], []
        for position, (slot, read) in enumerate(zip(self.slots, reads, strict=True)):
            if read is None:
                y, pull, block_used = values[slot.inputs[0]], None, None
            else:
                towards_inputs = any(slot.inputs)  # nobody asks for the gradient of the images
                xs = [values[i] for i in slot.inputs]
                kind = self._kinds[position]
                y, pull, block_used = self._differentiated(kind, read, towards_inputs, blocks[position], *xs)
            values.append(y)
            pulls.append(pull)
            used.append(block_used)
        return values[-1], used, partial(self._pull_all, pulls, blocks, whole)

    def _pull_all(self, pulls: list[Any], blocks: Any, whole: Callable[[Any], Any], cotangent: Array) -> Any:
        cotangents: dict[int, Array] = {len(pulls): cotangent}
        gradients: list[Any] = [None] * len(pulls)

        def send(i: int, value: Array) -> None:
            if i:
                cotangents[i] = self._add(cotangents[i], value) if i in cotangents else value

        for position in range(len(pulls), 0, -1):
            slot, pull = self.slots[position - 1], pulls[position - 1]
            arrived = cotangents.pop(position, None)
            if arrived is None or pull is None:  # nothing was answered with it, or it was not there
                gradients[position - 1] = [self._nothing(leaf) for leaf in blocks[position - 1]]
                if arrived is not None:
                    send(slot.inputs[0], arrived)
                continue
            gradients[position - 1], *sent = self._pull(pull, arrived)
            for i, value in zip(slot.inputs, sent, strict=False):
                send(i, value)
        return whole(gradients)

    def _nothing(self, leaf: Array) -> Array:
        key = (leaf.shape, leaf.dtype)
        if key not in self._zeros:
            self._zeros[key] = jnp.zeros(*key)
        return self._zeros[key]

    def _reads(self, arch: Arch) -> list[Cut | None]:
        """How each slot is read; None where its block is absent."""
        read = Cut.of(self.space.choices, check_arch(self.space, arch))
        return [self._bound(read, slot) if slot.is_there(read) else None for slot in self.slots]

    def _by_blocks(self, params: Any) -> tuple[list[list[Any]], Callable[[Any], Any]]:
        """The parameters of each block as lists, and how such lists become the structure of `params` again."""
        leaves, structure = jax.tree.flatten(params)
        if structure not in self._orders:
            self._orders[structure] = _order(self._network, structure)
        order = self._orders[structure]

        def whole(blocks: Sequence[Sequence[Any]]) -> Any:
            placed: list[Any] = [None] * len(leaves)
            for places, block in zip(order, blocks, strict=True):
                for place, leaf in zip(places, block, strict=True):
                    placed[place] = leaf
            return jax.tree.unflatten(structure, placed)

        return [[leaves[i] for i in places] for places in order], whole

    def _computed(self, kind: int, leaves: Sequence[Array], *xs: Array) -> tuple[Any, list[Array]]:
        cast = lambda x: x if self.dtype is None else x.astype(self.dtype)  # noqa: E731
        return jax.tree.unflatten(self._structures[kind], map(cast, leaves)), [cast(x) for x in xs]

    def _run(self, kind: int, read: Cut, leaves: Any, stats: Any, *xs: Array) -> tuple[Array, Any]:
        self.compiles["forward"] += 1
        block, inputs = self._computed(kind, leaves, *xs)
        return block(read, stats, *inputs)

    def _run_keeping(
        self, kind: int, read: Cut, towards_inputs: bool, leaves: Any, *xs: Array
    ) -> tuple[Array, Any, Any]:
        self.compiles["gradient"] += 1

        def run(leaves: Any, *inputs: Array) -> tuple[Array, Any]:
            block, cast = self._computed(kind, leaves, *inputs)
            return block(read, None, *cast)

        if towards_inputs:
            return jax.vjp(run, leaves, *xs, has_aux=True)
        return jax.vjp(lambda leaves: run(leaves, *xs), leaves, has_aux=True)


class _Kind(NamedTuple):
    """What equal blocks have in common."""

    structure: Any
    shapes: tuple[tuple[int, ...], ...]


def _kinds(network: Network) -> tuple[list[Any], list[int]]:
    """The structure of each kind of block, and the kind in each slot."""
    seen: dict[_Kind, int] = {}
    kinds = []
    for block in network.blocks:
        leaves, structure = jax.tree.flatten(block)
        kinds.append(seen.setdefault(_Kind(structure, tuple(leaf.shape for leaf in leaves)), len(seen)))
    return [kind.structure for kind in seen], kinds


def _order(network: Network, structure: Any) -> tuple[tuple[int, ...], ...]:
    """Where each block's parameters lie among the leaves of a supernet, or of its state.

    Raises:
      ValueError: when the structure is neither.
    """
    count = len(jax.tree.leaves(network))
    numbered = jax.tree.unflatten(jax.tree.structure(network), range(count))
    state = nnx.split(numbered)[1]
    for whole in (numbered, state):
        if jax.tree.structure(whole) == structure:
            place = {number: i for i, number in enumerate(jax.tree.leaves(whole))}
            return tuple(tuple(place[number] for number in jax.tree.leaves(block)) for block in numbered.blocks)
    raise ValueError("the parameters are neither this space's supernet nor its state; was it made for another space?")


def _bound(read: Cut, slot: Any) -> Cut:
    return read.bound(slot.choices)


def distinct_blocks(space: Space, image: tuple[int, int, int], fixed: Fixed | None = None) -> int:
    """How many blocks sliced execution can compile at the most, for one resolution: a bound by their keys.

    Args:
      space: the space.
      image: height, width and channels.
      fixed: indices of the static choices; None takes the largest network's.
    """
    fixed = fixed_of(space, largest(space)) if fixed is None else fixed
    network = nnx.eval_shape(lambda: space.supernet(jax.random.key(0)))
    options = dict(zip((c.name for c in space.choices), option_counts(space).tolist(), strict=True))
    still = {choice.name for choice in space.choices if choice.static}
    dtype = jax.tree.leaves(network)[0].dtype
    shapes: list[Any] = [image]
    keys: dict[Any, int] = {}
    read = Masked.of(space.choices, jnp.asarray(largest(space)), fixed)
    for slot, block, kind in zip(network.slots, network.blocks, _kinds(network)[1], strict=True):
        inputs = [jax.ShapeDtypeStruct((1, *shapes[i]), dtype) for i in slot.inputs]
        run = partial(_shape_of, read.bound(slot.choices))
        shapes.append(jax.eval_shape(run, block, *inputs).shape[1:])
        names = tuple(own for own, _ in slot.choices)
        key = (kind, names, tuple(shapes[i] for i in slot.inputs), any(slot.inputs))
        keys[key] = int(np.prod([options[name] for _, name in slot.choices if name not in still], dtype=object))
    return sum(keys.values())


def _shape_of(read: Masked, block: Any, *xs: Array) -> Array:
    return block(read, None, *xs)[0]

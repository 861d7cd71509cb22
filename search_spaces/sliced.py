"""Sliced execution: one architecture at its true cost, block by block, each distinct block compiled once.

A block's key is its own settings, its parameters' shapes and the indices of its choices: a space of 10^19 networks has
some tens or hundreds of them. Blocks are dispatched from Python, forwards and, by the pull-backs that `jax.vjp` returns
from inside `jit`, backwards. Gradients are those of the boxes of parameters that a block uses (`boxes.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from search_spaces.boxes import Box, boxes
from search_spaces.network import Network
from search_spaces.reading import Cut, Masked, check_names
from search_spaces.space import Space, check_arch, largest, option_counts
from search_spaces.static import Fixed, check_images, fixed_of

Images = Float[Array, "batch height width channels"]
Logits = Float[Array, "batch classes"]
Arch = Int[Any, " choices"] | Sequence[int]


class Run(NamedTuple):
    """A distinct block: one kind of block under one reading.

    Attributes:
      number: of it among the distinct blocks that were met; what programs are compiled by.
      kind: of block.
      read: under the block's own names.
      boxes: what it uses of each parameter.
      taken: which parameters it uses anything of.
    """

    number: int
    kind: int
    read: Cut
    boxes: tuple[Box, ...]
    taken: tuple[int, ...]


class Gradient(NamedTuple):
    """A block's gradient where the block uses its parameters, and there only.

    Attributes:
      run: the distinct block, whose `taken` says of which parameters these are, and whose `boxes` of what part.
      parts: one for each parameter taken, in the shape of its box.
      square: the sum of the squares of all entries, summed in float32 at least.
    """

    run: Run
    parts: list[Float[Any, "..."]]
    square: Float[Any, ""]


class Sliced:
    """Runs and differentiates architectures of one space, and keeps the blocks that it has compiled.

    Parameters come as the supernet or as its `nnx.State`, and gradients go in the same structure. Between the two they
    are plain lists of arrays: flattening a module costs more than running a small block.

    Attributes:
      compiles: distinct blocks compiled for the gradient, and for the forward pass alone.
    """

    def __init__(self, space: Space, dtype: Any = None, compiler_options: Mapping[str, Any] | None = None):
        """Compiles nothing yet.

        Args:
          space: the space.
          dtype: to compute in, e.g. `jnp.bfloat16`; gradients come in the parameters' own. None computes in that too.
          compiler_options: of XLA, for every program (see `jax.jit`).
        """
        jit = partial(jax.jit, compiler_options=None if compiler_options is None else dict(compiler_options))
        self.space, self.dtype = space, dtype
        self.compiles = {"gradient": 0, "forward": 0}
        network: Network = nnx.eval_shape(lambda: space.supernet(jax.random.key(0)))
        self.slots = network.slots
        self._structures, self._kinds = _kinds(network)
        self._network = network
        self._orders: dict[Any, tuple[tuple[int, ...], ...]] = {}
        place = {choice.name: i for i, choice in enumerate(space.choices)}
        for slot in self.slots:
            check_names(slot.bindings, place)
        self._genes = [tuple((own, place[name]) for own, name in slot.choices) for slot in self.slots]
        self._when = [None if slot.when is None else (place[slot.when[0]], slot.when[1]) for slot in self.slots]
        self._runs: list[Run] = []
        self._numbers: dict[tuple[int, Cut], int] = {}
        self._met: list[dict[tuple[int, ...], Run]] = [{} for _ in self.slots]
        self._forward = jit(self._run, static_argnums=0)
        self._differentiated = jit(self._run_keeping, static_argnums=(0, 1))
        self._pull = jit(_pulled)
        self._pad = jit(self._padded, static_argnums=0)
        self._add = jit(jnp.add)
        self._zeros: dict[Any, Any] = {}

    def forward(self, params: Any, arch: Arch, images: Images, stats: Any = None) -> tuple[Logits, list[Any]]:
        """Logits and the statistics used, as `network(Cut.of(...), images, stats)` gives them.

        Args:
          params: the supernet, or its state.
          arch: the architecture.
          images: normalised, of the architecture's resolution.
          stats: batch-norm statistics to normalise with; None takes the batch's own.

        Raises:
          ValueError: when the architecture is not of the space, or the images not of its size.
        """
        runs, (blocks, _) = self._runs_of(arch), self.by_blocks(params)
        check_images(self.space, fixed_of(self.space, arch), images)
        values, used = [images], []
        for position, (slot, run) in enumerate(zip(self.slots, runs, strict=True)):
            if run is None:
                y, block_used = values[slot.inputs[0]], None
            else:
                given, xs = None if stats is None else stats[position], [values[i] for i in slot.inputs]
                leaves = [blocks[position][i] for i in run.taken]
                y, block_used = self._forward(run.number, leaves, given, *xs)
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
          ValueError: when the architecture is not of the space, or the images not of its size.
        """
        blocks, whole = self.by_blocks(params)
        logits, used, pull = self.block_vjp(blocks, arch, images)
        shapes = [[(leaf.shape, leaf.dtype, getattr(leaf, "sharding", None)) for leaf in leaves] for leaves in blocks]
        return logits, used, lambda cotangent: whole(list(map(self._whole, pull(cotangent), shapes)))

    def block_vjp(
        self, blocks: Sequence[Sequence[Any]], arch: Arch, images: Images
    ) -> tuple[Logits, list[Any], Callable[[Logits], list[Gradient | None]]]:
        """As `vjp`, from parameters by blocks to gradients of what each block uses of them.

        Args:
          blocks: what `by_blocks` gives.
          arch: the architecture.
          images: normalised, of the architecture's resolution.

        Returns:
          `pull(cotangent of the logits)`: one entry a slot; None where the block is absent, or nothing was answered
          with it.

        Raises:
          ValueError: when the architecture is not of the space, or the images not of its size.
        """
        runs = self._runs_of(arch)
        check_images(self.space, fixed_of(self.space, arch), images)
        values, used, pulls = [images], [], []
        for position, (slot, run) in enumerate(zip(self.slots, runs, strict=True)):
            if run is None:
                y, pull, block_used = values[slot.inputs[0]], None, None
            else:
                towards_inputs = any(slot.inputs)  # nobody asks for the gradient of the images
                leaves, xs = [blocks[position][i] for i in run.taken], [values[i] for i in slot.inputs]
                y, pull, block_used = self._differentiated(run.number, towards_inputs, leaves, *xs)
            values.append(y)
            pulls.append(pull)
            used.append(block_used)
        return values[-1], used, partial(self._pull_all, runs, pulls)

    def _pull_all(self, runs: list[Run | None], pulls: list[Any], cotangent: Array) -> list[Gradient | None]:
        cotangents: dict[int, Array] = {len(pulls): cotangent}
        gradients: list[Gradient | None] = [None] * len(pulls)

        def send(i: int, value: Array) -> None:
            if i:
                cotangents[i] = self._add(cotangents[i], value) if i in cotangents else value

        for position in range(len(pulls), 0, -1):
            slot, run, pull = self.slots[position - 1], runs[position - 1], pulls[position - 1]
            arrived = cotangents.pop(position, None)
            if arrived is None:  # nothing was answered with it
                continue
            if run is None:
                send(slot.inputs[0], arrived)
                continue
            parts, sent, square = self._pull(pull, arrived)
            gradients[position - 1] = Gradient(run, parts, square)
            for i, value in zip(slot.inputs, sent, strict=False):
                send(i, value)
        return gradients

    def _whole(self, gradient: Gradient | None, shapes: Sequence[tuple[tuple[int, ...], Any, Any]]) -> list[Array]:
        """A block's gradient in the full shapes of its parameters."""
        found = [self._nothing(*each) for each in shapes]
        if gradient is not None and gradient.parts:
            run = gradient.run
            for i, part in zip(run.taken, self._pad(run.number, gradient.parts), strict=True):
                found[i] = part
        return found

    def _nothing(self, *key: Any) -> Array:
        if key not in self._zeros:
            shape, dtype, place = key
            # Where the parameters lie: zeros that may lie anywhere would compile every sum of gradients again.
            self._zeros[key] = jnp.zeros(shape, dtype, device=place)
        return self._zeros[key]

    def _runs_of(self, arch: Arch) -> list[Run | None]:
        """How each slot is run; None where its block is absent."""
        row = check_arch(self.space, arch).tolist()
        runs: list[Run | None] = []
        for position, (genes, when) in enumerate(zip(self._genes, self._when, strict=True)):
            if when is not None and row[when[0]] < when[1]:
                runs.append(None)
                continue
            indices = tuple([row[i] for _, i in genes])
            met = self._met[position]
            if indices not in met:
                names = (own for own, _ in genes)
                met[indices] = self._run_of(position, Cut(tuple(zip(names, indices, strict=True))))
            runs.append(met[indices])
        return runs

    def _run_of(self, position: int, read: Cut) -> Run:
        kind = self._kinds[position]
        if (kind, read) not in self._numbers:
            found = boxes(self._network.blocks[position], read)
            taken = tuple(i for i, box in enumerate(found) if not box.is_empty)
            self._numbers[kind, read] = len(self._runs)
            self._runs.append(Run(len(self._runs), kind, read, found, taken))
        return self._runs[self._numbers[kind, read]]

    def by_blocks(self, params: Any) -> tuple[list[list[Any]], Callable[[Any], Any]]:
        """The parameters of each block as lists, and how such lists become the structure of `params` again.

        Args:
          params: the supernet, its state, or anything of one of these structures.

        Raises:
          ValueError: when it is none of these.
        """
        leaves, structure = jax.tree.flatten(params)
        order = self.places(structure)

        def whole(blocks: Sequence[Sequence[Any]]) -> Any:
            placed: list[Any] = [None] * len(leaves)
            for places, block in zip(order, blocks, strict=True):
                for place, leaf in zip(places, block, strict=True):
                    placed[place] = leaf
            return jax.tree.unflatten(structure, placed)

        return [[leaves[i] for i in places] for places in order], whole

    def places(self, structure: Any) -> tuple[tuple[int, ...], ...]:
        """Where each block's parameters lie among the leaves of this structure: a supernet's, or its state's.

        Raises:
          ValueError: when it is neither.
        """
        if structure not in self._orders:
            self._orders[structure] = _order(self._network, structure)
        return self._orders[structure]

    def _computed(self, run: Run, parts: Sequence[Array], *xs: Array) -> tuple[Any, list[Array]]:
        """The block of what it uses, and its inputs, in the precision computed in."""
        cast = lambda x: x if self.dtype is None else x.astype(self.dtype)  # noqa: E731
        held = dict(zip(run.taken, parts, strict=True))
        leaves = [cast(held[i]) if i in held else jnp.zeros(box.size, xs[0].dtype) for i, box in enumerate(run.boxes)]
        return jax.tree.unflatten(self._structures[run.kind], leaves), [cast(x) for x in xs]

    def _parts(self, run: Run, leaves: Sequence[Array]) -> list[Array]:
        return [run.boxes[i].of(leaf) for i, leaf in zip(run.taken, leaves, strict=True)]

    def _run(self, number: int, leaves: Any, stats: Any, *xs: Array) -> tuple[Array, Any]:
        self.compiles["forward"] += 1
        run = self._runs[number]
        block, inputs = self._computed(run, self._parts(run, leaves), *xs)
        return block(run.read, stats, *inputs)

    def _run_keeping(self, number: int, towards_inputs: bool, leaves: Any, *xs: Array) -> tuple[Array, Any, Any]:
        self.compiles["gradient"] += 1
        run = self._runs[number]

        def answer(parts: Any, *inputs: Array) -> tuple[Array, Any]:
            block, cast = self._computed(run, parts, *inputs)
            return block(run.read, None, *cast)

        parts = self._parts(run, leaves)
        if towards_inputs:
            return jax.vjp(answer, parts, *xs, has_aux=True)
        return jax.vjp(lambda parts: answer(parts, *xs), parts, has_aux=True)

    def _padded(self, number: int, parts: list[Array]) -> list[Array]:
        run = self._runs[number]
        shapes = [leaf.shape for leaf in jax.tree.leaves(self._network.blocks[self._kinds.index(run.kind)])]
        return [run.boxes[i].padded(part, shapes[i]) for i, part in zip(run.taken, parts, strict=True)]


def _pulled(pull: Any, cotangent: Array) -> tuple[list[Array], list[Array], Any]:
    """The gradients of a block's parts and of its inputs, and the sum of the parts' squares."""
    parts, *sent = pull(cotangent)
    precise = [part.astype(jnp.promote_types(part.dtype, jnp.float32)) for part in parts]
    return parts, sent, sum((part * part).sum() for part in precise)


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

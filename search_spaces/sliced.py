"""Sliced execution: one architecture at its true cost, block by block, each distinct block compiled once.

A block's key is its own settings, its parameters' shapes and the indices of its choices: a space of 10^19 networks has
some tens or hundreds of them. Blocks are dispatched from Python, forwards and, by the pull-backs that `jax.vjp` returns
from inside `jit`, backwards.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from search_spaces.network import Network
from search_spaces.reading import Cut, Masked
from search_spaces.space import Space, check_arch, largest, option_counts
from search_spaces.static import Fixed, fixed_of


class Sliced:
    """Runs and differentiates architectures of one space, and keeps the blocks that it has compiled.

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
        self._forward = jax.jit(self._run, static_argnums=0)
        self._differentiated = jax.jit(self._run_keeping, static_argnums=(0, 1))
        self._pull = jax.jit(lambda pull, cotangent: pull(cotangent))
        self._add = jax.jit(jnp.add)
        self._zeros: dict[int, Any] = {}

    def forward(
        self,
        network: Network,
        arch: Int[Any, " choices"] | Sequence[int],
        images: Float[Array, "batch height width channels"],
        stats: Any = None,
    ) -> tuple[Float[Array, "batch classes"], list[Any]]:
        """Logits and the statistics used, as `network(Cut.of(...), images, stats)` gives them.

        Raises:
          ValueError: when the architecture is not of the space.
        """
        read = Cut.of(self.space.choices, check_arch(self.space, arch))
        values, used = [images], []
        for slot, block, given in zip(network.slots, network.blocks, stats or [None] * len(network.slots), strict=True):
            if slot.is_there(read):
                y, block_used = self._forward(read.bound(slot.choices), block, given, *(values[i] for i in slot.inputs))
            else:
                y, block_used = values[slot.inputs[0]], None
            values.append(y)
            used.append(block_used)
        return values[-1], used

    def vjp(
        self,
        network: Network,
        arch: Int[Any, " choices"] | Sequence[int],
        images: Float[Array, "batch height width channels"],
    ) -> tuple[Float[Array, "batch classes"], list[Any], Callable[[Float[Array, "batch classes"]], Network]]:
        """Logits, the batch statistics used, and the pull-back to the parameters.

        Returns:
          `pull(cotangent of the logits)`: the gradient in the network's structure, zero where the architecture uses
          nothing.

        Raises:
          ValueError: when the architecture is not of the space.
        """
        read = Cut.of(self.space.choices, check_arch(self.space, arch))
        values, used, pulls = [images], [], []
        for slot, block in zip(network.slots, network.blocks, strict=True):
            if slot.is_there(read):
                towards_inputs = any(slot.inputs)  # nobody asks for the gradient of the images
                inputs = [values[i] for i in slot.inputs]
                y, pull, block_used = self._differentiated(read.bound(slot.choices), towards_inputs, block, *inputs)
            else:
                y, pull, block_used = values[slot.inputs[0]], None, None
            values.append(y)
            pulls.append(pull)
            used.append(block_used)
        return values[-1], used, partial(self._pull_all, network, pulls)

    def _pull_all(self, network: Network, pulls: Sequence[Any], cotangent: Array) -> Network:
        cotangents: dict[int, Array] = {len(pulls): cotangent}
        gradients: list[Any] = [None] * len(pulls)

        def send(i: int, value: Array) -> None:
            if i:
                cotangents[i] = self._add(cotangents[i], value) if i in cotangents else value

        for position in range(len(pulls), 0, -1):
            slot, pull = network.slots[position - 1], pulls[position - 1]
            arrived = cotangents.pop(position, None)
            if arrived is None or pull is None:
                if arrived is not None:
                    send(slot.inputs[0], arrived)
                gradients[position - 1] = self._nothing(position - 1, network.blocks[position - 1])
                continue
            gradients[position - 1], *sent = self._pull(pull, arrived)
            for i, value in zip(slot.inputs, sent, strict=False):
                send(i, value)
        return Network(network.slots, gradients)

    def _nothing(self, position: int, block: Any) -> Any:
        if position not in self._zeros:
            self._zeros[position] = jax.tree.map(jnp.zeros_like, block)
        return self._zeros[position]

    def _computed(self, block: Any, *xs: Array) -> tuple[Any, list[Array]]:
        if self.dtype is None:
            return block, list(xs)
        return jax.tree.map(lambda leaf: leaf.astype(self.dtype), block), [x.astype(self.dtype) for x in xs]

    def _run(self, read: Cut, block: Any, stats: Any, *xs: Array) -> tuple[Array, Any]:
        self.compiles["forward"] += 1
        block, inputs = self._computed(block, *xs)
        return block(read, stats, *inputs)

    def _run_keeping(self, read: Cut, towards_inputs: bool, block: Any, *xs: Array) -> tuple[Array, Any, Any]:
        self.compiles["gradient"] += 1

        def run(block: Any, *inputs: Array) -> tuple[Array, Any]:
            block, cast = self._computed(block, *inputs)
            return block(read, None, *cast)

        if towards_inputs:
            return jax.vjp(run, block, *xs, has_aux=True)
        return jax.vjp(lambda block: run(block, *xs), block, has_aux=True)


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
    for slot, block in zip(network.slots, network.blocks, strict=True):
        inputs = [jax.ShapeDtypeStruct((1, *shapes[i]), dtype) for i in slot.inputs]
        run = partial(_shape_of, read.bound(slot.choices))
        shapes.append(jax.eval_shape(run, block, *inputs).shape[1:])
        leaves, structure = jax.tree.flatten(block)
        names = tuple(own for own, _ in slot.choices)
        key = (structure, tuple(leaf.shape for leaf in leaves), names, tuple(shapes[i] for i in slot.inputs))
        keys[key] = int(np.prod([options[name] for _, name in slot.choices if name not in still], dtype=object))
    return sum(keys.values())


def _shape_of(read: Masked, block: Any, *xs: Array) -> Array:
    return block(read, None, *xs)[0]

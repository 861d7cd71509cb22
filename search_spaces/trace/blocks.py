"""Layers of a space that doesn't write them: each distinct block is traced once, architectures are made up of blocks.

As in sliced execution, a block's key is its kind, the indices of its choices and what feeds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import Int

from search_spaces.layers import Input, Layer, Shape
from search_spaces.network import Network
from search_spaces.reading import Cut, Whole, check_names
from search_spaces.space import Space, check_arch
from search_spaces.static import fixed_of, input_size
from search_spaces.trace.program import flatten
from search_spaces.trace.views import Dims, View, plain_dims
from search_spaces.trace.whole import image_dtype, named_parameters, write
from search_spaces.trace.writer import Writer


def traced_layers(
    space: Space, arch: Int[Any, " choices"] | Sequence[int], image_shape: Shape | None = None
) -> tuple[Layer, ...]:
    """The layers of one architecture, read from its network: what a space without closed forms has as `layers(arch)`.

    They equal `trace(extract(space, supernet, arch, stats), ...)`, but nothing is computed and no block traced twice.
    A distinct block (a kind, its choices, what feeds it) is traced the first time; once all have been met, layers are
    had faster than closed forms give them (`python -m experiments.benchmarks.space_ops` times both).

    ```python
    def layers(self, arch):
        return traced_layers(self, arch)
    ```

    Args:
      space: whose supernet is a `Network`. Kept, by its settings, with the blocks that have been traced.
      arch: the architecture.
      image_shape: height, width and channels of the images; None takes the side from the choice `resolution` or the
        space's `image_size`, and the channels from its `image_channels`.

    Raises:
      ValueError: when the architecture is not of the space, the size of its images isn't known, or something in its
        network is no layer (see `trace`).
    """
    row = check_arch(space, arch)
    if image_shape is None:
        side, channels = input_size(space, fixed_of(space, row)), getattr(space, "image_channels", None)
        side = getattr(space, "image_size", None) if side is None else side
        if side is None or channels is None:
            raise ValueError(
                f"`{type(space).__name__}` has no `image_size` and `image_channels`, so the size of its images isn't"
                " known; pass `image_shape`"
            )
        image_shape = (side, side, channels)
    return _blocks_of(space).layers(tuple(row.tolist()), image_shape)


class _Array(NamedTuple):
    """Activations between blocks: how an array holds the output of a layer."""

    shape: tuple[int, ...]
    dims: Dims
    layer_shape: Shape


@dataclass(frozen=True, eq=False)
class _Traced:
    """A distinct block.

    Attributes:
      layers: its own; they count from the first of the block's inputs on, which stand before them.
      inputs: how many those are.
      output: which layer comes out.
      array: how.
    """

    layers: tuple[Layer, ...]
    inputs: int
    output: int
    array: _Array


@lru_cache(maxsize=32)
def _blocks_of(space: Space) -> "_Blocks":
    return _Blocks(space)


class _Blocks:
    """The distinct blocks of one space, as far as they have been met."""

    def __init__(self, space: Space):
        self.choices = space.choices
        network: Network = nnx.eval_shape(lambda: space.supernet(jax.random.key(0)))
        place = {choice.name: i for i, choice in enumerate(space.choices)}
        kinds: dict[Any, int] = {}
        self.dtype = image_dtype(network)
        self.slots = []
        for slot, block in zip(network.slots, network.blocks, strict=True):
            check_names(slot.bindings, place)
            leaves, structure = jax.tree.flatten(block)
            kind = kinds.setdefault((structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)), len(kinds))
            genes = tuple((own, place[name]) for own, name in slot.choices)
            when = None if slot.when is None else (place[slot.when[0]], slot.when[1])
            self.slots.append((slot.inputs, block, kind, genes, when))
        self.met: dict[Any, _Traced] = {}
        self.cuts: dict[Any, tuple[Any, Any]] = {}

    def layers(self, row: tuple[int, ...], image_shape: Shape) -> tuple[Layer, ...]:
        images = (1, *image_shape)
        layers: list[Layer] = [Input(shape=image_shape)]
        values = [(0, _Array(images, plain_dims(image_shape, images), image_shape))]
        number = 0
        for inputs, block, kind, genes, when in self.slots:
            if when is not None and row[when[0]] < when[1]:
                values.append(values[inputs[0]])
                continue
            fed = [values[i] for i in inputs]
            key = (kind, tuple([row[i] for _, i in genes]), tuple([array for _, array in fed]))
            if key not in self.met:
                arrays = [array for _, array in fed]
                if key[:2] not in self.cuts:
                    self.cuts[key[:2]] = self.cut(block, Cut(tuple((own, row[i]) for own, i in genes)), arrays)
                self.met[key] = self.traced(*self.cuts[key[:2]], arrays)
            found, feeding = self.met[key], tuple([layer for layer, _ in fed])
            start = len(layers)
            layers += _placed(found, number, start, feeding)
            own = found.output
            values.append((feeding[own] if own < found.inputs else start + own - found.inputs, found.array))
            number += 1
        return tuple(layers)

    def cut(self, block: Any, read: Cut, arrays: list[_Array]) -> tuple[Any, Any]:
        """The shapes of a block of known choices, alone, and of its statistics, which no image's size changes."""
        cut = jax.eval_shape(lambda block: block.cut(read), block)
        return cut, jax.eval_shape(lambda cut, xs: cut(Whole(), None, *xs)[1], cut, self.xs(arrays))

    def xs(self, arrays: list[_Array]) -> list[Any]:
        return [jax.ShapeDtypeStruct(array.shape, self.dtype) for array in arrays]

    def traced(self, cut: Any, stats: Any, arrays: list[_Array]) -> _Traced:
        """The layers of such a block."""
        answer = lambda cut, stats, xs: cut(Whole(), stats, *xs)[0]  # noqa: E731
        program = flatten(jax.make_jaxpr(answer)(cut, stats, self.xs(arrays)))
        writer = Writer(layers=[Input(shape=array.layer_shape) for array in arrays], reads=program.reads)
        views = [View(layer=i, dims=array.dims, shape=array.shape) for i, array in enumerate(arrays)]
        (view,) = write(writer, program, [*named_parameters((cut, stats), ""), *views])
        array = _Array(view.shape, view.dims, writer.shape(view))
        return _Traced(tuple(writer.layers[len(arrays) :]), len(arrays), view.layer, array)


@lru_cache(maxsize=2**16)
def _placed(traced: _Traced, number: int, start: int, feeding: tuple[int, ...]) -> tuple[Layer, ...]:
    """A block's layers as the network's block of this number, from position `start` on."""

    def position(i: int) -> int:
        return feeding[i] if i < traced.inputs else start + i - traced.inputs

    return tuple(
        replace(
            layer,
            inputs=tuple(map(position, layer.inputs)),
            path=f"blocks.{number}.{layer.path}" if layer.path else "",
        )
        for layer in traced.layers
    )

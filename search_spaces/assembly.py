"""Recipes put in their places make a network: its supernet, its slots and the layers of each architecture."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from search_spaces.building import Block, outs_of, written
from search_spaces.graph import Graph
from search_spaces.initialise import Draw, drawn
from search_spaces.layers import Input, Layer, Shape
from search_spaces.network import Network, Slot
from search_spaces.reading import Cut, Names
from search_spaces.recipe import Recipe
from search_spaces.space import Choice, check_arch
from search_spaces.widths import Channels, Width


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a recipe stands.

    Attributes:
      recipe: the block's forward pass.
      inputs: what feeds it: 0 is the image, `i` the i-th place (from 1); empty for the place before it.
      choices: its own name of each choice that shapes it, and the space's. The choices that its inputs' widths hang on
        need not be said.
      when: `(choice, index)`: it is there while the choice's index is at least `index`, else its first input passes by,
        so that its width must be that input's. None where it always is.
    """

    recipe: Recipe
    inputs: tuple[int, ...] = ()
    choices: Names = ()
    when: tuple[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Wired:
    """A place with all that follows from the others: its slot, and its inputs' widths in its own names."""

    recipe: Recipe
    slot: Slot
    ins: tuple[Channels, ...]


@lru_cache(maxsize=256)
def wired(places: tuple[Place, ...], image_channels: int) -> tuple[Wired, ...]:
    """The places with their slots and the widths that enter them.

    Raises:
      ValueError: when a place is fed by a later one, or may be absent and changes its width.
    """
    widths: list[Channels] = [Width(image_channels)]  # of the image and of each place's output, in the space's names
    found: list[Wired] = []
    for position, place in enumerate(places, 1):
        inputs = place.inputs or (position - 1,)
        if not all(0 <= i < position for i in inputs):
            raise ValueError(f"place {position} must be fed by some of 0 to {position - 1}, got {inputs}")
        entering = [widths[i] for i in inputs]
        own = [{name: f"in{j}.{k}" for k, name in enumerate(width.choices)} for j, width in enumerate(entering)]
        ins = tuple(width.renamed(names) for width, names in zip(entering, own, strict=True))
        bound = tuple((mine, name) for names in own for name, mine in names.items())
        slot = Slot(inputs=inputs, choices=(*place.choices, *bound), when=place.when)
        out = outs_of(place.recipe, ins)
        try:
            out = out.renamed(dict(slot.choices))
        except KeyError as missing:
            raise ValueError(
                f"the block of place {position} asks for a choice {missing}, which its `choices` don't bind to one of"
                " the space's"
            ) from missing
        if place.when is not None and place.when[1] > 0 and out != entering[0]:
            raise ValueError(
                f"the block of place {position} may be absent (`{place.when[0]}`), so it must keep its input's width"
                f" {entering[0]}, got {out}"
            )
        widths.append(out)
        found.append(Wired(recipe=place.recipe, slot=slot, ins=ins))
    return tuple(found)


def supernet(key: Any, places: tuple[Place, ...], image_channels: int) -> Network:
    """A new network with the parameters of the largest of every option. Wrap in `jax.jit`: eager creation is slow."""
    found = wired(places, image_channels)

    def build(draw: Draw) -> Network:
        return Network([each.slot for each in found], [Block.init(draw, each.recipe, each.ins) for each in found])

    return drawn(key, build)


def layers(places: tuple[Place, ...], image: Shape, read: Cut) -> tuple[Layer, ...]:
    """The graph of one architecture; paths are those of the extracted network."""
    found: list[Layer] = [Input(shape=image)]
    outputs, position = [0], 0
    for each in wired(places, image[-1]):
        xs = [outputs[i] for i in each.slot.inputs]
        if not each.slot.is_there(read):
            outputs.append(xs[0])
            continue
        shapes = tuple(found[x].shape for x in xs)
        stretch, out = _fragment(each.recipe, each.ins, read.bound(each.slot.choices), shapes)
        before, own = len(found), len(xs)
        at = [*xs, *range(before, before + len(stretch))]
        for layer in stretch:
            path = layer.path and f"blocks.{position}{layer.path}"
            found.append(replace(layer, inputs=tuple([at[i] for i in layer.inputs]), path=path))
        outputs.append(xs[out] if out < own else before + out - own)
        position += 1
    return tuple(found)


@lru_cache(maxsize=8192)
def _fragment(
    recipe: Recipe, ins: tuple[Channels, ...], read: Cut, shapes: tuple[Shape, ...]
) -> tuple[tuple[Layer, ...], int]:
    """A block's layers, their inputs counted from the block's own, and the position of its output."""
    graph = Graph(shapes[0])
    for shape in shapes[1:]:
        graph.add(Input(shape=shape))
    out = written(recipe, graph, range(len(shapes)), read, "", ins)
    return tuple(graph.layers[len(shapes) :]), out


def present(choice: str, depths: tuple[int, ...], block: int) -> tuple[str, int] | None:
    """What a block of a stage requires to be there: the depth's index from which on there are so many blocks.

    Args:
      choice: the name of the depth.
      depths: its options, increasing.
      block: from 1.

    Returns:
      As `Choice.requires` and `Place.when` want it; None where every depth has the block.
    """
    at_least = next(index for index, depth in enumerate(depths) if depth >= block)
    return (choice, at_least) if at_least else None


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """A network without choices, as a space of its own: what people designed by hand, run by the same machinery.

    Attributes:
      places: its blocks.
      image: height, width and channels of its images, px.
    """

    places: tuple[Place, ...]
    image: Shape

    @property
    def choices(self) -> tuple[Choice, ...]:
        """None."""
        return ()

    def supernet(self, key: Any) -> Network:
        """The network, with new parameters. Wrap in `jax.jit`: eager creation is slow."""
        return supernet(key, self.places, self.image[-1])

    def layers(self, arch: Any = ()) -> tuple[Layer, ...]:
        """Its graph."""
        return layers(self.places, self.image, Cut.of((), check_arch(self, np.asarray(arch, np.int32))))

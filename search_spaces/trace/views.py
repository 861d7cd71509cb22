"""A view says how an array holds a layer's output: which stretches of the layer's axes each dimension runs along.

Reshapes, transpositions and broadcasts change the view and are no layers. Only when a layer reads an array does it show
whether the axes have been moved in a way that is a layer of its own: positions as tokens, all numbers as one vector,
channels dealt out in groups.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from search_spaces.layers import Shape


class Span(NamedTuple):
    """A stretch of one of a layer's axes: index `i` along it stands for the positions from `step * i` on.

    Attributes:
      axis: 0, 1 or 2 of `(height, width, channels)`.
      step: positions of the axis from one index to the next.
      size: how many indices.
    """

    axis: int
    step: int
    size: int


Dims = tuple[tuple[Span, ...], ...]


@dataclass(frozen=True, kw_only=True)
class View:
    """An array that holds the output of a layer, for one image.

    Attributes:
      layer: position of the layer.
      dims: for each dimension of the array the spans it runs along, the slowest first; none for a dimension of 1 and
        for one along which the numbers are repeated.
      shape: of the array.
      generation: of the layer's output: a bias that is found later makes it another one.
    """

    layer: int
    dims: Dims
    shape: tuple[int, ...]
    generation: int = 0

    @property
    def is_repeated(self) -> bool:
        """Whether numbers stand in it several times."""
        return math.prod(self.shape) != math.prod(span.size for dim in self.dims for span in dim)

    def along(self, dims: tuple[int, ...]) -> tuple[Span, ...]:
        """The spans of these dimensions, one behind the other."""
        return merged(tuple(span for i in dims for span in self.dims[i]))


def axis_spans(shape: Shape, *axes: int) -> tuple[Span, ...]:
    """All of some axes of a layer's output."""
    return tuple(Span(axis, 1, shape[axis]) for axis in axes if shape[axis] > 1)


def merged(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """The same spans, those that follow upon one another made one."""
    found: list[Span] = []
    for span in spans:
        if found and found[-1].axis == span.axis and found[-1].step == span.step * span.size:
            span = Span(span.axis, span.step, found.pop().size * span.size)
        found.append(span)
    return tuple(found)


def plain_shape(array: tuple[int, ...]) -> Shape | None:
    """The layer's shape that `[1, height, width, channels]`, `[1, tokens, channels]` or `[1, channels]` has."""
    core = _without_batch(array)
    if not 1 <= len(core) <= 3:
        return None
    *size, channels = core
    height, width = [*size, 1, 1][:2]
    return height, width, channels


def plain_dims(shape: Shape, array: tuple[int, ...]) -> Dims:
    """The dimensions of an array that holds a layer's output as `plain_shape` reads it."""
    core = _without_batch(array)
    axes = {1: (2,), 2: (0, 2), 3: (0, 1, 2)}[len(core)]
    return ((),) * (len(array) - len(core)) + tuple(axis_spans(shape, axis) for axis in axes)


def _without_batch(array: tuple[int, ...]) -> tuple[int, ...]:
    return array[1:] if 2 <= len(array) <= 4 and array[0] == 1 else array


def reshaped(view: View, shape: tuple[int, ...]) -> View | None:
    """The view in another shape; None where that cuts an axis in parts that are no whole stretches of it."""
    if view.is_repeated:
        return None
    left = [span for dim in view.dims for span in dim]
    dims: list[tuple[Span, ...]] = []
    for size in shape:
        dim: list[Span] = []
        while size > 1:
            span = left.pop(0)
            if size % span.size == 0:
                dim.append(span)
                size //= span.size
            elif span.size % size == 0:
                inner = span.size // size
                dim.append(Span(span.axis, span.step * inner, size))
                left.insert(0, Span(span.axis, span.step, inner))
                size = 1
            else:
                return None
        dims.append(merged(tuple(dim)))
    return replace(view, dims=tuple(dims), shape=shape)


def transposed(view: View, order: tuple[int, ...]) -> View:
    """The view, its dimensions in another order."""
    return replace(view, dims=tuple(view.dims[i] for i in order), shape=tuple(view.shape[i] for i in order))


def broadcast(view: View, shape: tuple[int, ...], places: tuple[int, ...]) -> View:
    """The view with dimension `i` at place `places[i]` of a larger shape."""
    dims: list[tuple[Span, ...]] = [()] * len(shape)
    for dim, place in zip(view.dims, places, strict=True):
        dims[place] = dim
    return replace(view, dims=tuple(dims), shape=shape)


def shuffled_groups(view: View, shape: Shape) -> int | None:
    """In how many groups channels have been dealt out; None where they have not, or something else was done too."""
    *before, last = view.dims
    if plain_shape(view.shape) != shape or (*before, ()) != (*plain_dims(shape, view.shape)[:-1], ()) or len(last) != 2:
        return None
    inner, outer = last  # the channel in its group comes first now
    channels = shape[2]
    fits = inner == Span(2, 1, inner.size) and outer == Span(2, inner.size, channels // inner.size)
    return outer.size if fits else None


def is_permuted(view: View, shape: Shape) -> bool:
    """Whether all of a layer's output is there once, in whatever order."""
    spans = sorted((span.axis, -span.step, span) for dim in view.dims for span in dim)
    return not view.is_repeated and merged(tuple(span for *_, span in spans)) == axis_spans(shape, 0, 1, 2)


def is_patches(view: View, kept: tuple[int, ...], taken: tuple[int, ...], shape: Shape) -> int | None:
    """The side of the squares that a matrix product takes from an image, a token each; None where it takes others."""
    spans, inside = view.along(kept), view.along(taken)
    sizes = {span.size for span in inside if span.axis < 2}
    if len(sizes) != 1 or not spans:  # without a position left the image has become a vector
        return None
    patch = sizes.pop()
    height, width, _ = shape
    rows = (Span(0, patch, height // patch), Span(1, patch, width // patch))
    within = (Span(0, 1, patch), Span(1, 1, patch), *axis_spans(shape, 2))
    fits = spans == tuple(span for span in rows if span.size > 1) and inside == within
    return patch if fits else None

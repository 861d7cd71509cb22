"""Rules of `trace` for pools: windows, and means, which are sums until they have been divided."""

import math
from typing import Any

import numpy as np

from search_spaces.layers import AvgPool, GlobalPool, MaxPool, Padding, windows
from search_spaces.trace.calls import written_plainly
from search_spaces.trace.program import Known, Step
from search_spaces.trace.views import View, axis_spans
from search_spaces.trace.writer import Padded, Value, Writer, refused


def summed(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """The mean over all positions, once it has been divided.

    Raises:
      ValueError: when the sum is over something else.
    """
    view = writer.view(ins[0], step)
    height, width, channels = writer.shape(view)
    axes = step.params["axes"]
    if view.is_repeated or view.along(axes) != axis_spans((height, width, channels), 0, 1):
        raise refused(step, "sums over something else than all positions")
    dims = tuple(dim for i, dim in enumerate(view.dims) if i not in axes)
    pooled = writer.emit(GlobalPool(inputs=(view.layer,), shape=(1, 1, channels)), step.out_shapes[0], dims)
    writer.divisors[pooled.layer] = np.asarray(height * width)
    return [pooled]


def _window(writer: Writer, step: Step, ins: list[Value], empty: float) -> tuple[View, int, int, Padding]:
    """The image, kernel, stride and padding of a pool; `empty` is what counts for nothing in it."""
    params, x = step.params, ins[0]
    sizes, strides, padding = params["window_dimensions"], params["window_strides"], params["padding"]
    fits = len(sizes) == 4 and sizes[0] == sizes[3] == strides[0] == strides[3] == 1 and sizes[1] == sizes[2]
    fits = fits and strides[1] == strides[2] and tuple(padding[0]) == tuple(padding[3]) == (0, 0)
    fits = fits and set(params["base_dilation"]) == set(params["window_dilation"]) == {1}
    if not fits:
        raise refused(step, "is no pool of square windows with one stride, of images [1, height, width, channels]")
    around = (*padding[1], *padding[2])
    if isinstance(x, Padded) and x.number == empty:
        around = tuple(a + b for a, b in zip(around, x.padding, strict=True))
        x = x.view
    above, below, left, right = around
    return writer.read(x, step), sizes[1], strides[1], (above, below, left, right)


def largest(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """A max pool.

    Raises:
      ValueError: when windows or strides are not square, or dilated, or not of an image's rows and columns.
    """
    view, kernel, stride, padding = _window(writer, step, ins, -math.inf)
    out = step.out_shapes[0]
    layer = MaxPool(inputs=(view.layer,), shape=(out[1], out[2], out[3]), kernel=kernel, stride=stride, padding=padding)
    return [writer.emit(written_plainly(layer), out)]


def window_sums(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """An average pool, once it has been divided.

    Raises:
      ValueError: when windows or strides are not square, or dilated, or not of an image's rows and columns.
    """
    view, kernel, stride, padding = _window(writer, step, ins, 0.0)
    out, counts = step.out_shapes[0], []
    for side, before, after in zip(writer.shape(view), padding[::2], padding[1::2], strict=False):
        first = stride * np.arange(windows(side, kernel, stride, before, after)) - before
        counts.append(np.minimum(first + kernel, side) - np.maximum(first, 0))
    layer = AvgPool(inputs=(view.layer,), shape=(out[1], out[2], out[3]), kernel=kernel, stride=stride, padding=padding)
    pooled = writer.emit(written_plainly(layer), out)
    writer.divisors[pooled.layer] = (counts[0][:, None] * counts[1])[None, :, :, None]
    return [pooled]


def mean(writer: Writer, step: Step, view: View, by: Any) -> list[Value]:
    """A sum, divided: a mean where it is by the number of what was added up.

    Raises:
      ValueError: when it is by something else.
    """
    expected = writer.divisors[view.layer]
    number = by.value if isinstance(by, Known) else np.asarray(0)
    with np.errstate(divide="ignore"):
        divisor = 1 / number if step.name == "mul" else number
    if np.broadcast_shapes(divisor.shape, expected.shape, view.shape) != view.shape or not np.allclose(
        np.broadcast_to(divisor, view.shape), np.broadcast_to(expected, view.shape)
    ):
        raise refused(step, "divides a sum by something else than how many numbers on the image it is of")
    del writer.divisors[view.layer]
    return [view]

"""Rules of `trace` for primitives that move, cut or join axes: no layers at all, or layers that only move numbers."""

from dataclasses import replace

from search_spaces.layers import Channels, Concat, Take
from search_spaces.trace.program import Known, Step
from search_spaces.trace.views import View, broadcast, reshaped, transposed
from search_spaces.trace.writer import Padded, Value, Writer, refused

MOVES = frozenset({"reshape", "squeeze", "expand_dims", "broadcast_in_dim", "transpose"})


def moved(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """Axes in another order or other dimensions: no layer, until somebody reads them.

    Raises:
      ValueError: when it is given no activations, or axes are cut in parts that are no stretches of them.
    """
    view, shape = ins[0], step.out_shapes[0]
    if not isinstance(view, View):
        view = writer.view(view, step)
    if step.name == "transpose":
        return [transposed(view, step.params["permutation"])]
    if step.name == "broadcast_in_dim":
        return [broadcast(view, shape, step.params["broadcast_dimensions"])]
    if step.name in ("squeeze", "expand_dims"):
        gone = {d % max(len(view.shape), len(shape)) for d in step.params["dimensions"]}
        if step.name == "squeeze":
            kept = tuple(i for i in range(len(view.shape)) if i not in gone)
            return [replace(view, dims=tuple(view.dims[i] for i in kept), shape=shape)]
        return [broadcast(view, shape, tuple(i for i in range(len(shape)) if i not in gone))]
    found = reshaped(view, shape)
    if found is None:
        raise refused(step, f"cuts axes of a {list(writer.shape(view))} in parts that are no stretches of them")
    return [found]


def padded(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """A border around an image, for the convolution or pool that reads it.

    Raises:
      ValueError: when anything but rows and columns gets a border, or one that isn't around the image.
    """
    view, config = writer.read(ins[0], step), step.params["padding_config"]
    if all(tuple(side) == (0, 0, 0) for side in config):
        return [view]
    spatial = len(config) == 4 and tuple(config[0]) == tuple(config[3]) == (0, 0, 0)
    if not spatial or any(low < 0 or high < 0 or inside for low, high, inside in config):
        raise refused(step, "pads something else than rows and columns of images [1, height, width, channels]")
    (above, below, _), (left, right, _) = config[1:3]
    number = ins[1].number if isinstance(ins[1], Known) else None
    return [Padded(view=view, padding=(int(above), int(below), int(left), int(right)), number=number)]


def sliced(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """Some of the channels, or of the tokens.

    Raises:
      ValueError: when an image is cropped, or every other position taken.
    """
    starts, ends, strides = (step.params[f"{what}"] for what in ("start_indices", "limit_indices", "strides"))
    if strides is not None and any(stride != 1 for stride in strides):
        raise refused(step, "takes every other position, which only convolutions and pools do")
    sizes = step.in_shapes[0]
    cut = [i for i, size in enumerate(sizes) if (starts[i], ends[i]) != (0, size)]
    view = writer.read(ins[0], step)
    if not cut:
        return [view]
    return [_part(writer, step, view, cut, starts[cut[0]], ends[cut[0]] - starts[cut[0]], step.out_shapes[0])]


def _part(
    writer: Writer, step: Step, view: View, cut: list[int], start: int, size: int, array: tuple[int, ...]
) -> View:
    """The part of an array cut along one dimension."""
    height, width, channels = writer.shape(view)
    if cut == [len(view.shape) - 1]:
        return writer.emit(Channels(inputs=(view.layer,), shape=(height, width, size), start=int(start)), array)
    if cut == [1] and len(view.shape) == 3:
        return writer.emit(Take(inputs=(view.layer,), shape=(size, 1, channels), start=int(start)), array)
    raise refused(step, "crops an image; only channels [..., a:b] and tokens [:, a:b] can be taken")


def split(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """Channels or tokens taken apart.

    Raises:
      ValueError: when the rows or columns of an image are.
    """
    view, start, found = writer.read(ins[0], step), 0, []
    for size, array in zip(step.params["sizes"], step.out_shapes, strict=True):
        found.append(_part(writer, step, view, [step.params["axis"]], start, int(size), array))
        start += int(size)
    return found


def joined(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """Channels joined.

    Raises:
      ValueError: when something else is.
    """
    views = [writer.read(value, step) for value in ins]
    if step.params["dimension"] != len(step.out_shapes[0]) - 1:
        raise refused(step, "joins something else than channels, the last dimension")
    height, width, _ = writer.shape(views[0])
    shape = (height, width, sum(writer.shape(view)[2] for view in views))
    return [writer.emit(Concat(inputs=tuple(view.layer for view in views), shape=shape), step.out_shapes[0])]

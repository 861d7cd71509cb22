"""What each of JAX's primitives is among layers: one rule a primitive, `RULES` lists them.

A rule gets the writer, the step and what the step reads, and returns what the step gives. To teach `trace` another
primitive is to add a rule; to teach it another layer, name its function (`trace_named.py`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from search_spaces.layers import (
    Activation,
    Add,
    AvgPool,
    Channels,
    Concat,
    Conv,
    Dense,
    Depthwise,
    Elementwise,
    GlobalPool,
    Layer,
    MaxPool,
    Padding,
    PatchEmbed,
    Positions,
    Scale,
    Take,
    Zeros,
    padding_of,
    windows,
)
from search_spaces.trace_named import write_named, written_plainly
from search_spaces.trace_program import NAMED, Known, Step
from search_spaces.trace_views import (
    Span,
    View,
    axis_spans,
    broadcast,
    is_patches,
    merged,
    reshaped,
    transposed,
)
from search_spaces.trace_writer import Chain, Padded, Param, Value, Writer, larger, path_of, refused

Rule = Callable[[Writer, Step, list[Value]], list[Value]]

_MOVES = frozenset({"reshape", "squeeze", "expand_dims", "broadcast_in_dim", "transpose"})
_SAME = frozenset(
    {
        *("convert_element_type", "copy", "copy_p", "stop_gradient", "reduce_precision", "optimization_barrier"),
        *("sharding_constraint", "device_put", "name", "pvary", "mesh_cast"),
    }
)
_ELEMENTWISE = frozenset(
    {
        *("add", "add_any", "sub", "mul", "div", "rem", "max", "min", "pow", "integer_pow", "square", "atan2", "clamp"),
        *("neg", "sign", "abs", "floor", "ceil", "round", "is_finite", "exp", "exp2", "expm1", "log", "log1p"),
        *("sqrt", "rsqrt", "cbrt", "logistic", "tanh", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh"),
        *("asinh", "acosh", "atanh", "erf", "erfc", "erf_inv", "lgamma", "digamma", "nextafter"),
        *("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "not", "select_n"),
    }
)
_KINDS = {"logistic": "sigmoid", "tanh": "tanh"}


def follow(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """What a step gives; the layers that it is are appended.

    Raises:
      ValueError: when it is no layer; one line that says which primitive, in which line of the author's, and the way out.
    """
    if step.name == NAMED and not all(isinstance(value, Param | Known) for value in ins):
        return write_named(writer, step, ins)
    if all(isinstance(value, Param | Known) for value in ins):
        return [_of_params(step, ins, shape) for shape in step.out_shapes]
    if step.name not in RULES:
        raise refused(step, "is no layer that `trace` knows")
    return RULES[step.name](writer, step, ins)


def _of_params(step: Step, ins: Sequence[Any], shape: tuple[int, ...]) -> Param:
    """What is computed of parameters alone."""
    params = [value for value in ins if isinstance(value, Param)]
    names = tuple(dict.fromkeys(name for param in params for name in param.names))
    varies = larger(shape)
    if step.name == "broadcast_in_dim":
        varies = frozenset(step.params["broadcast_dimensions"][i] for i in params[0].varies)
    elif step.name in _ELEMENTWISE or step.name in _SAME:
        varies = frozenset().union(*(param.varies for param in params if len(param.shape) == len(shape)))
    numbers = [value.number for value in ins if isinstance(value, Known)]
    added = numbers[0] if step.name == "add" and numbers else None
    epsilon = next((param.epsilon for param in params if param.epsilon is not None), None)
    if step.name in ("sqrt", "rsqrt", "pow"):
        epsilon = params[0].added if epsilon is None else epsilon
    elif step.name in _MOVES | _SAME:
        added = params[0].added
    direct = params[0].direct and (step.name in _MOVES | _SAME | {"slice"})
    root = params[0].root
    return Param(names=names, root=root, shape=shape, varies=varies, direct=direct, added=added, epsilon=epsilon)


# Axes that are moved


def _same(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    return ins


def _moved(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
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


def _padded(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    view, config = writer.read(ins[0], step), step.params["padding_config"]
    if all(tuple(side) == (0, 0, 0) for side in config):
        return [view]
    spatial = len(config) == 4 and tuple(config[0]) == tuple(config[3]) == (0, 0, 0)
    if not spatial or any(low < 0 or high < 0 or inside for low, high, inside in config):
        raise refused(step, "pads something else than rows and columns of images [1, height, width, channels]")
    (above, below, _), (left, right, _) = config[1:3]
    number = ins[1].number if isinstance(ins[1], Known) else None
    return [Padded(view=view, padding=(int(above), int(below), int(left), int(right)), number=number)]


def _sliced(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
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
    """Some of the channels, or of the tokens."""
    height, width, channels = writer.shape(view)
    if cut == [len(view.shape) - 1]:
        return writer.emit(Channels(inputs=(view.layer,), shape=(height, width, size), start=int(start)), array)
    if cut == [1] and len(view.shape) == 3:
        return writer.emit(Take(inputs=(view.layer,), shape=(size, 1, channels), start=int(start)), array)
    raise refused(step, "crops an image; only channels [..., a:b] and tokens [:, a:b] can be taken")


def _split(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    view, start, found = writer.read(ins[0], step), 0, []
    for size, array in zip(step.params["sizes"], step.out_shapes, strict=True):
        found.append(_part(writer, step, view, [step.params["axis"]], start, int(size), array))
        start += int(size)
    return found


def _joined(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    views = [writer.read(value, step) for value in ins]
    if step.params["dimension"] != len(step.out_shapes[0]) - 1:
        raise refused(step, "joins something else than channels, the last dimension")
    height, width, _ = writer.shape(views[0])
    shape = (height, width, sum(writer.shape(view)[2] for view in views))
    return [writer.emit(Concat(inputs=tuple(view.layer for view in views), shape=shape), step.out_shapes[0])]


# Products


def _convolution(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    params, (x, weight) = step.params, ins
    numbers, out = params["dimension_numbers"], step.out_shapes[0]
    if not isinstance(weight, Param):
        raise refused(step, "has a kernel that is no parameter")
    specs = (tuple(numbers.lhs_spec), tuple(numbers.rhs_spec), tuple(numbers.out_spec))
    if specs != ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)):
        raise refused(step, 'has other dimension numbers than ("NHWC", "HWIO", "NHWC")')
    strides, dilations = set(params["window_strides"]), set(params["rhs_dilation"])
    if set(params["lhs_dilation"]) != {1} or params["batch_group_count"] != 1:
        raise refused(step, "is transposed or in groups of images, for which there is no layer")
    if len(strides) > 1 or len(dilations) > 1:
        raise refused(step, "has another stride or dilation for rows than for columns")
    (above, below), (left, right) = params["padding"]
    if isinstance(x, Padded) and x.number == 0:
        above, below, left, right = (a + b for a, b in zip((above, below, left, right), x.padding, strict=True))
        x = x.view
    view = writer.read(x, step)
    rows, columns, _, channels = weight.shape
    ins_channels, groups, padding = writer.shape(view)[2], params["feature_group_count"], (above, below, left, right)
    shared: dict[str, Any] = {
        "inputs": (view.layer,),
        "shape": out[1:],
        "path": path_of(weight.names),
        "kernel": rows,
        "stride": strides.pop(),
        "dilation": dilations.pop(),
    }
    layer = Depthwise(**shared)
    if not (groups == ins_channels == channels > 1 and rows == columns and padding_of(layer) == padding):
        layer = Conv(**shared, in_channels=ins_channels, groups=groups, kernel_width=columns, padding=padding)
    return [writer.emit(written_plainly(layer), out)]


def _product(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    (contracted, batch) = step.params["dimension_numbers"]
    sides = [side for side in (0, 1) if isinstance(ins[side], Param)]
    if not sides or any(isinstance(value, Known) for value in ins):
        raise refused(
            step,
            "multiplies activations by activations or constants: attention's products are `dot_products` and `mix` of"
            " search_spaces/attention.py",
        )
    (side,) = sides
    weight, value = ins[side], ins[1 - side]
    assert isinstance(weight, Param)
    if any(batch):
        raise refused(step, "takes another matrix for each part of its input; use a convolution in groups")
    view = value if isinstance(value, View) else writer.view(value, step)
    pairs = sorted(zip(contracted[side], contracted[1 - side], strict=True))
    taken = tuple(i for _, i in pairs)
    kept = tuple(i for i in range(len(view.shape)) if i not in taken)
    sizes = [size for i, size in enumerate(weight.shape) if i not in contracted[side]]
    channels, path = math.prod(sizes), path_of(weight.names)
    patch = is_patches(view, kept, taken, writer.shape(view))
    if patch is not None:
        height, width, in_channels = writer.shape(view)
        shape = (height // patch * (width // patch), 1, channels)
        view = writer.view(view, step)
        layer: Layer = PatchEmbed(inputs=(view.layer,), shape=shape, path=path, in_channels=in_channels, patch=patch)
        found = writer.emit(layer, step.out_shapes[0])
        writer.unbiased.add(found.layer)
        return [found]
    array = tuple(view.shape[i] for i in kept)
    inside = math.prod(view.shape[i] for i in taken)
    by_rows = replace(view, dims=(*(view.dims[i] for i in kept), view.along(taken)), shape=(*array, inside))
    view = writer.read(by_rows, step)
    height, width, in_channels = writer.shape(view)
    shared: dict[str, Any] = {"inputs": (view.layer,), "shape": (height, width, channels), "path": path}
    pointwise = len(weight.root) == 4 and weight.root[:2] == (1, 1)
    layer = (
        Conv(kernel=1, in_channels=in_channels, **shared)
        if pointwise
        else Dense(in_channels=in_channels, bias=False, **shared)
    )
    outside = tuple(
        merged((Span(2, math.prod(sizes[i + 1 :]), size),)) if size > 1 else () for i, size in enumerate(sizes)
    )
    free = view.dims[:-1]
    dims = (*free, *outside) if side == 1 else (*outside, *free)
    return [writer.emit(layer, step.out_shapes[0], dims)]


# Means and windows


def _summed(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
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


def _largest(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    view, kernel, stride, padding = _window(writer, step, ins, -math.inf)
    out = step.out_shapes[0]
    layer = MaxPool(inputs=(view.layer,), shape=out[1:], kernel=kernel, stride=stride, padding=padding)
    return [writer.emit(written_plainly(layer), out)]


def _window_sums(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    view, kernel, stride, padding = _window(writer, step, ins, 0)
    out, counts = step.out_shapes[0], []
    for side, before, after in zip(writer.shape(view), padding[::2], padding[1::2], strict=False):
        first = stride * np.arange(windows(side, kernel, stride, before, after)) - before
        counts.append(np.minimum(first + kernel, side) - np.maximum(first, 0))
    layer = AvgPool(inputs=(view.layer,), shape=out[1:], kernel=kernel, stride=stride, padding=padding)
    pooled = writer.emit(written_plainly(layer), out)
    writer.divisors[pooled.layer] = (counts[0][:, None] * counts[1])[None, :, :, None]
    return [pooled]


def _mean(writer: Writer, step: Step, view: View, by: Any) -> list[Value]:
    """A sum, divided: a mean where it is by the number of what was added up."""
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


# Elementwise


def _elementwise(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    first, second = (*ins, None)[:2]
    if step.name in ("div", "mul"):
        for value, by in ((first, second), (second, first)):
            if isinstance(value, View) and value.layer in writer.divisors and (step.name == "mul" or value is first):
                return _mean(writer, step, value, by)
    if any(isinstance(value, Param) for value in ins):
        return _with_param(writer, step, ins)
    numbers = {value.number for value in ins if isinstance(value, Known)}
    views = [writer.view(value, step) for value in ins if not isinstance(value, Known)]
    out = step.out_shapes[0]
    if len(views) == 2 and step.name == "mul":
        for x, gate in (views, views[::-1]):
            if _is_gate(writer, x, gate):
                layer: Layer = Scale(inputs=(x.layer, gate.layer), shape=writer.shape(x))
                return [writer.emit(layer, out, x.dims)]
    whole = [view for view in views if view.shape == out and not view.is_repeated]
    if not whole:
        raise refused(step, "repeats its input")
    if any(view.dims != whole[0].dims or writer.shape(view) != writer.shape(whole[0]) for view in whole):
        whole = [writer.read(view, step) for view in whole]
        views = [view if view.shape != out or view.is_repeated else whole.pop(0) for view in views]
        whole = [view for view in views if view.shape == out and not view.is_repeated]
    inputs, shape = tuple(view.layer for view in views), writer.shape(whole[0])
    if step.name in _KINDS:
        layer = Activation(inputs=inputs, shape=shape, kind=_KINDS[step.name])  # pyright: ignore[reportArgumentType]
    elif step.name == "max" and numbers == {0}:
        layer = Activation(inputs=inputs, shape=shape, kind="relu")
    elif step.name == "mul" and numbers == {0}:
        layer = Zeros(inputs=inputs, shape=shape)
    elif step.name in ("add", "add_any") and len(whole) == 2:
        layer = Add(inputs=inputs, shape=shape)
    else:
        layer = Elementwise(inputs=inputs, shape=shape, operation=step.name)
    return [writer.emit(layer, out, whole[0].dims)]


def _is_gate(writer: Writer, x: View, gate: View) -> bool:
    """Whether a vector multiplies the channels of `x`."""
    shape = writer.shape(gate)
    across = [i for i, dim in enumerate(gate.dims) if dim]
    own = axis_spans(writer.shape(x), 2)
    return (
        not x.is_repeated
        and shape == (1, 1, writer.shape(x)[2])
        and gate.along(tuple(across)) == own
        and (x.along(tuple(across)) == own)
    )


def _with_param(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """A bias, positions, or a step of a batch norm."""
    params = [value for value in ins if isinstance(value, Param)]
    if len(ins) != 2 or len(params) != 1:
        raise refused(step, f"mixes activations with `{params[0].names[0]}` as no layer does")
    (param,), at = params, int(isinstance(ins[0], Param))
    value, out = ins[at], step.out_shapes[0]
    alone = writer.reads[step.ins[at]] == 1
    current = value.view if isinstance(value, Chain) and value.settled is None else value
    if isinstance(current, View) and not current.is_repeated and current.shape == out:
        shape = writer.shape(current)
        along = current.along(tuple(sorted(param.varies)))
        commutes = step.name in ("add", "mul")
        if along == axis_spans(shape, 2) and step.name in ("add", "sub", "mul", "div") and (commutes or at == 0):
            if step.name == "add" and param.direct and alone and isinstance(value, View):
                biased = writer.add_bias(value)
                if biased is not None:
                    return [biased]
            return [_chained(writer, step, value, param, alone)]
        if step.name == "add" and param.direct and shape[1] == 1 and along == axis_spans(shape, 0, 2):
            view = writer.view(value, step)
            layer = Positions(inputs=(view.layer,), shape=shape, path=path_of(param.names))
            return [writer.emit(layer, out, view.dims)]
    raise refused(step, f"mixes activations with `{param.names[0]}` as no layer does")


def _chained(writer: Writer, step: Step, value: Value, param: Param, alone: bool) -> Chain:
    if isinstance(value, Chain) and writer.open is value and alone:
        writer.open = Chain(view=value.view, params=(*value.params, param), step=value.step)
    else:
        view = writer.view(value, step)
        writer.settle()
        writer.open = Chain(view=view, params=(param,), step=step)
    return writer.open


RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_MOVES, _moved),
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    "pad": _padded,
    "slice": _sliced,
    "split": _split,
    "concatenate": _joined,
    "conv_general_dilated": _convolution,
    "dot_general": _product,
    "reduce_sum": _summed,
    "reduce_window_max": _largest,
    "reduce_window_sum": _window_sums,
}
"""The rule of each primitive that reads activations."""

"""Rules of `trace` for convolutions and matrix products of activations with parameters."""

import math
from dataclasses import replace
from typing import Any

from search_spaces.layers import Conv, Dense, Depthwise, Layer, PatchEmbed, padding_of
from search_spaces.trace.calls import written_plainly
from search_spaces.trace.program import Known, Step
from search_spaces.trace.views import Span, View, is_patches, merged
from search_spaces.trace.writer import Padded, Param, Value, Writer, path_of, refused


def convolution(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """A convolution of all channels, in groups of them, or of each by itself.

    Raises:
      ValueError: when the kernel is no parameter, the order of dimensions another, the convolution transposed or in
        groups of images, or rows and columns differ in stride or dilation.
    """
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


def product(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """A dense layer, a 1x1 convolution, or the patches of an image.

    Raises:
      ValueError: when not exactly one side is a parameter, or the product is no such layer.
    """
    (contracted, batch) = step.params["dimension_numbers"]
    sides = [side for side in (0, 1) if isinstance(ins[side], Param)]
    if not sides or any(isinstance(value, Known) for value in ins):
        raise refused(
            step,
            "multiplies activations by activations or constants: attention's products are `dot_products` and `mix` of"
            " search_spaces/blocks/attention.py",
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

"""Writes the layers of images and vectors in TensorFlow's operations: convolutions, norms, pools, joins."""

from typing import Any

import numpy as np

from hardware.export.tflite_graph import Layout, Tensor, TfGraph
from search_spaces.layers import (
    Activation,
    AvgPool,
    Channels,
    Concat,
    Conv,
    Dense,
    Depthwise,
    MaxPool,
    Norm,
    Padding,
    Shape,
    Shuffle,
    padding_of,
    same_padding,
    windows,
)

AT_LEAST_0 = ("relu", "relu6", "sigmoid", "hard_sigmoid")


def convolution(graph: TfGraph, position: int, layer: Conv | Depthwise) -> Tensor:
    """A convolution, with the norm after it folded in; one for each channel where every group has one to read."""
    tf, (source,) = graph.tf, layer.inputs
    weight, bias = graph.source.folded(position, layer)  # [kernel, kernel_width, in / groups, out]
    rows, columns, _, out = weight.shape
    padding, shape = padding_of(layer), graph.layers[source].shape
    span = tuple(layer.dilation * (size - 1) + 1 for size in (rows, columns))
    image = _cropped(graph, graph.read(source, "image"), padding, shape)
    image, mode = _padded(graph, image, padding, shape, span, layer.stride)
    if isinstance(layer, Depthwise) or 1 < layer.groups == layer.in_channels:
        weight = weight.reshape(rows, columns, shape[-1], out // shape[-1])
        run = tf.raw_ops.DepthwiseConv2dNative
    else:
        run = tf.raw_ops.Conv2D
    value = run(
        input=image,
        filter=graph.constant(weight),
        strides=(1, layer.stride, layer.stride, 1),
        padding=mode,
        dilations=(1, layer.dilation, layer.dilation, 1),
    )
    return Tensor(value if bias is None else tf.nn.bias_add(value, graph.bias(position, bias)), "image")


def dense(graph: TfGraph, position: int, layer: Dense) -> Tensor:
    """A linear map of a vector, or of each token's, with the norm after it folded in."""
    weight, bias = graph.source.folded(position, layer)
    layout: Layout = "vector" if layer.shape[:2] == (1, 1) else "tokens"
    value = graph.tf.matmul(graph.read(layer.inputs[0], layout), graph.constant(weight))
    return Tensor(value if bias is None else graph.tf.nn.bias_add(value, graph.bias(position, bias)), layout)


def normalisation(graph: TfGraph, layer: Norm) -> Tensor:
    """Batch normalisation; nothing where it is folded into the layer before it."""
    (source,) = layer.inputs
    if graph.source.folded_norm(source) is layer:
        return graph.tensors[source]
    layout = graph.shared_layout(layer.inputs)
    layout = "image" if layout == "pairs" else layout  # heads would have to lie last
    factor, offset = map(graph.constant, graph.source.affine(layer))
    return Tensor(graph.read(source, layout) * factor + offset, layout)


def activation(graph: TfGraph, position: int, layer: Activation) -> Tensor:
    """A nonlinearity; the converter knows hard-swish, GELU and ReLUs by their formulas.

    It puts hard-sigmoid's 3 into the bias of the layer before.
    """
    tf, (value, layout) = graph.tf, graph.tensors[layer.inputs[0]]
    match layer.kind:
        case "relu":
            value = tf.nn.relu(value)
        case "relu6":
            value = tf.nn.relu6(value)
        case "hard_swish":
            value = value * tf.nn.relu6(value + 3.0) * (1 / 6)
        case "hard_sigmoid":
            value = tf.nn.relu6(value + graph.bias(position, np.array(3.0))) * (1 / 6)
        case "gelu":
            value = tf.nn.gelu(value)
        case "swish":
            value = value * tf.nn.sigmoid(value)
        case "sigmoid":
            value = tf.nn.sigmoid(value)
        case "tanh":
            value = tf.nn.tanh(value)
    return Tensor(value, layout)


def global_pool(graph: TfGraph, position: int) -> Tensor:
    """The mean over all positions."""
    (source,) = graph.layers[position].inputs
    if graph.layout(source) == "tokens":
        return Tensor(graph.tf.reduce_mean(graph.read(source, "tokens"), 0, keepdims=True), "vector")
    return Tensor(graph.tf.reduce_mean(graph.read(source, "image"), (1, 2)), "vector")


def max_pool(graph: TfGraph, layer: MaxPool) -> Tensor:
    """The largest value in each window.

    A padding of the layer's own must not be the largest: zeros won't be where nothing is below zero, and elsewhere it
    repeats the image's edge, which lies in every window that reaches beyond it.
    """
    tf, (source,) = graph.tf, layer.inputs
    padding, shape = padding_of(layer), graph.layers[source].shape
    size, stride = (layer.kernel, layer.kernel), layer.stride
    image = graph.read(source, "image")
    before = graph.layers[source]
    if _mode(padding, shape, size, stride) or (isinstance(before, Activation) and before.kind in AT_LEAST_0):
        image, mode = _padded(graph, image, padding, shape, size, stride)
    else:
        mode = "VALID"
        for reach in range(1, max(padding) + 1):
            above, below, left, right = (int(side >= reach) for side in padding)
            image = tf.pad(image, ((0, 0), (above, below), (left, right), (0, 0)), "SYMMETRIC")
    return Tensor(tf.nn.max_pool2d(image, size, stride, mode), "image")


def avg_pool(graph: TfGraph, layer: AvgPool) -> Tensor:
    """The mean over each window of what lies on the image: as TFLite takes it where its own padding will do.

    Elsewhere zeros are padded and counted, and each window's mean is multiplied by how many times too many they were.
    """
    tf, (source,) = graph.tf, layer.inputs
    padding, shape = padding_of(layer), graph.layers[source].shape
    size, stride = (layer.kernel, layer.kernel), layer.stride
    image, mode = _padded(graph, graph.read(source, "image"), padding, shape, size, stride)
    value = tf.nn.avg_pool2d(image, size, stride, mode)
    rows, columns = (
        _on_the_image(side, layer.kernel, stride, before, after)
        for side, before, after in zip(shape[:2], padding[::2], padding[1::2], strict=True)
    )
    seen = np.outer(rows, columns)
    if mode == "VALID" and (seen < layer.kernel**2).any():
        value = value * graph.constant(layer.kernel**2 / seen[None, :, :, None])
    return Tensor(value, "image")


def joined(graph: TfGraph, layer: Concat | Channels | Shuffle) -> Tensor:
    """Channels put together, taken out or dealt out, in whatever layout they lie."""
    tf, layout = graph.tf, graph.shared_layout(layer.inputs)
    layout = "image" if layout == "pairs" else layout  # channels have to lie last
    parts = [graph.read(i, layout) for i in layer.inputs]
    shape = tuple(parts[0].shape)
    match layer:
        case Concat():
            value = tf.concat(parts, -1) if len(parts) > 1 else parts[0]
        case Channels():
            value = tf.slice(parts[0], (0,) * (len(shape) - 1) + (layer.start,), (*shape[:-1], layer.shape[-1]))
        case Shuffle():
            each = layer.shape[-1] // layer.groups
            value = tf.transpose(tf.reshape(parts[0], (-1, layer.groups, each)), (0, 2, 1))
            value = tf.reshape(value, shape)
    return Tensor(value, layout)


def _cropped(graph: TfGraph, image: Any, padding: Padding, shape: Shape) -> Any:
    """The image without the rows and columns that a negative padding takes away."""
    if min(padding) >= 0:
        return image
    above, below, left, right = (max(-side, 0) for side in padding)
    height, width, channels = shape
    size = (1, height - above - below, width - left - right, channels)
    return graph.tf.slice(image, (0, above, left, 0), size)


def _padded(
    graph: TfGraph, image: Any, padding: Padding, shape: Shape, size: tuple[int, ...], stride: int
) -> tuple[Any, str]:
    """The image, with zeros around it where no padding of the operators' own will do; and which one does then."""
    if mode := _mode(padding, shape, size, stride):
        return image, mode
    above, below, left, right = (max(side, 0) for side in padding)
    return graph.tf.pad(image, ((0, 0), (above, below), (left, right), (0, 0))), "VALID"


def _mode(padding: Padding, shape: Shape, size: tuple[int, ...], stride: int) -> str:
    """The operators' own padding that is this one; empty where none is."""
    if max(padding) <= 0:
        return "VALID"
    if padding == same_padding(shape, (size[0], size[1]), stride):
        return "SAME"
    return ""


def _on_the_image(side: int, kernel: int, stride: int, before: int, after: int) -> np.ndarray:
    """How many rows (or columns) of each window lie on the image."""
    starts = np.arange(windows(side, kernel, stride, before, after)) * stride - before
    return np.minimum(starts + kernel, side) - np.maximum(starts, 0)

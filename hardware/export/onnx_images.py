"""Writes the layers of images and vectors in ONNX's operators: convolutions, dense layers, norms, pools, joins."""

import numpy as np

from hardware.export.onnx_graph import Layout, OnnxGraph, Tensor, Writer
from hardware.export.source import STATISTICS
from search_spaces.layers import (
    Activation,
    AvgPool,
    Channels,
    Concat,
    Conv,
    Dense,
    Depthwise,
    Flatten,
    MaxPool,
    Norm,
    Padding,
    Scale,
    Shape,
    Shuffle,
    padding_of,
)

CHANNEL_AXIS: dict[Layout, int] = {"image": 1, "tokens": 2, "vector": 1}


def convolution(graph: OnnxGraph, position: int, layer: Conv | Depthwise) -> Tensor:
    """A convolution, in its own groups or one for each channel, with the norm after it folded in."""
    writer = graph.writer(position)
    columns = layer.kernel_width if isinstance(layer, Conv) else None
    weight, bias = graph.source.folded(position, layer)  # [kernel, kernel_width, in / groups, out]
    padding = padding_of(layer)
    image = _cropped(writer, graph.read(layer.inputs[0], "image"), padding, graph.layers[layer.inputs[0]].shape)
    inputs = [image, writer.constant(weight.transpose(3, 2, 0, 1), "weight")]
    above, below, left, right = (max(side, 0) for side in padding)
    name = writer.node(
        "Conv",
        inputs if bias is None else [*inputs, writer.constant(bias, "bias")],
        kernel_shape=[layer.kernel, columns or layer.kernel],
        strides=[layer.stride] * 2,
        pads=[above, left, below, right],
        dilations=[layer.dilation] * 2,
        group=layer.groups if isinstance(layer, Conv) else layer.shape[-1],
    )
    return Tensor(name=name, layout="image")


def _cropped(writer: Writer, image: str, padding: Padding, shape: Shape) -> str:
    """The image without the rows and columns that a negative padding takes away, which ONNX's operators don't know."""
    for axis, before, after in ((0, padding[0], padding[1]), (1, padding[2], padding[3])):
        if min(before, after) < 0:
            image = writer.slice(image, 2 + axis, max(-before, 0), shape[axis] - max(-after, 0))
    return image


def dense(graph: OnnxGraph, position: int, layer: Dense) -> Tensor:
    """A linear map: of a vector, of tokens, or, where it leads to a channel scale, a 1x1 convolution of an image."""
    writer, (source,) = graph.writer(position), layer.inputs
    weight, bias = graph.source.folded(position, layer)
    if flattened := graph.tensors[source].channels_first:  # our rows are those of height, width, channels
        weight = weight.reshape(*flattened, -1).transpose(2, 0, 1, 3).reshape(weight.shape)
    offset = [] if bias is None else [writer.constant(bias, "bias")]
    if layer.shape[:2] != (1, 1):
        name = writer.node("MatMul", [graph.read(source, "tokens"), writer.constant(weight, "weight")])
        return Tensor(name=writer.node("Add", [name, *offset]) if offset else name, layout="tokens")
    if _gates(graph, position):
        kernel = writer.constant(weight.T[:, :, None, None], "weight")
        name = writer.node("Conv", [graph.read(source, "image"), kernel, *offset], kernel_shape=[1, 1])
        return Tensor(name=name, layout="image")
    matrix = writer.constant(weight, "weight")
    return Tensor(name=writer.node("Gemm", [graph.read(source, "vector"), matrix, *offset]), layout="vector")


def normalisation(graph: OnnxGraph, position: int, layer: Norm) -> Tensor:
    """Batch normalisation; nothing where it is folded into the layer before it."""
    (source,) = layer.inputs
    if graph.source.folded_norm(source) is layer:
        return graph.tensors[source]
    writer = graph.writer(position)
    layout: Layout = "vector" if graph.layout(source) == "vector" else "image"
    statistics = [writer.constant(writer.weight(name), name) for name in STATISTICS]
    inputs = [graph.read(source, layout), *statistics]
    return Tensor(name=writer.node("BatchNormalization", inputs, epsilon=layer.epsilon), layout=layout)


def activation(writer: Writer, layer: Activation, x: str) -> str:
    """A nonlinearity; ReLU6 is a Clip between constants, which onnxruntime fuses into the convolution like a ReLU."""
    match layer.kind:
        case "relu":
            return writer.node("Relu", [x])
        case "relu6":
            return writer.node("Clip", [x, *(writer.constant(np.array(bound)) for bound in (0.0, 6.0))])
        case "hard_swish":
            return writer.node("HardSwish", [x])
        case "hard_sigmoid":
            return writer.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5)
        case "gelu":
            return writer.node("Gelu", [x])
        case "swish":  # opset 20 has no operator of that name
            return writer.node("Mul", [x, writer.node("Sigmoid", [x])])
        case "sigmoid":
            return writer.node("Sigmoid", [x])
        case "tanh":
            return writer.node("Tanh", [x])


def pool(graph: OnnxGraph, position: int, layer: AvgPool | MaxPool) -> Tensor:
    """The mean or the largest value of each window, of what lies on the image."""
    above, below, left, right = padding_of(layer)
    mean = {"count_include_pad": 0} if isinstance(layer, AvgPool) else {}
    name = graph.writer(position).node(
        "AveragePool" if mean else "MaxPool",
        [graph.read(layer.inputs[0], "image")],
        kernel_shape=[layer.kernel] * 2,
        strides=[layer.stride] * 2,
        pads=[above, left, below, right],
        **mean,
    )
    return Tensor(name=name, layout="image")


def global_pool(graph: OnnxGraph, position: int) -> Tensor:
    """The mean over all positions: of an image one of a single position; of tokens, or as the answer, a vector."""
    writer, (source,) = graph.writer(position), graph.layers[position].inputs
    if graph.layout(source) == "tokens":
        axes = writer.constant(np.array([1]))
        return Tensor(name=writer.node("ReduceMean", [graph.read(source, "tokens"), axes], keepdims=0), layout="vector")
    name = writer.node("GlobalAveragePool", [graph.read(source, "image")])
    if not graph.readers[position]:
        return Tensor(name=writer.node("Flatten", [name]), layout="vector")
    return Tensor(name=name, layout="image")


def joined(graph: OnnxGraph, position: int, layer: Concat | Channels | Shuffle) -> Tensor:
    """Channels put together, taken out or dealt out, in whatever layout they lie."""
    writer, layout = graph.writer(position), graph.shared_layout(layer.inputs)
    axis, parts = CHANNEL_AXIS[layout], [graph.read(i, layout) for i in layer.inputs]
    match layer:
        case Concat():
            name = writer.concatenate(parts, axis)
        case Channels():
            name = writer.slice(parts[0], axis, layer.start, layer.start + layer.shape[-1])
        case Shuffle():
            name = _shuffled(writer, layer, layout, parts[0])
    return Tensor(name=name, layout=layout)


def flattened(graph: OnnxGraph, position: int, layer: Flatten) -> Tensor:
    """All numbers as one vector.

    ONNX's images lie channel by channel. Where only dense layers read the vector it stays so, and they change the order
    of their rows instead; anything else gets it in the layers' order.
    """
    (source,) = layer.inputs
    shape = graph.layers[source].shape
    if graph.layout(source) == "vector":
        return graph.tensors[source]
    writer = graph.writer(position)
    in_order = graph.layout(source) == "tokens" or shape[-1] == 1 or shape[:2] == (1, 1)
    readers = graph.readers[position]
    if in_order or (readers and all(isinstance(graph.layers[i], Dense) for i in readers)):
        name = writer.node("Flatten", [graph.tensors[source].name])
        return Tensor(name=name, layout="vector", channels_first=None if in_order else shape)
    name = writer.node("Flatten", [writer.transpose(graph.read(source, "image"), 0, 2, 3, 1)])
    return Tensor(name=name, layout="vector")


def _shuffled(writer: Writer, layer: Shuffle, layout: Layout, x: str) -> str:
    height, width, channels = layer.shape
    each = channels // layer.groups
    match layout:
        case "image":
            dealt = writer.transpose(writer.reshape(x, 0, layer.groups, each, height * width), 0, 2, 1, 3)
            return writer.reshape(dealt, 0, channels, height, width)
        case "tokens":
            dealt = writer.transpose(writer.reshape(x, 0, 0, layer.groups, each), 0, 1, 3, 2)
            return writer.reshape(dealt, 0, 0, channels)
        case "vector":
            dealt = writer.transpose(writer.reshape(x, 0, layer.groups, each), 0, 2, 1)
            return writer.reshape(dealt, 0, channels)


def _gates(graph: OnnxGraph, position: int) -> bool:
    """Whether everything that reads this vector leads, through dense layers and elementwise ones, to a scale."""
    readers = graph.readers[position]
    return bool(readers) and all(
        isinstance(graph.layers[i], Scale)
        or (isinstance(graph.layers[i], Dense | Norm | Activation) and _gates(graph, i))
        for i in readers
    )

"""Writes a network as ONNX straight from its layers, in the operators that runtimes have fast routines for."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from hardware.export import onnx_images, onnx_tokens
from hardware.export.onnx_graph import OnnxGraph, Tensor
from hardware.export.source import source_of
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
    Flatten,
    GlobalPool,
    Input,
    Layer,
    MaxPool,
    Norm,
    Scale,
    Shuffle,
    Tokens,
    Zeros,
)

OPSET = 20
IR_VERSION = 10


def to_onnx(
    layers: Sequence[Layer],
    weights: Mapping[str, np.ndarray],
    *,
    input_name: str = "image",
    output_name: str = "logits",
) -> onnx.ModelProto:
    """The network as a checked float32 ONNX model.

    The image is `[batch, channels, height, width]`, ONNX's own order (JAX and our layers have channels last), with a
    batch of any size. A network that ends in a dense layer of a vector gives `[batch, channels]`, one that ends in
    tokens `[batch, tokens, channels]`, any other `[batch, channels, height, width]`. The model's `doc_string` and
    `metadata_props` say so too.

    Layers that can't change the answer (`search_spaces/alive.py`) are left out.

    A norm is folded into the convolution or dense layer before it where nothing else reads what is in between. What is
    flattened for dense layers alone stays as ONNX has it, channel by channel, and the rows of their weights follow.
    Hard-swish and hard-sigmoid are ONNX's own operators: onnxruntime 1.32 fuses them into the convolution. A dense
    layer that leads to a channel scale (squeeze-excite) is a 1x1 convolution, so that nothing is reshaped (0.316 ms
    against 0.319 ms with Gemm and Reshape, medians of 60, six blocks of 64 channels at 12x12, 1 thread, AMD EPYC).

    Args:
      layers: the graph in execution order, with one `Input` and one output.
      weights: arrays by `<layer.path>.<name>`, as `hardware/export/weights.py` says.
      input_name: name of the model's input.
      output_name: name of the model's output.

    Raises:
      ValueError: when weights are missing, unknown or of the wrong shape; on a layer that has no operator here, or
        attributes and shapes that do not fit together (`hardware/export/shapes.py`).
    """
    source = source_of(layers, weights)
    graph, last = OnnxGraph(source), source.output
    for position in range(len(source.layers)):
        graph.tensors.append(_written(graph, position, input_name))
    _call_output(graph, last, output_name)
    image_shape, shape = (["batch", c, h, w] for h, w, c in (source.layers[0].shape, source.layers[last].shape))
    if graph.layout(last) == "vector":
        shape = shape[:2]
    elif graph.layout(last) == "tokens":
        height, width, channels = source.layers[last].shape
        shape = ["batch", height * width, channels]
    proto = helper.make_graph(
        graph.nodes,
        "network",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, image_shape)],
        [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, shape)],
        initializer=graph.initializers,
    )
    layout = f"{input_name}: float32 [batch, channels, height, width], normalised as in training"
    model = helper.make_model(
        proto,
        producer_name="edgenas",
        doc_string=layout,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, {"input_layout": "NCHW", "precision": "fp32", "input": layout})
    onnx.checker.check_model(model, full_check=True)
    return model


def _written(graph: OnnxGraph, position: int, input_name: str) -> Tensor:
    """Adds the nodes of one layer and says what its tensor is."""
    layer, writer = graph.layers[position], graph.writer(position)
    match layer:
        case Input():
            return Tensor(name=input_name, layout="image")
        case Conv() | Depthwise():
            return onnx_images.convolution(graph, position, layer)
        case Dense():
            return onnx_images.dense(graph, position, layer)
        case Norm():
            return onnx_images.normalisation(graph, position, layer)
        case Activation():
            (source,) = layer.inputs
            name = onnx_images.activation(writer, layer, graph.tensors[source].name)
            return Tensor(name=name, layout=graph.layout(source))
        case GlobalPool():
            return onnx_images.global_pool(graph, position)
        case AvgPool() | MaxPool():
            return onnx_images.pool(graph, position, layer)
        case Concat() | Channels() | Shuffle():
            return onnx_images.joined(graph, position, layer)
        case Flatten():
            return onnx_images.flattened(graph, position, layer)
        case Tokens():
            return Tensor(name=graph.read(layer.inputs[0], "tokens"), layout="tokens")
        case Zeros():
            source = graph.tensors[layer.inputs[0]]
            return Tensor(name=writer.node("Mul", [source.name, writer.constant(np.array(0.0))]), layout=source.layout)
        case Add():
            layout = graph.shared_layout(layer.inputs)
            return Tensor(name=writer.node("Add", [graph.read(i, layout) for i in layer.inputs]), layout=layout)
        case Scale():
            return Tensor(name=writer.node("Mul", [graph.read(i, "image") for i in layer.inputs]), layout="image")
        case _ if isinstance(layer, onnx_tokens.GIVES_TOKENS | onnx_tokens.GIVES_PAIRS):
            return onnx_tokens.attention(graph, position, layer)
        case Elementwise():
            raise ValueError(
                f"layer {position} is the elementwise operation `{layer.operation}`, which no layer has a name for and"
                " ONNX no operator here; use a nonlinearity of `search_spaces.layers.Activation`, a sum or a scale"
            )
        case _:
            raise ValueError(
                f"layer {position} (`{layer.path}`) is a {type(layer).__name__}, which has no ONNX operator here;"
                " add a case to hardware/export/onnx_export.py"
            )


def _call_output(graph: OnnxGraph, last: int, output_name: str) -> None:
    """Gives the last layer's tensor the output's name, or, where something else goes by its own, a copy of it."""
    name = graph.tensors[last].name
    makers = [node for node in graph.nodes if node.output[0] == name]
    if not makers or any(name in node.input for node in graph.nodes):
        graph.nodes.append(helper.make_node("Identity", [name], [output_name], name=output_name))
        return
    makers[0].output[0] = output_name

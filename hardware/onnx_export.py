"""Writes a network as ONNX straight from its layers, in the operators that runtimes have fast routines for."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hardware import onnx_tokens
from hardware.kernels import fused_chain, readers_of
from hardware.weights import check_weights
from search_spaces.alive import alive
from search_spaces.layers import (
    Activation,
    Add,
    AvgPool,
    Conv,
    Dense,
    Depthwise,
    GlobalPool,
    Input,
    Layer,
    Norm,
    Scale,
    Shape,
    Zeros,
    pooled,
    window_padding,
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

    A norm is folded into the convolution or dense layer before it where nothing else reads what is in between.
    Hard-swish and hard-sigmoid are ONNX's own operators: onnxruntime 1.32 fuses them into the convolution. A dense
    layer that leads to a channel scale (squeeze-excite) is a 1x1 convolution, so that nothing is reshaped (0.316 ms
    against 0.319 ms with Gemm and Reshape, medians of 60, six blocks of 64 channels at 12x12, 1 thread, AMD EPYC).

    Args:
      layers: the graph in execution order, with one `Input` and one output.
      weights: arrays by `<layer.path>.<name>`, as `hardware/weights.py` says.
      input_name: name of the model's input.
      output_name: name of the model's output.

    Raises:
      ValueError: when weights are missing, unknown or of the wrong shape; on a layer that has no operator here, an even
        kernel, or shapes that do not follow from the layers.
    """
    check_weights(layers, weights)
    layers = alive(layers)
    graph = _Graph(layers, weights, input_name)
    for position in range(len(layers)):
        graph.write(position)
    outputs = [i for i, readers in enumerate(graph.readers) if not readers]
    images = [layer for layer in layers if isinstance(layer, Input)]
    if len(outputs) != 1 or len(images) != 1:
        raise ValueError(f"a network to export has one input and one output, got {len(images)} and {len(outputs)}")
    (last,) = outputs
    for node in graph.nodes:
        if node.output[0] == graph.names[last]:
            node.output[0] = output_name
    image_shape, shape = (["batch", c, h, w] for h, w, c in (images[0].shape, layers[last].shape))
    if last in graph.flat:
        shape = shape[:2]
    elif last in graph.tokens:
        height, width, channels = layers[last].shape
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


class _Graph:
    """The nodes and weights written so far; a layer's tensor is known by its position."""

    def __init__(self, layers: Sequence[Layer], weights: Mapping[str, np.ndarray], input_name: str):
        self.layers = layers
        self.weights = weights
        self.readers = readers_of(layers)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.names: dict[int, str] = {}
        self.flat: set[int] = set()  # tensors that are `[batch, channels]`
        self.tokens: set[int] = set()  # tensors that are `[batch, tokens, channels]`
        self.constants: dict[Any, str] = {}
        self.folded: set[int] = set()
        self.input_name = input_name

    def write(self, position: int) -> None:
        """Adds the nodes of one layer."""
        layer = self.layers[position]
        self._check(position)
        match layer:
            case Input():
                self.names[position] = self.input_name
            case Conv() | Depthwise():
                self._convolution(position, layer)
            case Dense():
                self._dense(position, layer)
            case Norm():
                self._norm(position, layer)
            case Activation():
                self._activation(position, layer)
            case GlobalPool() if layer.inputs[0] in self.tokens:
                axes = self._initializer(f"{position}.axes", np.array([1]))
                inputs = [self.names[layer.inputs[0]], axes]
                self._node("ReduceMean", position, inputs, flat=True, keepdims=0)
            case GlobalPool():
                self._node("GlobalAveragePool", position, [self._image(layer.inputs[0])])
            case AvgPool():
                self._node(
                    "AveragePool",
                    position,
                    [self._image(layer.inputs[0])],
                    kernel_shape=[layer.kernel] * 2,
                    strides=[layer.stride] * 2,
                    pads=[window_padding(layer.kernel)] * 4,
                    count_include_pad=0,
                )
            case Zeros():
                source = layer.inputs[0]
                zero = self._initializer(f"{position}.zero", np.zeros((), np.float32))
                self._node("Mul", position, [self.names[source], zero], source in self.flat)
            case Add():
                flat, tokens = self.flat.issuperset(layer.inputs), self.tokens.issuperset(layer.inputs)
                inputs = [self.names[i] if flat or tokens else self._image(i) for i in layer.inputs]
                self._node("Add", position, inputs, flat, tokens)
            case Scale():
                self._node("Mul", position, [self._image(i) for i in layer.inputs])
            case _ if isinstance(layer, onnx_tokens.GIVES_TOKENS | onnx_tokens.GIVES_PAIRS):
                writer = self._writer(position)
                self.names[position] = onnx_tokens.write(writer, layer, self._image, self._as_tokens)
                if isinstance(layer, onnx_tokens.GIVES_TOKENS):
                    self.tokens.add(position)
            case _:
                raise ValueError(
                    f"layer {position} (`{layer.path}`) is a {type(layer).__name__}, which has no ONNX operator here;"
                    " add a case to hardware/onnx_export.py"
                )

    def _node(
        self,
        op: str,
        position: int,
        inputs: Sequence[str],
        flat: bool = False,
        tokens: bool = False,
        **attributes: Any,
    ) -> None:
        name = f"{position}.{op}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        self.names[position] = name
        if flat:
            self.flat.add(position)
        if tokens:
            self.tokens.add(position)

    def _initializer(self, name: str, values: np.ndarray) -> str:
        dtype = np.float32 if values.dtype.kind == "f" else np.int64
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name

    def _image(self, position: int) -> str:
        """The tensor at `position` as `[batch, channels, height, width]`."""
        if position not in self.flat | self.tokens:
            return self.names[position]
        name = f"{position}.image"
        if all(node.name != name for node in self.nodes):
            height, width, channels = self.layers[position].shape
            if position in self.tokens:
                writer = self._writer(position)
                last = writer.transpose(self.names[position], 0, 2, 1)
                shape = self._initializer(f"{name}.shape", np.array([0, channels, height, width]))
                self.nodes.append(helper.make_node("Reshape", [last, shape], [name], name=name))
                return name
            shape = self._initializer(f"{name}.shape", np.array([0, channels, 1, 1]))
            self.nodes.append(helper.make_node("Reshape", [self.names[position], shape], [name], name=name))
        return name

    def _as_tokens(self, position: int) -> str:
        """The tensor at `position` as `[batch, tokens, channels]`."""
        if position in self.tokens:
            return self.names[position]
        writer, (height, width, channels) = self._writer(position), self.layers[position].shape
        return writer.transpose(writer.reshape(self._image(position), 0, channels, height * width), 0, 2, 1)

    def _writer(self, position: int) -> onnx_tokens.Writer:
        """Adds nodes and constants that belong to the layer at `position`."""

        def node(op: str, inputs: Sequence[str], **attributes: Any) -> str:
            name = f"{position}.{op}.{len(self.nodes)}"
            self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
            return name

        def constant(values: np.ndarray, name: str = "") -> str:
            if name:
                return self._initializer(f"{self.layers[position].path}.{name}", values)
            whole = values.dtype.kind != "f"  # shapes and indices come again and again
            key = (values.shape, values.tobytes()) if whole else ()
            if key not in self.constants or not whole:
                name = f"{position}.constant.{len(self.initializers)}"
                self.constants[key] = self._initializer(name, values)
            return self.constants[key]

        def weight(name: str) -> np.ndarray:
            return self.weights[f"{self.layers[position].path}.{name}"].astype(np.float64)

        return onnx_tokens.Writer(node=node, constant=constant, weight=weight)

    def _vector(self, position: int) -> str:
        """The tensor at `position` as `[batch, channels]`."""
        if position in self.flat:
            return self.names[position]
        name = f"{position}.vector"
        if all(node.name != name for node in self.nodes):
            self.nodes.append(helper.make_node("Flatten", [self.names[position]], [name], name=name))
        return name

    def _fold(self, position: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Factor and offset per output channel of the norm that is folded into the layer at `position`, if one is."""
        chain = fused_chain(self.layers, self.readers, position)
        norm = self.layers[chain[0]] if chain else None
        if not isinstance(norm, Norm):
            return None
        self.folded.add(chain[0])
        scale, bias, mean, var = self._statistics(norm)
        factor = scale / np.sqrt(var + norm.epsilon)
        return factor, bias - mean * factor

    def _statistics(self, norm: Norm) -> list[np.ndarray]:
        return [self.weights[f"{norm.path}.{name}"].astype(np.float64) for name in ("scale", "bias", "mean", "var")]

    def _convolution(self, position: int, layer: Conv | Depthwise) -> None:
        kernel = self.weights[f"{layer.path}.weight"]  # [kernel, kernel, in, out]
        bias: list[str] = []
        if norm := self._fold(position):
            factor, offset = norm
            kernel = kernel * factor
            bias = [self._initializer(f"{layer.path}.bias", offset)]
        weight = self._initializer(f"{layer.path}.weight", kernel.transpose(3, 2, 0, 1))
        self._node(
            "Conv",
            position,
            [self._image(layer.inputs[0]), weight, *bias],
            kernel_shape=[layer.kernel] * 2,
            strides=[layer.stride] * 2,
            pads=[layer.kernel // 2] * 4,
            group=layer.shape[-1] if isinstance(layer, Depthwise) else 1,
        )

    def _dense(self, position: int, layer: Dense) -> None:
        weight, offset = self.weights[f"{layer.path}.weight"], self.weights[f"{layer.path}.bias"]
        if norm := self._fold(position):
            weight, offset = weight * norm[0], offset * norm[0] + norm[1]
        if layer.shape[:2] != (1, 1):
            matrix = self._initializer(f"{layer.path}.weight", weight)
            product = self._writer(position).node("MatMul", [self._as_tokens(layer.inputs[0]), matrix])
            bias = self._initializer(f"{layer.path}.bias", offset)
            self._node("Add", position, [product, bias], tokens=True)
            return
        bias = self._initializer(f"{layer.path}.bias", offset)
        if self._gates(position):
            kernel = self._initializer(f"{layer.path}.weight", weight.T[:, :, None, None])
            self._node("Conv", position, [self._image(layer.inputs[0]), kernel, bias], kernel_shape=[1, 1])
        else:
            matrix = self._initializer(f"{layer.path}.weight", weight)
            self._node("Gemm", position, [self._vector(layer.inputs[0]), matrix, bias], flat=True)

    def _gates(self, position: int) -> bool:
        """Whether everything that reads this vector leads, through dense layers and elementwise ones, to a scale."""
        readers = self.readers[position]
        return bool(readers) and all(
            isinstance(self.layers[i], Scale)
            or (isinstance(self.layers[i], Dense | Norm | Activation) and self._gates(i))
            for i in readers
        )

    def _norm(self, position: int, layer: Norm) -> None:
        source = layer.inputs[0]
        if position in self.folded:
            self.names[position] = self.names[source]
            self.flat |= {position} if source in self.flat else set()
            self.tokens |= {position} if source in self.tokens else set()
            return
        names = ("scale", "bias", "mean", "var")
        statistics = [
            self._initializer(f"{layer.path}.{name}", values)
            for name, values in zip(names, self._statistics(layer), strict=True)
        ]
        inputs = [self._image(source) if source in self.tokens else self.names[source], *statistics]
        self._node("BatchNormalization", position, inputs, flat=source in self.flat, epsilon=layer.epsilon)

    def _activation(self, position: int, layer: Activation) -> None:
        source = layer.inputs[0]
        inputs, flat, tokens = [self.names[source]], source in self.flat, source in self.tokens
        match layer.kind:
            case "relu":
                self._node("Relu", position, inputs, flat, tokens)
            case "hard_swish":
                self._node("HardSwish", position, inputs, flat, tokens)
            case "hard_sigmoid":
                self._node("HardSigmoid", position, inputs, flat, tokens, alpha=1 / 6, beta=0.5)
            case "gelu":
                self._node("Gelu", position, inputs, flat, tokens)
            case _:
                raise ValueError(
                    f"layer {position} is an Activation `{layer.kind}`, which has no ONNX operator here;"
                    " add a case to hardware/onnx_export.py"
                )

    def _check(self, position: int) -> None:
        """Raises unless the layer's shape follows from its inputs as the written operator will have it."""
        layer = self.layers[position]
        shapes = [self.layers[i].shape for i in layer.inputs]
        expected = layer.shape
        match layer:
            case Conv() | Depthwise():
                if layer.kernel % 2 == 0:
                    raise ValueError(f"layer {position} (`{layer.path}`): `kernel` must be odd, got {layer.kernel}")
                height, width, in_channels = shapes[0]
                out = layer.shape[-1] if isinstance(layer, Conv) else in_channels
                expected = (math.ceil(height / layer.stride), math.ceil(width / layer.stride), out)
            case Dense():
                expected = (*shapes[0][:2], layer.shape[-1])
                if shapes[0][-1] != layer.in_channels or layer.shape[:2] == (1, 1) != shapes[0][:2]:
                    raise ValueError(
                        f"layer {position} (`{layer.path}`): a Dense reads a vector (1, 1, {layer.in_channels}),"
                        f" got {shapes[0]}; pool it first"
                    )
            case GlobalPool():
                expected = (1, 1, shapes[0][-1])
            case AvgPool():
                *size, channels = shapes[0]
                height, width = (pooled(side, layer.kernel, layer.stride) for side in size)
                expected = (height, width, channels)
            case Norm() | Activation() | Add() | Zeros():
                expected = _only(shapes)
            case Scale():
                expected = shapes[0] if shapes[1] == (1, 1, shapes[0][-1]) else shapes[1]
            case _ if isinstance(layer, onnx_tokens.GIVES_TOKENS | onnx_tokens.GIVES_PAIRS):
                expected = onnx_tokens.shape_of(layer, shapes)
            case _:
                pass
        if layer.shape != expected:
            raise ValueError(
                f"layer {position} ({type(layer).__name__} `{layer.path}`) has shape {layer.shape}, but its inputs"
                f" {shapes} give {expected}"
            )


def _only(shapes: Iterable[Shape]) -> Shape | None:
    found = set(shapes)
    return found.pop() if len(found) == 1 else None

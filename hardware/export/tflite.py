"""Writes a network as a TFLite file straight from its layers, in the operators that LiteRT has fast routines for."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from hardware.costs.precision import Precision
from hardware.export import tflite_images, tflite_tokens
from hardware.export.calibration import calibration_of
from hardware.export.source import source_of
from hardware.export.tflite_graph import Tensor, TfGraph
from hardware.runtimes.missing import need
from hardware.runtimes.quiet import quiet
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

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


def to_tflite(
    layers: Sequence[Layer],
    weights: Mapping[str, np.ndarray],
    precision: Precision = "fp32",
    calibration: Float[np.ndarray, "images height width channels"] | None = None,
) -> bytes:
    """The network as a TFLite file that takes one image `[1, height, width, channels]`.

    A network that ends in a dense layer of a vector gives `[1, channels]`, one that ends in tokens `[1, tokens,
    channels]`, any other `[1, height, width, channels]`. In int8 images and answers are int8 too; the file has their
    scales. In fp16 only the weights are, as they lie in the file.

    Layers that can't change the answer are left out and norms folded, as in `onnx_export.py`. Every padding is ours,
    exactly: "SAME" where that is the same, else zeros put around the image first, which XNNPACK takes into the
    convolution.

    What surprised us, with TensorFlow 2.21 and ai-edge-litert 2.3:

    - The converter's newer quantiser leaves some layers in floats without a word, as where a pooled tensor that others
      read too is joined to another; and it gives all that is joined one scale, back to where it was made: of 16 random
      networks 4 were 13-27 % of their range off, against 1-5 % with the older one, which is taken here.
    - The older one gives equal biases one scale (`TfGraph.bias`): MobileNetV3-small was 19 % off, and is 2.7 % now.
    - Integers need not be faster: XNNPACK has no int8 hard-swish, softmax or GELU, and LiteRT's own are slow. Its time
      in int8 over that in fp32 on an AMD EPYC with AVX-512 VNNI, one thread, weights random: ResNet-8 0.31,
      SqueezeNet 1.1 0.29, MobileNetV2 0.35 0.63, MobileNetV3-small 2.4, DeiT-tiny 1.6. Bytes: 0.28 times as many
      (`python -m experiments.benchmarks.exports`).

    Args:
      layers: the graph in execution order, with one `Input` and one output.
      weights: arrays by `<layer.path>.<name>`, as `hardware/export/weights.py` says.
      precision: `fp32`, `fp16` or `int8`.
      calibration: images, normalised as in training, which give int8 its ranges; others have no need of them.

    Raises:
      ValueError: when TensorFlow is not installed; when weights or layers are not those of one network (`source_of`);
        on a layer that has no operator here, or that the converter refuses; in int8 without calibration images, or
        with wrong ones.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"a TFLite file holds {', '.join(PRECISIONS)} here, got `{precision}`")
    source = source_of(layers, weights)
    images = calibration_of(source.layers, calibration) if precision == "int8" else None
    with quiet():
        tf = need("tensorflow", "tflite")
        image = tf.TensorSpec((1, *source.layers[0].shape), tf.float32, "image")
        network = tf.function(lambda image: _network(TfGraph(tf, source, precision == "int8"), image), autograph=False)
        concrete = network.get_concrete_function(image)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], network)
        if precision != "fp32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "fp16":
            converter.target_spec.supported_types = [tf.float16]
        if images is not None:
            converter.representative_dataset = lambda: ([image[None]] for image in images)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.experimental_new_quantizer = False
            converter.inference_input_type = converter.inference_output_type = tf.int8
        with warnings.catch_warnings():  # it asks for statistics that the calibration gives
            warnings.filterwarnings("ignore", "Statistics for quantized inputs", UserWarning)
            try:
                return converter.convert()
            except Exception as error:  # the converter's own exceptions share no base but Exception
                why = " ".join(str(error).split())[:300]
                raise ValueError(
                    f"TensorFlow {tf.__version__} cannot convert the network to {precision}: {why}"
                ) from error


def _network(graph: TfGraph, image: Any) -> Any:
    """The output of all layers, one after the other."""
    for position in range(len(graph.layers)):
        graph.tensors.append(_written(graph, position, image))
    output = graph.source.output
    if graph.layout(output) == "tokens":
        return graph.tf.expand_dims(graph.read(output, "tokens"), 0)
    return graph.read(output, "image" if graph.layout(output) == "pairs" else graph.layout(output))


def _written(graph: TfGraph, position: int, image: Any) -> Tensor:
    """The tensor of one layer."""
    layer = graph.layers[position]
    match layer:
        case Input():
            return Tensor(image, "image")
        case Conv() | Depthwise():
            return tflite_images.convolution(graph, position, layer)
        case Dense():
            return tflite_images.dense(graph, position, layer)
        case Norm():
            return tflite_images.normalisation(graph, layer)
        case Activation():
            return tflite_images.activation(graph, position, layer)
        case GlobalPool():
            return tflite_images.global_pool(graph, position)
        case AvgPool():
            return tflite_images.avg_pool(graph, layer)
        case MaxPool():
            return tflite_images.max_pool(graph, layer)
        case Concat() | Channels() | Shuffle():
            return tflite_images.joined(graph, layer)
        case Flatten():
            return Tensor(graph.read(layer.inputs[0], "vector"), "vector")
        case Tokens():
            return Tensor(graph.read(layer.inputs[0], "tokens"), "tokens")
        case Zeros():
            source = graph.tensors[layer.inputs[0]]
            return Tensor(graph.tf.zeros(source.value.shape), source.layout)
        case Add():
            layout = graph.shared_layout(layer.inputs)
            one, other = (graph.read(i, layout) for i in layer.inputs)
            return Tensor(one + other, layout)
        case Scale():
            one, other = (graph.read(i, "image") for i in layer.inputs)
            return Tensor(one * other, "image")
        case _ if isinstance(layer, tflite_tokens.GIVES_TOKENS | tflite_tokens.GIVES_PAIRS):
            return tflite_tokens.attention(graph, position, layer)
        case Elementwise():
            raise ValueError(
                f"layer {position} is the elementwise operation `{layer.operation}`, which no layer has a name for and"
                " TFLite no operator here; use a nonlinearity of `search_spaces.layers.Activation`, a sum or a scale"
            )
        case _:
            raise ValueError(
                f"layer {position} (`{layer.path}`) is a {type(layer).__name__}, which has no TFLite operator here;"
                " add a case to hardware/export/tflite.py"
            )

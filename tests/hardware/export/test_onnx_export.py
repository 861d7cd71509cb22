"""The exported model answers as the layers say, computed here with plain loops over taps."""

import numpy as np
import onnx
import pytest

from hardware.export.onnx_export import to_onnx
from hardware.export.weights import random_weights, weight_shapes
from hardware.runtimes.onnx_runtime import OnnxRuntime
from search_spaces.graph import Graph
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
    Zeros,
)


def reference(layers, weights, images):
    """The network in float64, `[batch, height, width, channels]` in and out."""
    tensors = []
    for layer in layers:
        x = [tensors[i] for i in layer.inputs]

        def weight(name, layer=layer):
            return weights[f"{layer.path}.{name}"].astype(np.float64)

        match layer:
            case Input():
                y = images.astype(np.float64)
            case Conv() | Depthwise():
                k, stride, pad = layer.kernel, layer.stride, layer.kernel // 2
                padded = np.pad(x[0], ((0, 0), (pad, pad), (pad, pad), (0, 0)))
                height, width, _ = layer.shape
                y = np.zeros((len(images), *layer.shape))
                for i in range(k):
                    for j in range(k):
                        tap = padded[:, i : i + stride * height : stride, j : j + stride * width : stride]
                        tap = tap[:, :height, :width]
                        matrix = weight("weight")[i, j]
                        y += tap * matrix[0] if isinstance(layer, Depthwise) else tap @ matrix
            case Dense():
                y = x[0] @ weight("weight") + weight("bias")
            case Norm():
                y = (x[0] - weight("mean")) / np.sqrt(weight("var") + layer.epsilon) * weight("scale") + weight("bias")
            case Activation(kind="relu"):
                y = np.maximum(x[0], 0)
            case Activation(kind="hard_sigmoid"):
                y = np.clip(x[0] + 3, 0, 6) / 6
            case Activation(kind="hard_swish"):
                y = x[0] * np.clip(x[0] + 3, 0, 6) / 6
            case GlobalPool():
                y = x[0].mean((1, 2), keepdims=True)
            case AvgPool():
                pad = layer.kernel // 2 if layer.kernel % 2 else 0
                height, width, _ = layer.shape
                y = np.zeros((len(images), *layer.shape))
                for i in range(height):
                    for j in range(width):
                        top, left = i * layer.stride - pad, j * layer.stride - pad
                        window = x[0][:, max(top, 0) : top + layer.kernel, max(left, 0) : left + layer.kernel]
                        y[:, i, j] = window.mean((1, 2))
            case Zeros():
                y = 0 * x[0]
            case Add():
                y = x[0] + x[1]
            case Scale():
                y = x[0] * x[1]
        tensors.append(y)
    return tensors[-1]


def lively(layers, seed=0):
    """Weights in which every number matters, norms included."""
    rng = np.random.default_rng(seed)
    weights = random_weights(layers, seed)
    for name, values in weights.items():
        if values.ndim == 1:
            low, high = (0.5, 2) if name.endswith((".var", ".scale")) else (-0.5, 0.5)
            weights[name] = rng.uniform(low, high, values.shape).astype(np.float32)
    return weights


def run(layers, weights, images):
    runtime = OnnxRuntime()
    return runtime.run(runtime.prepare(layers, weights), images)


def every_kind(height, width, kernel, stride):
    graph = Graph((height, width, 3))
    x = graph.activation(graph.norm(graph.conv(0, 8, "stem", kernel, stride), "stem_norm", 1e-3), "hard_swish")
    y = graph.activation(graph.norm(graph.conv(x, 16, "expand"), "expand_norm", 1e-5), "relu")
    y = graph.activation(graph.norm(graph.depthwise(y, "dw", kernel), "dw_norm", 1e-5), "hard_swish")
    gate = graph.activation(graph.dense(graph.global_pool(y), 4, "squeeze"), "relu")
    y = graph.scale(y, graph.activation(graph.dense(gate, 16, "excite"), "hard_sigmoid"))
    y = graph.norm(graph.conv(y, 8, "project"), "project_norm", 1e-5)
    x = graph.norm(graph.sum(x, y), "alone_norm", 1e-5)  # follows no convolution: not folded
    x = graph.activation(graph.depthwise(x, "down", kernel, stride), "relu")
    x = graph.activation(graph.norm(graph.dense(graph.global_pool(x), 12, "mix"), "mix_norm", 1e-5), "hard_swish")
    graph.dense(x, 5, "classifier")
    return tuple(graph.layers)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (9, 7), (12, 5)])
def test_the_model_answers_as_the_layers_say(size, stride, kernel):
    layers = every_kind(*size, kernel, stride)
    weights = lively(layers)
    images = np.random.default_rng(1).normal(size=(2, *size, 3)).astype(np.float32)
    np.testing.assert_allclose(
        run(layers, weights, images), reference(layers, weights, images)[:, 0, 0], rtol=1e-5, atol=1e-5
    )


def test_a_network_without_a_dense_end_gives_an_image():
    graph = Graph((6, 6, 3))
    conv = graph.conv(0, 4, "a", kernel=3)
    graph.sum(conv, graph.norm(conv, "a_norm", 1e-5))  # read twice: the norm cannot be folded
    weights = lively(graph.layers)
    images = np.random.default_rng(1).normal(size=(3, 6, 6, 3)).astype(np.float32)
    expected = reference(graph.layers, weights, images)
    np.testing.assert_allclose(run(graph.layers, weights, images), expected, rtol=1e-5, atol=1e-5)


def test_vectors_and_pooled_images_mix():
    graph = Graph((4, 4, 3))
    pooled = graph.global_pool(0)
    vector = graph.dense(pooled, 3, "a")
    x = graph.sum(graph.activation(vector, "relu"), graph.norm(vector, "norm", 1e-5))
    x = graph.conv(graph.sum(x, pooled), 6, "b")  # a convolution of a vector
    graph.dense(x, 2, "c")
    layers = tuple(graph.layers)
    weights = lively(layers)
    images = np.random.default_rng(1).normal(size=(2, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(
        run(layers, weights, images), reference(layers, weights, images)[:, 0, 0], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 1), (3, 2), (5, 1)])
def test_pooling_counts_no_padding(kernel, stride):
    graph = Graph((7, 6, 3))
    graph.conv(graph.avg_pool(0, kernel, stride), 4, "a")
    weights = lively(graph.layers)
    images = np.random.default_rng(1).normal(loc=3, size=(2, 7, 6, 3)).astype(np.float32)
    expected = reference(graph.layers, weights, images)
    np.testing.assert_allclose(run(graph.layers, weights, images), expected, rtol=1e-5, atol=1e-5)


def test_zeros_and_what_only_they_read_are_not_exported():
    graph = Graph((6, 6, 3))
    dead = graph.norm(graph.conv(0, 3, "dead"), "dead_norm", 1e-5)
    x = graph.norm(graph.conv(0, 3, "a", kernel=3), "a_norm", 1e-5)
    graph.dense(graph.global_pool(graph.sum(x, graph.zeros(dead))), 2, "b")
    weights = lively(graph.layers)
    images = np.random.default_rng(1).normal(size=(2, 6, 6, 3)).astype(np.float32)
    expected = reference(graph.layers, weights, images)[:, 0, 0]
    np.testing.assert_allclose(run(graph.layers, weights, images), expected, rtol=1e-5, atol=1e-5)
    ops = [node.op_type for node in to_onnx(graph.layers, weights).graph.node]
    assert ops == ["Conv", "GlobalAveragePool", "Flatten", "Gemm"]
    with pytest.raises(ValueError, match=r"1 missing \['dead.weight'\]"):  # all that the layers name is asked for
        to_onnx(graph.layers, {name: values for name, values in weights.items() if name != "dead.weight"})


def test_a_network_that_never_sees_its_image_is_exported_too():
    graph = Graph((4, 4, 3))
    x = graph.norm(graph.sum(graph.zeros(0), graph.zeros(0)), "norm", 1e-5)
    graph.dense(graph.global_pool(x), 2, "b")
    weights = lively(graph.layers)
    images = np.random.default_rng(1).normal(size=(2, 4, 4, 3)).astype(np.float32)
    answers = run(graph.layers, weights, images)
    np.testing.assert_allclose(answers, reference(graph.layers, weights, images)[:, 0, 0], rtol=1e-5, atol=1e-5)
    assert np.array_equal(answers[0], answers[1])


def test_norms_are_folded_and_the_runtime_has_its_own_operators():
    layers = every_kind(8, 8, 3, 2)
    model = to_onnx(layers, lively(layers), input_name="photo", output_name="scores")
    ops = [node.op_type for node in model.graph.node]
    assert ops.count("BatchNormalization") == 1  # the one that follows a sum
    assert {"HardSwish", "HardSigmoid", "GlobalAveragePool"} <= set(ops)
    assert not {"Transpose", "Reshape", "Identity"} & set(ops)
    onnx.checker.check_model(model, full_check=True)
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == ["batch", 3, 8, 8]
    assert (model.graph.input[0].name, model.graph.output[0].name) == ("photo", "scores")
    assert {p.key: p.value for p in model.metadata_props}["input_layout"] == "NCHW"
    assert "[batch, channels, height, width]" in model.doc_string


def test_what_cannot_be_exported_is_named():
    class Softmax(Layer):
        pass

    graph = Graph((4, 4, 3))
    graph.conv(0, 4, "a", kernel=3)
    graph.dense(graph.global_pool(1), 2, "b")
    layers = tuple(graph.layers)
    weights = random_weights(layers)

    with pytest.raises(ValueError, match=r"layer 4 .*Softmax"):
        to_onnx((*layers, Softmax(inputs=(3,), shape=(1, 1, 2))), weights)
    with pytest.raises(ValueError, match=r"1 missing \['b.bias'\]"):
        to_onnx(layers, {name: w for name, w in weights.items() if name != "b.bias"})
    with pytest.raises(ValueError, match=r"1 that no layer has \['c.weight'\]"):
        to_onnx(layers, {**weights, "c.weight": weights["b.weight"]})
    with pytest.raises(ValueError, match=r"`b.weight` must be \(4, 2\), got \(2, 4\)"):
        to_onnx(layers, {**weights, "b.weight": weights["b.weight"].T})
    with pytest.raises(ValueError, match="one input and one output"):
        to_onnx((*layers, GlobalPool(inputs=(1,), shape=(1, 1, 4))), weights)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Conv(inputs=(0,), shape=(4, 4, 2), path="a", in_channels=3, kernel=4), "has shape"),
        (Conv(inputs=(0,), shape=(3, 3, 2), path="a", in_channels=3, kernel=3), "has shape"),
        (Dense(inputs=(0,), shape=(1, 1, 2), path="a", in_channels=3), "reads a vector"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layer, message):
    layers = (Input(shape=(4, 4, 3)), layer)
    with pytest.raises(ValueError, match=message):
        to_onnx(layers, random_weights(layers))


def test_two_layers_cannot_share_a_path():
    graph = Graph((4, 4, 3))
    graph.conv(graph.conv(0, 3, "a"), 3, "a")
    with pytest.raises(ValueError, match="path `a`"):
        weight_shapes(graph.layers)

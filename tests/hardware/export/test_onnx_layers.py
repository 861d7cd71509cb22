"""Each layer that is exported answers as XLA's own convolution, window or function does, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from jax import lax

from hardware.export.onnx_export import to_onnx
from hardware.export.weights import random_weights, weight_shapes
from hardware.runtimes.onnx_runtime import OnnxRuntime
from search_spaces.graph import Graph
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
    MaxPool,
    Norm,
    Scale,
    Shuffle,
    Tokens,
    Zeros,
    ceil_padding,
    same_padding,
)

FUNCTIONS = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "hard_swish": jax.nn.hard_swish,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "swish": jax.nn.silu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
}


@pytest.fixture(autouse=True, scope="module")
def _quick_compiles():
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def convolved(x, weight, layer, groups):
    rows, columns = (layer.dilation * (size // 2) for size in weight.shape[:2])
    above, below, left, right = getattr(layer, "padding", None) or (rows, rows, columns, columns)
    return lax.conv_general_dilated(
        x,
        weight,
        (layer.stride,) * 2,
        [(above, below), (left, right)],
        rhs_dilation=(layer.dilation,) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def window(x, layer, start, combine):
    pad = layer.kernel // 2 if layer.kernel % 2 else 0
    above, below, left, right = layer.padding or (pad,) * 4
    around = [(0, 0), (above, below), (left, right), (0, 0)]
    return lax.reduce_window(x, start, combine, (1, *(layer.kernel,) * 2, 1), (1, *(layer.stride,) * 2, 1), around)


def answer(layer, x, weight):
    match layer:
        case Conv():
            return convolved(x[0], weight("weight"), layer, layer.groups) + (weight("bias") if layer.bias else 0)
        case Depthwise():
            channels = layer.shape[-1]
            return convolved(x[0], weight("weight"), layer, channels) + (weight("bias") if layer.bias else 0)
        case Dense():
            return x[0] @ weight("weight") + (weight("bias") if layer.bias else 0)
        case Norm():
            normal = (x[0] - weight("mean")) / jnp.sqrt(weight("var") + layer.epsilon)
            return normal * weight("scale") + weight("bias")
        case Activation():
            return FUNCTIONS[layer.kind](x[0])
        case GlobalPool():
            return x[0].mean((1, 2), keepdims=True)
        case AvgPool():
            return window(x[0], layer, 0.0, lax.add) / window(jnp.ones_like(x[0]), layer, 0.0, lax.add)
        case MaxPool():
            return window(x[0], layer, -jnp.inf, lax.max)
        case Concat():
            return jnp.concatenate(x, -1)
        case Channels():
            return x[0][..., layer.start : layer.start + layer.shape[-1]]
        case Shuffle():  # channel c of the output is channel c // groups of group c % groups
            each = layer.shape[-1] // layer.groups
            return x[0][..., [c % layer.groups * each + c // layer.groups for c in range(layer.shape[-1])]]
        case Flatten() | Tokens():
            return x[0].reshape(len(x[0]), *layer.shape)
        case Zeros():
            return jnp.zeros_like(x[0])
        case Add():
            return x[0] + x[1]
        case Scale():
            return x[0] * x[1]


def reference(layers, weights, images):
    """The network in float64, `[batch, height, width, channels]` in and out, in XLA's operations."""
    with jax.enable_x64(True):
        tensors = [jnp.asarray(images, jnp.float64)]
        for layer in layers[1:]:

            def weight(name, layer=layer):
                return jnp.asarray(weights[f"{layer.path}.{name}"], jnp.float64)

            tensors.append(answer(layer, [tensors[i] for i in layer.inputs], weight))
            assert tensors[-1].shape[1:] == layer.shape, layer
        return np.asarray(tensors[-1])


def agree(graph, lively, *, shape=None):
    """Exports, runs and compares; returns the operators written."""
    layers = tuple(graph.layers) if isinstance(graph, Graph) else graph
    weights = lively(layers)
    images = np.random.default_rng(1).normal(0.5, 2, (2, *layers[0].shape)).astype(np.float32)
    expected = reference(layers, weights, images)
    model, runtime = to_onnx(layers, weights), OnnxRuntime()
    got = runtime.run_session(runtime.load(model.SerializeToString()), images)
    if shape:
        assert got.shape == (2, *shape)
    np.testing.assert_allclose(
        got.reshape(expected.shape), expected, rtol=1e-5, atol=1e-5 * max(1, abs(expected).max())
    )
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(
    "more",
    [
        {"kernel": 3, "groups": 2},
        {"kernel": 1, "groups": 3},
        {"kernel": 3, "groups": 6, "stride": 2},  # each group makes two channels of one
        {"kernel": 3, "dilation": 2},
        {"kernel": 3, "dilation": 3, "stride": 2, "groups": 2},
        {"kernel": 3, "bias": True},
        {"kernel": 10, "kernel_width": 4, "stride": 2, "bias": True, "padding": same_padding((11, 10, 6), (10, 4), 2)},
        {"kernel": 1, "kernel_width": 7},
        {"kernel": 7, "kernel_width": 1, "dilation": 2, "groups": 2},
        {"kernel": 2, "stride": 2},
        {"kernel": 2, "stride": 2, "padding": (0, 0, 0, 0)},
        {"kernel": 11, "stride": 4, "padding": (2, 2, 2, 2)},  # AlexNet's first
        {"kernel": 3, "padding": (1, 2, 3, 0), "bias": True},
    ],
)
@pytest.mark.parametrize("normed", [False, True])
def test_convolutions(more, normed, lively):
    graph = Graph((11, 10, 6))
    x = graph.conv(0, 12, "a", **more)
    if normed:
        graph.norm(x, "norm", 1e-3)
    assert agree(graph, lively) == ["Conv"]  # bias and norm are in its weights


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 2), (5, 2, 1), (5, 1, 2), (3, 2, 1)])
def test_depthwise_convolutions(kernel, stride, dilation, bias, lively):
    graph = Graph((9, 8, 5))
    x = graph.depthwise(0, "a", kernel, stride, dilation, bias)
    graph.activation(graph.norm(x, "norm", 1e-3), "relu6")
    assert agree(graph, lively) == ["Conv", "Clip"]


@pytest.mark.parametrize("normed", [False, True])
def test_dense_layers_without_bias(normed, lively):
    graph = Graph((3, 3, 4))
    x = graph.dense(graph.global_pool(0), 6, "a", bias=False)
    graph.norm(x, "norm", 1e-3) if normed else x
    assert agree(graph, lively, shape=(6,)) == ["GlobalAveragePool", "Flatten", "Gemm"]
    graph = Graph((3, 3, 4))
    graph.dense(graph.tokens(0), 6, "a", bias=False)
    assert agree(graph, lively, shape=(9, 6)) == ["Reshape", "Transpose", "MatMul"]
    graph = Graph((3, 3, 4))
    graph.scale(0, graph.dense(graph.global_pool(0), 4, "a", bias=False))
    assert agree(graph, lively) == ["GlobalAveragePool", "Conv", "Mul"]


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_activations(kind, lively):
    graph = Graph((5, 4, 3))
    graph.activation(graph.conv(0, 8, "a", 3, bias=True), kind)
    agree(graph, lively)
    graph.activation(graph.tokens(len(graph.layers) - 1), kind)
    agree(graph, lively, shape=(20, 8))
    graph.dense(graph.activation(graph.flatten(len(graph.layers) - 1), kind), 2, "b")
    agree(graph, lively, shape=(2,))


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        (3, 1, None),
        (3, 2, None),
        (2, 2, None),
        (3, 2, (0, 0, 0, 0)),
        (3, 2, ceil_padding((8, 7, 3), 3, 2)),
        (2, 2, ceil_padding((8, 7, 3), 2, 2)),
        (3, 2, same_padding((8, 7, 3), (3, 3), 2)),
        (3, 1, (2, 0, 1, 2)),
        (2, 1, (0, 1, 1, 0)),
    ],
)
def test_pools_count_only_what_lies_on_the_image(kernel, stride, padding, kind, lively):
    graph = Graph((8, 7, 3))
    x = graph.conv(0, 4, "a", bias=True)
    pool = graph.max_pool if kind == "max" else graph.avg_pool
    x = pool(x, kernel, stride, padding)
    assert agree(graph, lively) == ["Conv", "MaxPool" if kind == "max" else "AveragePool"]


def test_a_largest_value_below_zero_stays_below_zero():
    graph = Graph((3, 3, 1))
    graph.max_pool(0, 3)
    images = np.full((1, 3, 3, 1), -5, np.float32)
    runtime = OnnxRuntime()
    assert (runtime.run(runtime.prepare(graph.layers, {}), images) == -5).all()


def test_channels_are_joined_taken_and_dealt_out(lively):
    graph = Graph((4, 3, 6))
    x = graph.concat([graph.conv(0, 4, "a"), 0, graph.conv(0, 2, "b")])
    graph.shuffle(graph.channels(x, 1, 9), 3)
    assert agree(graph, lively, shape=(4, 3, 9))[2:] == ["Concat", "Slice", "Reshape", "Transpose", "Reshape"]
    # channels of a position are 0 1 2 3 4 5: two groups of three, dealt out in turn
    graph = Graph((1, 1, 6))
    graph.shuffle(0, 2)
    runtime = OnnxRuntime()
    image = np.arange(6, dtype=np.float32).reshape(1, 1, 1, 6)
    assert runtime.run(runtime.prepare(graph.layers, {}), image).ravel().tolist() == [0, 3, 1, 4, 2, 5]


def test_vectors_and_tokens_are_joined_taken_and_dealt_out_too(lively):
    graph = Graph((3, 2, 4))
    tokens = graph.tokens(0)
    mapped = graph.dense(tokens, 6, "a")
    x = graph.shuffle(graph.channels(graph.concat([tokens, mapped, tokens]), 2, 8), 4)
    assert "Conv" not in agree(graph, lively, shape=(6, 8))
    vector = graph.dense(graph.flatten(x), 5, "b")
    x = graph.concat([vector, graph.dense(graph.global_pool(x), 3, "c")])
    graph.shuffle(graph.channels(x, 2, 6), 2)
    agree(graph, lively, shape=(6,))
    graph = Graph((3, 2, 4))  # tokens beside what a convolution of them leaves, which is an image
    tokens = graph.tokens(0)
    graph.concat([tokens, graph.conv(tokens, 3, "a", 3)])
    agree(graph, lively)


def test_flattening_costs_a_dense_layer_nothing(lively):
    graph = Graph((3, 4, 5))
    flat = graph.flatten(0)
    graph.sum(graph.dense(flat, 6, "a"), graph.dense(flat, 6, "b", bias=False))
    assert agree(graph, lively, shape=(6,)) == ["Flatten", "Gemm", "Gemm", "Add"]
    graph = Graph((3, 4, 5))
    graph.norm(graph.dense(graph.flatten(0), 6, "a", bias=False), "norm", 1e-3)
    assert agree(graph, lively, shape=(6,)) == ["Flatten", "Gemm"]


def test_what_else_reads_a_flattened_image_gets_it_in_the_layers_order(lively):
    graph = Graph((3, 4, 5))
    flat = graph.flatten(0)
    assert agree(graph, lively, shape=(60,)) == ["Transpose", "Flatten"]
    graph.dense(graph.activation(flat, "relu"), 6, "a")
    assert agree(graph, lively, shape=(6,)) == ["Transpose", "Flatten", "Relu", "Gemm"]
    graph = Graph((3, 4, 5))
    graph.flatten(graph.tokens(0))
    assert agree(graph, lively, shape=(60,)) == ["Reshape", "Transpose", "Flatten"]
    graph = Graph((3, 4, 1))
    graph.flatten(0)  # one channel: both orders are one
    assert agree(graph, lively, shape=(12,)) == ["Flatten"]
    graph = Graph((2, 2, 5))
    gate = graph.dense(graph.flatten(0), 5, "gate")  # leads to a scale: a 1x1 convolution of the vector
    graph.scale(0, gate)
    agree(graph, lively)
    graph = Graph((2, 2, 5))
    graph.flatten(graph.flatten(graph.flatten(0)))
    agree(graph, lively, shape=(20,))


def test_zeros_beside_others_in_a_concatenation(lively):
    graph = Graph((4, 4, 3))
    x = graph.conv(0, 3, "a", 3)
    graph.concat([graph.zeros(x), graph.sum(x, graph.zeros(0))])  # the second zeros drop out of their sum
    assert agree(graph, lively) == ["Conv", "Mul", "Concat"]
    graph = Graph((4, 4, 3))
    graph.dense(graph.concat([graph.zeros(graph.tokens(0)), graph.tokens(0)]), 2, "b")
    agree(graph, lively, shape=(16, 2))


def test_a_network_may_end_in_what_is_no_operator(lively):
    graph = Graph((4, 4, 3))
    tokens = graph.tokens(0)
    graph.tokens(tokens)
    assert agree(graph, lively, shape=(16, 3)) == ["Reshape", "Transpose"]
    agree((Input(shape=(2, 2, 3)),), lively, shape=(2, 2, 3))
    graph = Graph((2, 2, 3))
    graph.sum(tokens := graph.tokens(0), tokens)
    graph.tokens(len(graph.layers) - 1)
    agree(graph, lively, shape=(4, 3))


@pytest.mark.parametrize("seed", range(10))
def test_random_networks_of_every_kind(seed, random_network, lively):
    agree(random_network(np.random.default_rng(seed)), lively, shape=(4,))


@pytest.mark.parametrize("kind", ["relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "tanh"])
def test_onnxruntime_runs_the_activation_inside_the_convolution(kind, tmp_path):
    graph = Graph((8, 8, 16))
    x = graph.activation(graph.norm(graph.conv(0, 16, "a", 3), "norm", 1e-5), kind)
    graph.conv(graph.activation(graph.depthwise(x, "b", 3, bias=True), kind), 8, "c")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    model = to_onnx(graph.layers, random_weights(graph.layers)).SerializeToString()
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    ops = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    assert [op for op in ops if "Reorder" not in op] == ["Conv", "Conv", "Conv"]


def test_an_operation_without_a_layer_is_named():
    graph = Graph((4, 4, 3))
    graph.add(Elementwise(inputs=(0,), shape=(4, 4, 3), operation="erf_inv"))
    with pytest.raises(
        ValueError, match="layer 1 is the elementwise operation `erf_inv`, which no layer has a name for"
    ):
        to_onnx(graph.layers, {})


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            Conv(inputs=(0,), shape=(4, 4, 6), path="a", in_channels=4, kernel=3, groups=3),
            "must divide the 4 .* mean 1",
        ),
        (Conv(inputs=(0,), shape=(4, 4, 6), path="a", in_channels=6, kernel=3, groups=2), "has shape"),
        (Conv(inputs=(0,), shape=(4, 4, 6), path="a", in_channels=4, kernel=3, dilation=0), "`dilation` must be 1 or"),
        (Conv(inputs=(0,), shape=(4, 4, 6), path="a", in_channels=4, kernel=3, padding=(-1, 1, 1, 1)), "has shape"),
        (MaxPool(inputs=(0,), shape=(4, 4, 4), kernel=3, padding=(-1, 1, 1, 1)), "0 or more"),
        (Conv(inputs=(0,), shape=(0, 0, 6), path="a", in_channels=4, kernel=5, padding=(0, 0, 0, 0)), "has shape"),
        (Depthwise(inputs=(0,), shape=(4, 4, 6), path="a", kernel=3), "has shape"),
        (MaxPool(inputs=(0,), shape=(6, 6, 4), kernel=2, padding=(2, 2, 2, 2)), "must be below the window's 2"),
        (AvgPool(inputs=(0,), shape=(4, 4, 4), kernel=2), "has shape"),
        (Concat(inputs=(0, 0), shape=(4, 4, 4)), "has shape"),
        (Channels(inputs=(0,), shape=(4, 4, 3), start=2), "has shape"),
        (Shuffle(inputs=(0,), shape=(4, 4, 4), groups=3), "must divide its 4 channels, got 3"),
        (Flatten(inputs=(0,), shape=(1, 1, 60)), "has shape"),
        (Tokens(inputs=(0,), shape=(8, 1, 4)), "has shape"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layer, message):
    layers = (Input(shape=(4, 4, 4)), layer)
    with pytest.raises(ValueError, match=rf"layer 1 \({type(layer).__name__} `\w*`\).*{message}"):
        to_onnx(layers, {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(layers).items()})

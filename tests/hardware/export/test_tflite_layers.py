"""Each layer written as TFLite answers as its ONNX does, which is tested against XLA, by the operators it should."""

import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from hardware.export.tflite import to_tflite
from hardware.runtimes.litert import LiteRt
from hardware.runtimes.onnx_runtime import OnnxRuntime
from search_spaces.graph import Graph
from search_spaces.layers import (
    Elementwise,
    Input,
    Layer,
    ceil_padding,
    same_padding,
)

OPERATORS = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def operators(content):
    """The operators of a file, in its order."""
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    indices = [graph.Operators(i).OpcodeIndex() for i in range(graph.OperatorsLength())]
    return [OPERATORS[model.OperatorCodes(i).BuiltinCode()] for i in indices]


def holds_floats(content):
    """Whether any tensor of a file is of floats."""
    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    return any(graph.Tensors(i).Type() == schema.TensorType.FLOAT32 for i in range(graph.TensorsLength()))


def agree(graph, lively, *, shape=None, precision="fp32"):
    """Writes, runs and compares; returns the operators written."""
    layers = tuple(graph.layers) if isinstance(graph, Graph) else graph
    weights, onnx, litert = lively(layers), OnnxRuntime(), LiteRt()
    images = np.random.default_rng(1).normal(0.5, 2, (2, *layers[0].shape)).astype(np.float32)
    expected = onnx.run(onnx.prepare(layers, weights), images)
    artifact = litert.prepare(layers, weights, precision, images)
    got, greatest = litert.run(artifact, images), max(1, abs(expected).max())
    assert got.shape == expected.shape
    if shape:
        assert got.shape == (2, *shape)
    if precision == "int8":
        assert not holds_floats(artifact.content)
        assert abs(got - expected).max() < 0.08 * greatest
    else:
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * greatest)
    return operators(artifact.content)


@pytest.mark.parametrize(
    ("more", "written"),
    [
        ({"kernel": 3}, ["CONV_2D"]),  # its padding is TensorFlow's "SAME"
        ({"kernel": 3, "stride": 2}, ["PAD", "CONV_2D"]),  # on 11 x 10 "SAME" is 1 1 0 1, and ours 1 1 1 1
        ({"kernel": 3, "groups": 2}, ["CONV_2D"]),
        ({"kernel": 1, "groups": 3}, ["CONV_2D"]),
        ({"kernel": 3, "groups": 6, "stride": 2}, ["PAD", "DEPTHWISE_CONV_2D"]),  # each makes two channels of one
        ({"kernel": 3, "dilation": 2}, ["CONV_2D"]),
        ({"kernel": 3, "dilation": 3, "stride": 2, "groups": 2}, ["PAD", "CONV_2D"]),
        ({"kernel": 3, "bias": True}, ["CONV_2D"]),
        (
            {"kernel": 10, "kernel_width": 4, "stride": 2, "padding": same_padding((11, 10, 6), (10, 4), 2)},
            ["CONV_2D"],
        ),
        ({"kernel": 1, "kernel_width": 7}, ["CONV_2D"]),
        ({"kernel": 7, "kernel_width": 1, "dilation": 2, "groups": 2}, ["CONV_2D"]),
        ({"kernel": 2, "stride": 2}, ["PAD", "CONV_2D"]),
        ({"kernel": 2, "stride": 2, "padding": (0, 0, 0, 0)}, ["CONV_2D"]),
        ({"kernel": 11, "stride": 4, "padding": (2, 2, 2, 2)}, ["PAD", "CONV_2D"]),  # AlexNet's first
        ({"kernel": 3, "padding": (1, 2, 3, 0), "bias": True}, ["PAD", "CONV_2D"]),
        ({"kernel": 3, "padding": (-1, 2, 1, -2)}, ["SLICE", "PAD", "CONV_2D"]),
    ],
)
@pytest.mark.parametrize("normed", [False, True])
def test_convolutions(more, written, normed, lively):
    graph = Graph((11, 10, 6))
    x = graph.conv(0, 12, "a", **more)
    if normed:
        x = graph.activation(graph.norm(x, "norm", 1e-3), "relu6")
    assert agree(graph, lively) == written  # bias, norm and ReLU6 are in it


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 2), (5, 2, 1), (5, 1, 2), (3, 2, 1), (3, 2, 2)])
def test_depthwise_convolutions(kernel, stride, dilation, bias, lively):
    graph = Graph((9, 8, 5))
    x = graph.depthwise(0, "a", kernel, stride, dilation, bias)
    graph.activation(graph.norm(x, "norm", 1e-3), "relu")
    assert agree(graph, lively)[-1] == "DEPTHWISE_CONV_2D"


def test_dense_layers(lively):
    graph = Graph((3, 3, 4))
    graph.norm(graph.dense(graph.global_pool(0), 6, "a", bias=False), "norm", 1e-3)
    assert agree(graph, lively, shape=(6,)) == ["MEAN", "FULLY_CONNECTED"]
    graph = Graph((3, 3, 4))
    graph.dense(graph.tokens(0), 6, "a", bias=False)
    assert agree(graph, lively, shape=(9, 6)) == ["FULLY_CONNECTED", "RESHAPE"]
    graph = Graph((3, 3, 4))
    graph.scale(0, graph.dense(graph.global_pool(0), 4, "a"))  # broadcast as it is: nothing is reshaped
    assert agree(graph, lively) == ["MEAN", "FULLY_CONNECTED", "MUL"]
    graph = Graph((3, 4, 5))
    flat = graph.flatten(0)
    graph.sum(graph.dense(flat, 6, "a"), graph.dense(flat, 6, "b", bias=False))
    assert agree(graph, lively, shape=(6,)) == ["RESHAPE", "FULLY_CONNECTED", "FULLY_CONNECTED", "ADD"]


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("relu", []),
        ("relu6", []),
        ("hard_swish", ["HARD_SWISH"]),
        ("hard_sigmoid", ["MUL"]),  # its 3 is in the bias, and its ReLU6 in the convolution
        ("gelu", ["GELU"]),
        ("swish", ["LOGISTIC", "MUL"]),
        ("sigmoid", ["LOGISTIC"]),
        ("tanh", ["TANH"]),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_activations(kind, written, precision, lively):
    graph = Graph((5, 4, 3))
    graph.activation(graph.conv(0, 8, "a", 3, bias=True), kind)
    assert agree(graph, lively, precision=precision) == ["CONV_2D", *written]
    graph.activation(graph.tokens(len(graph.layers) - 1), kind)
    graph.dense(graph.activation(graph.flatten(len(graph.layers) - 1), kind), 2, "b")
    agree(graph, lively, shape=(2,), precision=precision)


PADDINGS = [
    (3, 1, None),
    (3, 2, None),
    (2, 2, None),
    (3, 2, (0, 0, 0, 0)),
    (3, 2, ceil_padding((8, 7, 3), 3, 2)),
    (2, 2, ceil_padding((8, 7, 3), 2, 2)),
    (3, 2, same_padding((8, 7, 3), (3, 3), 2)),
    (3, 1, (2, 0, 1, 2)),
    (2, 1, (0, 1, 1, 0)),
]


@pytest.mark.parametrize("kind", ["max_pool", "avg_pool"])
@pytest.mark.parametrize(("kernel", "stride", "padding"), PADDINGS)
def test_pools_count_only_what_lies_on_the_image(kernel, stride, padding, kind, lively):
    for before in ("tanh", "relu"):  # below zero, and never below
        graph = Graph((8, 7, 3))
        x = graph.activation(graph.conv(0, 4, "a", bias=True), before)
        getattr(graph, kind)(x, kernel, stride, padding)
        written = agree(graph, lively)
        assert ("MIRROR_PAD" in written) <= (kind == "max_pool" and before == "tanh")
    agree(graph, lively, precision="int8")


def test_a_largest_value_below_zero_stays_below_zero():
    graph = Graph((4, 4, 1))
    graph.max_pool(0, 3, 2)
    images = np.full((1, 4, 4, 1), -5, np.float32)
    assert (LiteRt().run(LiteRt().prepare(graph.layers, {}), images) == -5).all()
    assert (LiteRt().run(LiteRt().prepare(graph.layers, {}, "int8", images), images) == -5).all()


def test_channels_are_joined_taken_and_dealt_out(lively):
    graph = Graph((4, 3, 6))
    x = graph.concat([graph.conv(0, 4, "a"), 0, graph.conv(0, 2, "b")])
    graph.shuffle(graph.channels(x, 1, 9), 3)
    assert agree(graph, lively, shape=(4, 3, 9))[2:] == ["CONCATENATION", "SLICE", "RESHAPE", "TRANSPOSE", "RESHAPE"]
    agree(graph, lively, precision="int8")
    graph = Graph((3, 2, 4))
    tokens = graph.tokens(0)
    mapped = graph.dense(tokens, 6, "a")
    x = graph.shuffle(graph.channels(graph.concat([tokens, mapped, tokens]), 2, 8), 4)
    agree(graph, lively, shape=(6, 8))
    vector = graph.dense(graph.flatten(x), 5, "b")
    x = graph.concat([vector, graph.dense(graph.global_pool(x), 3, "c")])
    graph.shuffle(graph.channels(x, 2, 6), 2)
    agree(graph, lively, shape=(6,))
    graph = Graph((3, 2, 4))  # tokens beside what a convolution of them leaves, which is an image
    tokens = graph.tokens(0)
    graph.concat([tokens, graph.conv(tokens, 3, "a", 3)])
    agree(graph, lively)


@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_attention(class_token, precision, lively):
    graph = Graph((6, 6, 3))
    x = graph.positions(graph.patch_embed(0, 8, "patches", 2), "positions", class_token=class_token)
    x = graph.layer_norm(x, "norm", 1e-5)
    query, key, value = (graph.dense(x, 8, name) for name in ("query", "key", "value"))
    scores = graph.relative_scores(graph.scores(query, key, 4), query, "to_keys", 1, class_token)
    weighted = graph.softmax(scores)
    mixed = graph.relative_mix(graph.mix(weighted, value, 4), weighted, "to_values", 1, class_token)
    graph.dense(graph.activation(graph.dense(mixed, 8, "mlp"), "gelu"), 5, "end")
    written = agree(graph, lively, shape=(9 + class_token, 5), precision=precision)
    assert {"SOFTMAX", "BATCH_MATMUL", "GELU", "RSQRT"} <= set(written)
    assert written.count("SUM") == 2  # over rows and over columns; the class token's sum is 1
    if class_token:
        graph.take(len(graph.layers) - 1, 0, 1)
        agree(graph, lively, shape=(1, 5), precision=precision)


def test_relative_positions_of_what_is_no_softmax(lively):
    graph = Graph((4, 4, 3))
    x = graph.positions(graph.patch_embed(0, 8, "patches", 2), "positions", class_token=True)
    scores = graph.activation(graph.scores(x, x, 4), "sigmoid")
    mixed = graph.mix(scores, x, 4)
    graph.relative_mix(mixed, scores, "to_values", 1, True)
    agree(graph, lively, shape=(5, 8))


def test_pairs_of_tokens_are_read_as_images_too(lively):
    graph = Graph((3, 2, 4))
    tokens = graph.tokens(0)
    scores = graph.scores(tokens, graph.dense(tokens, 4, "keys"), 2)
    assert graph.shape(scores) == (6, 6, 2)
    agree(graph, lively, shape=(6, 6, 2))
    x = graph.norm(graph.concat([scores, scores]), "norm", 1e-5)
    graph.sum(graph.channels(x, 1, 2), scores)
    agree(graph, lively, shape=(6, 6, 2))


def test_zeros_that_no_sum_absorbs(lively):
    graph = Graph((4, 4, 3))
    x = graph.conv(0, 3, "a", 3)
    graph.concat([graph.zeros(x), graph.sum(x, graph.zeros(0))])
    agree(graph, lively)
    agree(graph, lively, precision="int8")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_network_that_never_sees_its_image_is_a_constant(precision, lively):
    graph = Graph((4, 4, 3))
    graph.dense(graph.global_pool(graph.norm(graph.zeros(0), "norm", 1e-5)), 2, "b")
    weights, images = lively(graph.layers), np.random.default_rng(1).normal(size=(2, 4, 4, 3)).astype(np.float32)
    artifact = LiteRt().prepare(graph.layers, weights, precision, images)
    # the norm leaves bias - mean * scale / sqrt(var + epsilon) of zeros, everywhere alike
    norm = {name: weights[f"norm.{name}"] for name in ("scale", "bias", "mean", "var")}
    left = norm["bias"] - norm["mean"] * norm["scale"] / np.sqrt(norm["var"] + 1e-5)
    expected = np.tile(left @ weights["b.weight"] + weights["b.bias"], (2, 1))
    np.testing.assert_allclose(LiteRt().run(artifact, images), expected, atol=1e-5)
    assert operators(artifact.content) == []


def test_a_network_may_end_in_what_is_no_operator(lively):
    graph = Graph((4, 4, 3))
    graph.tokens(graph.tokens(0))
    agree(graph, lively, shape=(16, 3))
    agree((Input(shape=(2, 2, 3)),), lively, shape=(2, 2, 3))


@pytest.mark.parametrize("seed", range(8))
def test_random_networks_of_every_kind(seed, random_network, lively):
    layers = random_network(np.random.default_rng(seed))
    agree(layers, lively, shape=(4,))
    agree(layers, lively, shape=(4,), precision="int8")


def test_a_pool_joined_to_others_leaves_no_floats(lively):
    """The converter's newer quantiser left a dense layer that reads `x` in floats here."""
    graph = Graph((8, 8, 3))
    x = graph.conv(0, 4, "a", 3)
    pooled = graph.max_pool(x, 2, 2)
    joined = graph.concat([pooled, graph.conv(pooled, 4, "b")])
    graph.concat([graph.dense(graph.flatten(x), 3, "c"), graph.dense(graph.flatten(joined), 3, "d")])
    agree(graph, lively, shape=(6,), precision="int8")


def test_equal_biases_keep_their_own_scales(lively):
    """Constants that are equal become one; integers of a bias are in units of what its own layer reads."""
    graph = Graph((4, 4, 3))
    x = graph.global_pool(0)
    for path in ("a", "b", "c"):  # without a bias: 3 is all that a hard sigmoid leaves in each
        gate = graph.activation(graph.dense(x, 3, path, bias=False), "hard_sigmoid")
        x = graph.concat([gate, graph.dense(x, 3, f"{path}{path}")])
    agree(graph, lively, shape=(6,), precision="int8")


def test_half_precision_halves_the_file(lively):
    graph = Graph((8, 8, 3))
    graph.conv(graph.conv(0, 64, "a", 3), 64, "b", 3)
    weights = lively(graph.layers)
    single, half = (len(to_tflite(graph.layers, weights, precision)) for precision in ("fp32", "fp16"))
    # 3 * 9 * 64 + 64 * 9 * 64 weights
    assert single - half == pytest.approx(2 * (27 + 576) * 64, rel=0.05)


def test_what_cannot_be_written_is_named(lively):
    class Twist(Layer):
        pass

    graph = Graph((4, 4, 3))
    with pytest.raises(ValueError, match=r"layer 1 \(`a`\) is a Twist, which has no TFLite operator"):
        to_tflite((*graph.layers, Twist(inputs=(0,), shape=(4, 4, 3), path="a")), {})
    with pytest.raises(ValueError, match="layer 1 is the elementwise operation `erf_inv`"):
        to_tflite((*graph.layers, Elementwise(inputs=(0,), shape=(4, 4, 3), operation="erf_inv")), {})


def test_integers_need_images(lively):
    graph = Graph((4, 4, 3))
    graph.conv(0, 2, "a")
    weights = lively(graph.layers)
    with pytest.raises(ValueError, match="give `calibration`, images normalised as in training"):
        to_tflite(graph.layers, weights, "int8")
    with pytest.raises(ValueError, match=r"must be images of \(4, 4, 3\), .* got \(4, 5, 3\)"):
        to_tflite(graph.layers, weights, "int8", np.zeros((1, 4, 5, 3), np.float32))
    with pytest.raises(ValueError, match="not finite"):
        to_tflite(graph.layers, weights, "int8", np.full((1, 4, 4, 3), np.nan, np.float32))


def test_what_the_converter_refuses_is_told_in_one_line(lively, monkeypatch):
    import tensorflow as tf

    def refuse(converter):
        raise RuntimeError("failed:\n  legalise")

    monkeypatch.setattr(tf.lite.TFLiteConverter, "convert", refuse)
    graph = Graph((4, 4, 3))
    graph.conv(0, 2, "a")
    with pytest.raises(ValueError, match=r"TensorFlow \S+ cannot convert the network to fp16: failed: legalise$"):
        to_tflite(graph.layers, lively(graph.layers), "fp16")


@pytest.mark.slow
def test_nothing_is_said_meanwhile():
    """By a process of its own: TensorFlow talks most while it is imported."""
    program = (
        "from hardware.runtimes.litert import LiteRt; from hardware.measuring.campaign import reference_network;"
        "from hardware.export.weights import random_images, random_weights; layers = reference_network();"
        "weights, images = random_weights(layers), random_images(layers);"
        "LiteRt().run(LiteRt().prepare(layers, weights, 'int8', images), images)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")

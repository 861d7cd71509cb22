"""Exported layers of tokens and attention answer as their definitions do, computed here in plain numpy."""

import numpy as np
import onnx
import pytest
from scipy.special import erf, softmax

from hardware.export.onnx_export import to_onnx
from hardware.export.weights import random_weights, weight_shapes
from hardware.runtimes.onnx_runtime import OnnxRuntime
from search_spaces.graph import Graph
from search_spaces.layers import (
    Activation,
    Add,
    Conv,
    Dense,
    GlobalPool,
    Input,
    LayerNorm,
    Mix,
    Norm,
    PatchEmbed,
    Positions,
    RelativeMix,
    RelativeScores,
    Scores,
    Softmax,
    Take,
)

HEAD_DIM, REACH = 4, 1


def reference(layers, weights, images):
    """The network in float64: `[batch, height, width, channels]` as our layers have it."""
    tensors = []
    for layer in layers:
        x = [tensors[i] for i in layer.inputs]

        def weight(name, layer=layer):
            return weights[f"{layer.path}.{name}"].astype(np.float64)

        match layer:
            case Input():
                y = images.astype(np.float64)
            case PatchEmbed(patch=p):
                height, width = x[0].shape[1] // p, x[0].shape[2] // p
                squares = [
                    x[0][:, p * i : p * (i + 1), p * j : p * (j + 1)] for i in range(height) for j in range(width)
                ]
                y = np.stack([np.tensordot(s, weight("weight"), 3) for s in squares], 1)[:, :, None] + weight("bias")
            case Positions():
                y = x[0]
                if layer.class_token:
                    y = np.concatenate([np.broadcast_to(weight("token"), (len(y), 1, *y.shape[2:])), y], 1)
                y = y + weight("weight")[:, None]
            case Take():
                y = x[0][:, layer.start : layer.start + layer.shape[0]]
            case LayerNorm():
                normal = (x[0] - x[0].mean(-1, keepdims=True)) / np.sqrt(x[0].var(-1, keepdims=True) + layer.epsilon)
                y = normal * weight("scale") + weight("bias")
            case Norm():
                y = (x[0] - weight("mean")) / np.sqrt(weight("var") + layer.epsilon) * weight("scale") + weight("bias")
            case Dense():
                y = x[0] @ weight("weight") + weight("bias")
            case Conv():
                y = x[0] @ weight("weight")[0, 0]  # only 1x1 here
            case Activation(kind="gelu"):
                y = x[0] * (1 + erf(x[0] / np.sqrt(2))) / 2
            case Activation(kind="relu"):
                y = np.maximum(x[0], 0)
            case Scores() | RelativeScores():
                query = heads(x[0] if isinstance(layer, Scores) else x[1])
                keys = heads(x[1])[:, None] if isinstance(layer, Scores) else vectors(layer, weight)[None, :, :, None]
                y = (query[:, :, None] * keys).sum(-1) / np.sqrt(HEAD_DIM)  # [batch, query, key, head]
                y = y if isinstance(layer, Scores) else x[0] + y
            case Softmax():
                y = softmax(x[0], 2)
            case Mix() | RelativeMix():
                attention = x[0] if isinstance(layer, Mix) else x[1]
                values = heads(x[1])[:, None] if isinstance(layer, Mix) else vectors(layer, weight)[None, :, :, None]
                y = (attention[..., None] * values).sum(2).reshape(*attention.shape[:2], 1, -1)
                y = y if isinstance(layer, Mix) else x[0] + y
            case GlobalPool():
                y = x[0].mean((1, 2), keepdims=True)
            case Add():
                y = x[0] + x[1]
        assert y.shape[1:] == layer.shape
        tensors.append(y)
    return tensors[-1]


def heads(tokens):
    return tokens.reshape(*tokens.shape[:2], -1, HEAD_DIM)


def vectors(layer, weight):
    """For each query and key the vector of their relative position."""
    found = np.zeros((layer.side**2, layer.side**2, HEAD_DIM))
    for query, key in np.ndindex(found.shape[:2]):
        (row, column), (key_row, key_column) = divmod(query, layer.side), divmod(key, layer.side)
        middle = layer.reach + layer.class_token
        found[query, key] = weight("rows")[middle + np.clip(key_row - row, -layer.reach, layer.reach)]
        found[query, key] += weight("columns")[middle + np.clip(key_column - column, -layer.reach, layer.reach)]
    if not layer.class_token:
        return found
    with_class = np.full((len(found) + 1, len(found) + 1, HEAD_DIM), weight("rows")[0] + weight("columns")[0])
    with_class[1:, 1:] = found
    return with_class


def lively(layers):
    """Weights in which every number matters."""
    rng = np.random.default_rng(0)
    named = {
        name: np.ones(shape) + rng.uniform(-0.5, 0.5, shape) if len(shape) == 1 else rng.normal(0, 0.5, shape)
        for name, shape in weight_shapes(layers).items()
    }
    return {name: values.astype(np.float32) for name, values in named.items()}


def agree(layers, batch=2):
    weights = lively(layers)
    images = np.random.default_rng(1).normal(size=(batch, *layers[0].shape)).astype(np.float32)
    expected = reference(layers, weights, images)
    runtime = OnnxRuntime()
    got = runtime.run(runtime.prepare(layers, weights), images)
    np.testing.assert_allclose(got.reshape(batch, -1), expected.reshape(batch, -1), rtol=1e-4, atol=1e-5)
    return got


def attention(graph, x, number_of_heads, class_token, relative):
    query, key, value = (graph.dense(x, number_of_heads * HEAD_DIM, f"attention.{n}") for n in "qkv")
    scores = graph.scores(query, key, HEAD_DIM)
    if relative:
        scores = graph.relative_scores(scores, query, "attention.to_keys", REACH, class_token)
    weights = graph.softmax(scores)
    h = graph.mix(weights, value, HEAD_DIM)
    return graph.relative_mix(h, weights, "attention.to_values", REACH, class_token) if relative else h


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("number_of_heads", [1, 3])
def test_the_model_answers_as_the_layers_say(number_of_heads, class_token, relative):
    graph = Graph((12, 12, 3))
    x = graph.positions(graph.patch_embed(0, 6, "patches", 4), "positions", class_token)
    h = attention(graph, graph.layer_norm(x, "norm", 1e-5), number_of_heads, class_token, relative)
    x = graph.sum(x, graph.dense(h, 6, "project"))
    x = graph.sum(x, graph.dense(graph.activation(graph.dense(x, 9, "expand"), "gelu"), 6, "shrink"))
    if class_token:
        pooled = graph.take(x, 0, 1)
        graph.dense(graph.layer_norm(pooled, "last_norm", 1e-6), 5, "classifier")
    else:
        graph.dense(graph.global_pool(graph.layer_norm(x, "last_norm", 1e-6)), 5, "classifier")
    assert agree(tuple(graph.layers)).shape == (2, 5)


def test_tokens_and_images_mix():
    graph = Graph((4, 6, 3))
    graph.layer_norm(graph.dense(0, 8, "dense"), "norm", 1e-5)  # at each position of an image
    assert agree(tuple(graph.layers)).shape == (2, 24, 8)
    graph = Graph((4, 4, 3))
    tokens = graph.patch_embed(0, 6, "patches", 2)
    y = graph.norm(graph.conv(tokens, 6, "conv"), "conv_norm", 1e-5)  # a convolution of tokens
    y = graph.activation(y, "relu")
    x = graph.norm(graph.sum(tokens, y), "alone_norm", 1e-5)  # tokens and an image added; not folded
    agree(tuple(graph.layers))
    graph.layer_norm(graph.take(x, 1, 2), "norm", 1e-5)
    assert agree(tuple(graph.layers), batch=3).shape == (3, 2, 6)  # a network that ends in tokens


def test_parameters_are_stored_once_and_no_table_is_blown_up():
    graph = Graph((12, 12, 3))
    x = graph.positions(graph.patch_embed(0, 8, "patches", 4), "positions", True)
    h = attention(graph, x, 2, True, True)
    graph.dense(graph.global_pool(h), 5, "classifier")
    model = to_onnx(graph.layers, random_weights(graph.layers))
    floats = [i for i in model.graph.initializer if i.data_type == onnx.TensorProto.FLOAT]
    stored = sum(int(np.prod(i.dims)) for i in floats)
    counted = sum(int(np.prod(shape)) for shape in weight_shapes(graph.layers).values())
    assert (
        stored == counted - 8 + 4 + 4 + 1
    )  # less the class token, which is in the positions; two sums of two table rows
    assert {"attention.to_keys.rows", "attention.q.weight", "positions.weight"} <= {i.name for i in floats}
    assert {node.op_type for node in model.graph.node} >= {"Softmax", "Gather"}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (PatchEmbed(inputs=(0,), shape=(4, 1, 2), path="a", in_channels=3, patch=3), "has shape"),
        (Take(inputs=(0,), shape=(3, 4, 3), start=2), "has shape"),
        (Positions(inputs=(0,), shape=(4, 4, 3), path="a", class_token=True), "has shape"),
        (Scores(inputs=(0, 0), shape=(4, 4, 1), head_dim=3), "has shape"),
        (Mix(inputs=(0, 0), shape=(4, 4, 3), head_dim=3), "has shape"),
        (Dense(inputs=(0,), shape=(4, 4, 2), path="a", in_channels=2), "a Dense reads"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layer, message):
    layers = (Input(shape=(4, 4, 3)), layer)
    with pytest.raises(ValueError, match=message):
        to_onnx(layers, random_weights(layers))

"""Networks run in JAX from their layers answer as onnxruntime does, which has its own operators for all of them."""

import jax
import numpy as np
import pytest

from hardware.export.folding import fold_norms
from hardware.export.jax_network import answer, run_layers
from hardware.export.source import source_of
from hardware.measuring.campaign import reference_network
from hardware.runtimes.onnx_runtime import OnnxRuntime
from search_spaces.graph import Graph
from search_spaces.layers import Conv, Elementwise, Input, Layer, Norm


@pytest.fixture(autouse=True, scope="module")
def _quick_compiles():
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def images_of(layers):
    return np.random.default_rng(1).normal(0.5, 2, (2, *layers[0].shape)).astype(np.float32)


def both(layers, weights):
    images, runtime = images_of(layers), OnnxRuntime()
    ours = np.asarray(answer(layers, run_layers(layers, weights, images)))
    return ours, runtime.run(runtime.prepare(layers, weights), images)


@pytest.mark.parametrize("seed", range(4))
def test_random_networks_of_every_kind_of_image_layer(seed, random_network, lively):
    layers = random_network(np.random.default_rng(seed))
    ours, theirs = both(layers, lively(layers))
    assert ours.shape == theirs.shape == (2, 4)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("class_token", [False, True])
def test_attention_with_relative_positions(class_token, lively):
    graph = Graph((12, 12, 3))
    x = graph.positions(graph.patch_embed(0, 6, "patches", 4), "positions", class_token)
    query, key, value = (graph.dense(graph.layer_norm(x, f"norm_{n}", 1e-5), 8, n) for n in "qkv")
    scores = graph.relative_scores(graph.scores(query, key, 4), query, "to_keys", 2, class_token)
    attention = graph.softmax(scores)
    h = graph.relative_mix(graph.mix(attention, value, 4), attention, "to_values", 2, class_token)
    x = graph.sum(x, graph.dense(h, 6, "project"))
    ours, theirs = both(tuple(graph.layers), lively(graph.layers))  # ends in tokens
    assert ours.shape == theirs.shape == (2, 9 + class_token, 6)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    graph.dense(graph.take(x, 0, 1), 5, "classifier")
    ours, theirs = both(tuple(graph.layers), lively(graph.layers))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_negative_padding_crops(lively):
    graph = Graph((9, 9, 4))
    odd = graph.conv(0, 6, "odd", 1, 2, padding=(-1, 1, -1, 1))  # what the other paths of DARTS's reductions read
    graph.conv(odd, 6, "cut", 3, padding=(1, -2, 0, -1))
    ours, theirs = both(tuple(graph.layers), lively(graph.layers))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_an_image_stays_one(lively):
    graph = Graph((6, 5, 3))
    graph.sum(graph.conv(0, 4, "a", 3), graph.conv(0, 4, "b"))
    ours, theirs = both(tuple(graph.layers), lively(graph.layers))
    assert ours.shape == (2, 6, 5, 4)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_folding_leaves_the_answers_and_takes_the_norms(lively):
    layers = reference_network()
    weights = lively(layers)
    folded, values = fold_norms(source_of(layers, weights))
    norms = [layer for layer in layers if isinstance(layer, Norm)]
    assert len(norms) == 7  # the stem's and three in each of two blocks
    assert len(folded) == len(layers) - 7
    assert not [layer for layer in folded if isinstance(layer, Norm)]
    assert all(layer.bias for layer in folded if isinstance(layer, Conv))
    assert {name: array.dtype for name, array in values.items()} == dict.fromkeys(values, np.float32)
    images = images_of(layers)
    before, after = (run_layers(ls, ws, images) for ls, ws in ((layers, weights), (folded, values)))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_a_norm_that_two_read_stays(lively):
    graph = Graph((4, 4, 3))
    x = graph.conv(0, 3, "a")
    graph.sum(x, graph.norm(x, "norm", 1e-5))
    folded, values = fold_norms(source_of(graph.layers, lively(graph.layers)))
    assert folded == tuple(graph.layers)
    assert set(values) == {"a.weight", "norm.scale", "norm.bias", "norm.mean", "norm.var"}


def test_layers_without_an_operation_are_named():
    class Sine(Layer):
        pass

    image, images = Input(shape=(2, 2, 1)), np.zeros((1, 2, 2, 1), np.float32)
    with pytest.raises(ValueError, match=r"layer 1 \(``\) is a Sine, which has no operation here"):
        run_layers((image, Sine(inputs=(0,), shape=(2, 2, 1))), {}, images)
    with pytest.raises(ValueError, match="layer 1 is the elementwise operation `erf_inv`"):
        run_layers((image, Elementwise(inputs=(0,), shape=(2, 2, 1), operation="erf_inv")), {}, images)

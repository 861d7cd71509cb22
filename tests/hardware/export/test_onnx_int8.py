"""ONNX in integers: which operators compute in them, and how near the answers are."""

import logging

import numpy as np
import onnx
import onnxruntime
import pytest

from hardware.export.onnx_export import to_onnx
from hardware.export.onnx_int8 import to_onnx_int8
from hardware.runtimes.onnx_runtime import OnnxRuntime
from search_spaces.graph import Graph


def convolutions():
    graph = Graph((8, 8, 3))
    x = graph.activation(graph.norm(graph.conv(0, 16, "a", 3), "a_norm", 1e-5), "relu6")
    y = graph.activation(graph.norm(graph.depthwise(x, "b", 3, 2), "b_norm", 1e-5), "hard_swish")
    gate = graph.activation(graph.dense(graph.global_pool(y), 16, "c"), "hard_sigmoid")
    x = graph.sum(graph.scale(y, gate), graph.max_pool(x, 2, 2))
    graph.dense(graph.global_pool(x), 5, "d")
    return tuple(graph.layers)


def images_of(layers, count=32):
    return np.random.default_rng(1).normal(0.5, 2, (count, *layers[0].shape)).astype(np.float32)


def test_it_answers_nearly_as_in_floats(lively):
    layers, runtime = convolutions(), OnnxRuntime()
    weights, images = lively(layers), images_of(layers)
    floats = runtime.run(runtime.prepare(layers, weights), images)
    integers = runtime.prepare(layers, weights, "int8", images)
    assert (integers.format, integers.precision) == ("onnx", "int8")
    assert abs(runtime.run(integers, images) - floats).max() < 0.05 * np.ptp(floats)
    assert runtime.run(integers, images[:1]).shape == (1, 5)  # a batch of any size


def test_convolutions_and_products_compute_in_integers(lively, tmp_path):
    layers = convolutions()
    model = to_onnx_int8(layers, lively(layers), images_of(layers))
    onnx.checker.check_model(model, full_check=True)
    assert {p.key: p.value for p in model.metadata_props} == {
        "input_layout": "NCHW",
        "precision": "int8",
        "input": "image: float32 [batch, channels, height, width], normalised as in training",
    }
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    quantised = {name: kind for name, kind in types.items() if name.endswith("weight_quantized")}
    assert len(quantised) == 4
    assert set(quantised.values()) == {onnx.TensorProto.INT8}
    scales = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name.endswith("weight_scale")}
    assert scales["a.weight_scale"].shape == (16,)  # each output channel has its own
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ops = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    assert ops.count("QLinearConv") == 3
    assert ops.count("QGemm") == 1
    assert not {"Conv", "Gemm"} & set(ops)


def test_layer_norms_stay_in_floats(lively):
    graph = Graph((4, 4, 3))
    x = graph.layer_norm(graph.patch_embed(0, 8, "patches", 2), "norm", 1e-5)
    graph.dense(x, 4, "a")
    model = to_onnx_int8(graph.layers, lively(graph.layers), images_of(graph.layers))
    names = {tensor.name for tensor in model.graph.initializer}
    assert {"norm.scale", "norm.bias"} <= names
    assert {"patches.weight_quantized", "a.weight_quantized"} <= names


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_of_every_kind(seed, random_network, lively):
    layers, runtime = random_network(np.random.default_rng(seed)), OnnxRuntime()
    weights, images = lively(layers), images_of(layers)
    floats = runtime.run(runtime.prepare(layers, weights), images)
    answers = runtime.run(runtime.prepare(layers, weights, "int8", images), images)
    assert abs(answers - floats).max() < 0.08 * abs(floats).max()


def test_it_leaves_neither_files_nor_words_behind(lively, tmp_path, monkeypatch, capfd):
    layers = convolutions()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    root = logging.getLogger()
    before = (list(root.handlers), list(root.filters), root.level)
    to_onnx_int8(layers, lively(layers), images_of(layers))
    assert list(tmp_path.iterdir()) == []
    assert (list(root.handlers), list(root.filters), root.level) == before
    assert capfd.readouterr() == ("", "")


def test_integers_are_smaller(lively):
    graph = Graph((8, 8, 16))
    graph.conv(graph.conv(0, 128, "a", 3), 128, "b", 3)
    weights = lively(graph.layers)
    floats = to_onnx(graph.layers, weights).ByteSize()
    assert to_onnx_int8(graph.layers, weights, images_of(graph.layers, 2)).ByteSize() < 0.27 * floats


def test_integers_need_images(lively):
    layers = convolutions()
    weights = lively(layers)
    for images in (None, images_of(layers, 0)):
        with pytest.raises(ValueError, match="give `calibration`, images normalised as in training"):
            OnnxRuntime().prepare(layers, weights, "int8", images)
    with pytest.raises(ValueError, match=r"must be images of \(8, 8, 3\), .* got \(8, 8, 1\)"):
        OnnxRuntime().prepare(layers, weights, "int8", np.zeros((1, 8, 8, 1), np.float32))

"""The runtime's settings and refusals."""

import os

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from hardware.export.weights import random_images, random_weights
from hardware.measuring.campaign import reference_network
from hardware.runtimes.onnx_runtime import OnnxRuntime
from hardware.runtimes.runtime import Runtime


def test_it_is_a_runtime_that_names_its_version():
    assert isinstance(OnnxRuntime(), Runtime)
    assert OnnxRuntime().version == f"onnxruntime {ort.__version__}"


def test_what_is_timed_runs_the_network():
    layers = reference_network()
    weights = random_weights(layers)
    artifact = OnnxRuntime().prepare(layers, weights)
    outputs = OnnxRuntime().ready(artifact)().copy_outputs_to_cpu()
    image = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    assert np.array_equal(outputs[0], OnnxRuntime().run(artifact, image.transpose(0, 2, 3, 1)))


def test_threads_are_at_most_the_cores():
    with pytest.raises(ValueError, match="`threads` must be 1 or more"):
        OnnxRuntime(threads=0)
    with pytest.raises(ValueError, match="`threads` must be 1 to"):
        OnnxRuntime(threads=(os.cpu_count() or 1) + 1).load(b"")


def test_a_broken_model_is_refused_in_one_line():
    layers = reference_network()
    content = OnnxRuntime().prepare(layers, random_weights(layers)).content
    for broken in (b"", b"no model", content[: len(content) // 2], onnx.ModelProto().SerializeToString()):
        with pytest.raises(ValueError, match=rf"refuses the model of {len(broken)} bytes: .") as refusal:
            OnnxRuntime().load(broken)
        assert "\n" not in str(refusal.value)


def test_images_of_another_size_are_refused():
    layers = reference_network()
    artifact = OnnxRuntime().prepare(layers, random_weights(layers))
    with pytest.raises(ValueError, match=r"reads images of \(32, 32, 3\), got \(30, 32, 3\)"):
        OnnxRuntime().run(artifact, np.zeros((1, 30, 32, 3), np.float32))


def test_integers_are_timed_on_images_in_floats():
    layers = reference_network()
    artifact = OnnxRuntime().prepare(layers, random_weights(layers), "int8", random_images(layers))
    (answer,) = OnnxRuntime().ready(artifact)().copy_outputs_to_cpu()
    assert answer.dtype == np.float32


def test_a_precision_it_has_not_is_refused():
    layers = reference_network()
    with pytest.raises(ValueError, match="fp32, int8 here, got `fp16`"):
        OnnxRuntime().prepare(layers, random_weights(layers), "fp16")

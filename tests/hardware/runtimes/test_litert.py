"""The runtime's settings and refusals, and what integers make of numbers."""

import os

import ai_edge_litert
import numpy as np
import pytest

from hardware.export.weights import random_images, random_weights
from hardware.measuring.campaign import reference_network
from hardware.runtimes.litert import LiteRt, dequantised, quantised
from hardware.runtimes.onnx_runtime import OnnxRuntime
from hardware.runtimes.runtime import Runtime

LAYERS = reference_network()
WEIGHTS = random_weights(LAYERS)
IMAGES = random_images(LAYERS, 3)


def test_it_is_a_runtime_that_names_its_version():
    assert isinstance(LiteRt(), Runtime)
    assert LiteRt().version == f"ai-edge-litert {ai_edge_litert.__version__}"


@pytest.mark.parametrize("precision", LiteRt().precisions)
def test_what_is_timed_runs_the_network(precision):
    runtime = LiteRt()
    artifact = runtime.prepare(LAYERS, WEIGHTS, precision, IMAGES)
    assert (artifact.format, artifact.precision, artifact.input_shape) == ("tflite", precision, (32, 32, 3))
    call = runtime.ready(artifact)
    call()
    interpreter = call()  # the image is still there
    (out,) = interpreter.get_output_details()
    timed = dequantised(interpreter.get_tensor(out["index"]), out)
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    assert np.array_equal(timed, runtime.run(artifact, image))


def test_images_are_answered_one_by_one():
    artifact = LiteRt().prepare(LAYERS, WEIGHTS)
    answers = LiteRt().run(artifact, IMAGES)
    assert answers.shape == (3, LAYERS[-1].shape[-1])
    assert np.array_equal(answers[1:2], LiteRt().run(artifact, IMAGES[1:2]))
    assert LiteRt().run(artifact, IMAGES[:0]).shape == (0, LAYERS[-1].shape[-1])


def test_it_answers_as_onnxruntime_does():
    onnx = OnnxRuntime()
    expected = onnx.run(onnx.prepare(LAYERS, WEIGHTS), IMAGES)
    for threads in (1, min(2, os.cpu_count() or 1)):
        runtime = LiteRt(threads=threads)
        np.testing.assert_allclose(runtime.run(runtime.prepare(LAYERS, WEIGHTS), IMAGES), expected, atol=1e-5)


def test_numbers_become_integers_and_come_back():
    details = {"quantization": (0.5, -3), "dtype": np.int8}
    values = np.array([0.0, 1.0, -1.1, 1e3, -1e3], np.float32)
    # 0 / 0.5 - 3; 1 / 0.5 - 3; -2.2 rounds to -2, -3 more; the ends of int8
    assert quantised(values, details).tolist() == [-3, -1, -5, 127, -128]
    assert dequantised(quantised(values, details), details).tolist() == [0.0, 1.0, -1.0, 65.0, -62.5]


def test_threads_are_at_most_the_cores():
    with pytest.raises(ValueError, match="`threads` must be 1 or more"):
        LiteRt(threads=0)
    with pytest.raises(ValueError, match="`threads` must be 1 to"):
        LiteRt(threads=(os.cpu_count() or 1) + 1).load(b"")


def test_a_broken_file_is_refused_in_one_line():
    content = LiteRt().prepare(LAYERS, WEIGHTS).content
    for broken in (b"", b"no model", content[: len(content) // 2], content[:8] + b"\xff" * (len(content) - 8)):
        with pytest.raises(ValueError, match=rf"refuses the model of {len(broken)} bytes: .") as refusal:
            LiteRt().load(broken)
        assert "\n" not in str(refusal.value)


def test_images_of_another_size_are_refused():
    artifact = LiteRt().prepare(LAYERS, WEIGHTS)
    with pytest.raises(ValueError, match=r"reads images of \(32, 32, 3\), got \(30, 32, 3\)"):
        LiteRt().run(artifact, np.zeros((1, 30, 32, 3), np.float32))


def test_a_precision_it_has_not_is_refused():
    with pytest.raises(ValueError, match="fp32, fp16, int8 here, got `w4a8`"):
        LiteRt().prepare(LAYERS, WEIGHTS, "w4a8")

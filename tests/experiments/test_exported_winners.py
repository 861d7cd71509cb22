"""Winners as files of other formats and precisions: each lies in its folder and answers as the summary says it does."""

import json
import sys

import numpy as np
import pytest
from omegaconf import OmegaConf

from experiments.build import build
from experiments.report import write_report
from experiments.steps.exports import EXPORTS, Seen, export
from experiments.summary import last_lines
from experiments.winner import load
from hardware.export.weights import random_images, random_weights
from hardware.runtimes.artifact import Artifact
from hardware.runtimes.litert import LiteRt
from hardware.runtimes.onnx_runtime import OnnxRuntime
from search_spaces.layers import Activation, Conv, Dense, Elementwise, GlobalPool, Input

ASKED = ["tflite_int8", "onnx_int8", "tflite_fp32"]
RUNTIMES = {"onnx": OnnxRuntime(), "tflite": LiteRt()}


@pytest.fixture(scope="module")
def exported(edgenas):
    """The folder of a run that was asked for files."""
    folder = edgenas.output / "exported"
    done = edgenas(*edgenas.whole(folder), f"exports=[{','.join(ASKED)}]")
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / "summary.json").read_text())
    assert "\n".join(f"      {line}" for line in last_lines(summary)) in done.stdout
    return folder


def answers(path, precision, images):
    artifact = Artifact(
        content=path.read_bytes(), format=path.suffix[1:], precision=precision, input_shape=images.shape[1:]
    )
    return RUNTIMES[artifact.format].run(artifact, images)


@pytest.mark.slow
def test_each_file_answers_as_the_summary_says(exported):
    data = build(OmegaConf.to_container(OmegaConf.load(exported / "config.yaml").data)).load()
    pixels = data.test.images.astype(np.float32) / 255
    images = ((pixels - np.float32(data.mean)) / np.float32(data.std)).astype(np.float32)
    summary = json.loads((exported / "summary.json").read_text())
    assert len(summary["networks"]) == 3
    for network in summary["networks"]:
        folder = exported / network["folder"]
        assert [file["export"] for file in network["files"]] == ["onnx_fp32", *ASKED]
        assert json.loads((folder / "architecture.json").read_text())["files"] == network["files"]
        assert {path.name for path in folder.glob("model*")} == {file["file"] for file in network["files"]}
        floats = np.asarray(load(folder).logits(images))
        for file in network["files"]:
            path = folder / file["file"]
            logits = answers(path, file["precision"], images)
            assert file["bytes"] == path.stat().st_size
            assert file["test_accuracy"] == (logits.argmax(1) == data.test.labels).mean()
            if file["precision"] == "fp32":
                np.testing.assert_allclose(logits, floats, atol=1e-4)
            else:
                # Of barely trained logits; those of trained networks are held to more in tests/contracts/test_int8.py.
                assert np.abs(logits - floats).mean() < 0.02 * np.ptp(floats)
        reference, tflite_int8, onnx_int8, tflite = network["files"]
        assert reference["test_accuracy"] == network["test_accuracy"] == tflite["test_accuracy"]
        assert tflite["same_top1"] == 1
        assert 0 <= tflite["max_abs_diff"] <= 1e-4
        chosen = answers(folder / "model.onnx", "fp32", images).argmax(1)
        for file in (tflite_int8, onnx_int8):
            assert file["max_abs_diff"] is None
            assert file["same_top1"] == (answers(folder / file["file"], "int8", images).argmax(1) == chosen).mean()


@pytest.mark.slow
def test_the_page_shows_every_file(exported):
    page = write_report(exported).read_text()
    for network in json.loads((exported / "summary.json").read_text())["networks"]:
        for file in network["files"]:
            assert f'<a href="./{network["folder"]}/{file["file"]}">{file["file"]}</a>' in page
            assert f"<td>{file['bytes'] / 1024:,.1f}</td>" in page
    assert "largest difference from model.onnx" in page


@pytest.mark.slow
def test_the_page_says_what_could_not_be_written_and_refuses_what_is_not_all_there(exported, tmp_path):
    summary = json.loads((exported / "summary.json").read_text())
    (tmp_path / "study.sqlite").write_bytes((exported / "study.sqlite").read_bytes())
    kept = {name: summary["networks"][0]["files"][1][name] for name in ("export", "precision", "runtime")}
    summary["networks"][0]["files"][1] = {**kept, "file": None, "failure": "no operator <here>"}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert "tflite_int8<br><small>none: no operator &lt;here&gt;</small>" in write_report(tmp_path).read_text()
    assert any(line.split()[-2:] == ["tflite_int8", "none"] for line in last_lines(summary))
    del summary["networks"][0]["files"][2]["bytes"]
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(ValueError, match=r"is not a run's summary \(it lacks 'bytes'\)"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("tflite_int", "`exports` has no `tflite_int`; did you mean `tflite_int8`?"),
        ("onnx", "`exports` has no `onnx`; did you mean `onnx_int8`?"),
        ("zzz", "`exports` has no `zzz`; there are `onnx_int8`, `tflite_fp16`, `tflite_fp32`, `tflite_int8`"),
        ("onnx_int8,onnx_int8", "`exports` names `onnx_int8` twice"),
    ],
)
def test_an_unknown_kind_is_refused_before_any_work(refused, tmp_path, names, said):
    assert said in refused(f"exports=[{names}]", f"output={tmp_path / 'runs'}")
    assert not list(tmp_path.iterdir())


def test_kinds_must_be_a_list_of_names(refused, tmp_path):
    assert "`exports` must be a list" in refused("exports=onnx_int8", f"output={tmp_path / 'runs'}")
    assert "`exports` must be a list, each text" in refused("exports=[8]", f"output={tmp_path / 'runs'}")


@pytest.mark.parametrize("missing", ["tensorflow", "ai_edge_litert"])
def test_a_missing_library_is_told_before_any_work(refused, tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    line = refused("exports=[onnx_int8,tflite_fp16]", f"output={tmp_path / 'runs'}")
    assert f"`{missing}` is not installed; run `pip install 'edgenas[tflite]'`" in line
    assert not list(tmp_path.iterdir())


LAYERS = (
    Input(shape=(8, 8, 3)),
    Conv(path="conv", inputs=(0,), shape=(8, 8, 4), kernel=3, in_channels=3, bias=True),
    Elementwise(inputs=(1,), shape=(8, 8, 4), operation="cube"),
    GlobalPool(inputs=(2,), shape=(1, 1, 4)),
    Dense(path="dense", inputs=(3,), shape=(1, 1, 5), in_channels=4),
)
"""What no exporter has an operator for."""


def shown(images):
    return Seen(images=images, labels=np.arange(len(images)) % 5, calibration=images[:8], size=None)


def test_a_kind_that_a_network_cannot_have_is_told_and_left_out():
    images = random_images(LAYERS)
    [(artifact, said)] = export(["onnx_int8"], (LAYERS, random_weights(LAYERS)), shown(images), np.zeros((1, 5)))
    assert artifact is None
    assert (said["export"], said["file"], said["precision"]) == ("onnx_int8", None, "int8")
    assert "layer 2 is the elementwise operation `cube`" in said["failure"]


def test_a_float_file_that_answers_otherwise_is_refused():
    layers = (*LAYERS[:2], Activation(inputs=(1,), shape=(8, 8, 4), kind="relu"), *LAYERS[3:])
    images = np.random.default_rng(0).normal(size=(20, 8, 8, 3)).astype(np.float32)
    network, runtime = (layers, random_weights(layers)), OnnxRuntime()
    reference = runtime.run(runtime.prepare(*network), images)
    [(artifact, said)] = export(["tflite_fp32"], network, shown(images), reference)
    assert artifact is not None
    assert said["same_top1"] == 1
    with pytest.raises(ValueError, match=r"tflite_fp32 differs from the float ONNX by 0\.01, more than 0\.0001"):
        list(export(["tflite_fp32"], network, shown(images), reference + 0.01))


def test_every_kind_has_a_runtime_of_its_precision():
    for name, kind in EXPORTS.items():
        assert kind.precision in kind.runtime.precisions
        assert name == f"{'onnx' if isinstance(kind.runtime, OnnxRuntime) else 'tflite'}_{kind.precision}"

"""The benchmark of files: a row for each, and one summary."""

import json

import pytest

from experiments.benchmarks.exports import main


@pytest.mark.slow
def test_files_of_all_runtimes_and_precisions_take_turns(capsys):
    result = main(["--networks", "ds_cnn", "--rounds", "2", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == result
    files = [(row["file"], row["precision"]) for row in result["rows"]]
    assert files == [("onnx", "fp32"), ("onnx", "int8"), ("tflite", "fp32"), ("tflite", "fp16"), ("tflite", "int8")]
    summary = result["summary"]
    assert summary["fp32_off"] < 1e-5 < summary["int8_off"] < 0.1
    assert 0.25 < summary["tflite_int8_bytes_over_fp32"] < summary["onnx_int8_bytes_over_fp32"] < 1
    assert all(row["latency_ms"] > 0 and row["bytes"] > 0 for row in result["rows"])


def test_an_unknown_network_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["--networks", "resnet_9"])
    assert "got `resnet_9`; did you mean `resnet_" in capsys.readouterr().err

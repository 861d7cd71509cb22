"""The benchmark of modelled latencies: a small table through it, poisoned and written as settings."""

import csv
import json
import math

import numpy as np
import pytest
from omegaconf import OmegaConf

from experiments.benchmarks.hardware_model import main
from experiments.build import build
from experiments.options import tree
from search_spaces.networks import NAMED

BOARDS = ("Raspberry Pi 4 CPU", "Jetson Nano CPU", "NUCLEO-L4R5ZI")


@pytest.fixture(scope="module")
def lines(data_root):
    with (data_root.parent / "reference" / "device_measurements.csv").open(newline="") as file:
        return [
            line
            for line in csv.DictReader(file)
            if line["device"] in BOARDS
            and line["precision"].startswith(("fp32", "int8"))
            # fewer families, less time
            and not line["network"].startswith(("AlexNet", "Inception", "RegNet", "SqueezeNet", "Shuffle", "Proxyless"))
        ]


def run(lines, folder, *arguments):
    path = folder / "times.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)
    return main(["--table", str(path), *arguments])


@pytest.fixture(scope="module")
def honest(lines, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return run(lines, folder, "--write", str(folder)), folder


def test_what_the_benchmark_says(honest, capsys, lines, tmp_path):
    result, _ = honest
    assert {row["device"] for row in result["rows"]} == set(BOARDS[:2])  # MLPerf Tiny has four networks
    for row in result["rows"]:
        assert row["n"] >= 6
        assert row["confidence"] == "high"
        assert -1 <= row["kendall"] <= 1
        assert row["median_ape"] < 0.6  # of few devices and families: see the benchmark's own figures for all
        assert all(math.isfinite(row[name]) for name in ("baseline_median_ape", "baseline2_median_ape"))
    assert result["summary"]["groups"] == len(result["rows"])
    # STM32L4R5's power is the same whatever runs, within some per cent
    assert result["summary"]["energy_rows"] > 0
    assert result["summary"]["energy_median_ape"] < 0.1


def test_a_familys_own_times_do_not_matter_to_its_predictions(honest, lines, tmp_path, capsys):
    absurd = [
        {**line, "latency_ms": "1e5", "latency_min_ms": ""} if line["network"].startswith("MobileNetV2") else line
        for line in lines
    ]
    poisoned = run(absurd, tmp_path, "--json")
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["summary"] == poisoned["summary"]
    for before, after in zip(honest[0]["rows"], poisoned["rows"], strict=True):
        (mine,) = (name for name in before["predictions"] if name.startswith("mobilenet_v2"))
        assert after["predictions"][mine] == before["predictions"][mine]
        others = set(before["predictions"]) - {mine}
        assert any(not np.isclose(after["predictions"][name], before["predictions"][name]) for name in others)


def test_the_models_written_build_and_say_what_they_are_worth(honest):
    result, folder = honest
    device = build(tree("device", "raspberry_pi_4"))
    for row in result["rows"]:
        path = folder / f"{row['name']}.yaml"
        header = path.read_text().split("_target_")[0]
        assert f"latency_model={row['name']}" in header
        assert f"median error {row['median_ape']:.1%}" in header
        model = build(OmegaConf.to_container(OmegaConf.load(path)))
        assert (model.rows, model.families) == (row["n"], row["families"])
        for name in ("median_ape", "kendall", "relative_std"):
            assert getattr(model, name) == pytest.approx(row[name], rel=0.005)
        assert model.latency_ms(device, NAMED["resnet_18"]().layers(), "fp32", row["threads"]) > 0


def test_a_table_without_enough_is_refused(lines, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(lines[:3], tmp_path)
    assert "has no device with the times of enough of our networks" in capsys.readouterr().err

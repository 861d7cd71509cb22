"""The benchmark of populations' costs runs at a small size, compares what it times, and says what has no tables."""

import json

import pytest

import search_spaces
from experiments.benchmarks import costs
from search_spaces.space import size
from search_spaces.vision_transformer import VisionTransformer

TINY = VisionTransformer(
    image_size=8, classes=5, patch=4, dims=(12, 16), depths=(1, 2), heads=(1, 2), mlp_ratios=(1.5, 2.0), head_dim=8
)
CELLS = search_spaces.EXAMPLES[3]  # NAS-Bench-201


def test_both_ways_are_timed_and_equal(capsys, monkeypatch):
    monkeypatch.setattr(costs, "SPACES", {"tiny": lambda: TINY, "cells": lambda: CELLS})
    result = costs.main(["--population", "300", "--rounds", "2", "--sample", "30", "--precision", "w4a8", "--json"])
    out = capsys.readouterr().out
    assert json.loads(out.strip().splitlines()[-1]) == json.loads(json.dumps(result))
    tiny, cells = result["rows"]
    assert (tiny["space"], tiny["networks"], tiny["population"], tiny["direct"]) == ("tiny", size(TINY), 300, [])
    assert cells["population"] == costs.TURN  # those without tables are computed one by one
    assert set(cells["direct"]) == {"activation_bytes", "macs_per_byte", "peak_bytes"}
    for row in result["rows"]:
        assert (row["equal"], row["differ"], row["sample"]) == (True, [], 30)
        assert 0 < row["lowest_per_s"] <= row["architectures_per_s"]
        assert row["direct_per_s"] > 0
    summary = result["summary"]
    assert summary["space"] == "tiny"
    assert summary["all_equal"]
    assert summary["architectures_per_s"] == tiny["architectures_per_s"]
    assert summary["direct_per_s"] == tiny["direct_per_s"]


@pytest.mark.parametrize("name", ["population", "rounds", "sample"])
def test_bad_arguments_give_one_line(name, capsys):
    with pytest.raises(SystemExit) as ended:
        costs.main([f"--{name}", "0"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: `--{name}` must be at least 1, got 0\n"

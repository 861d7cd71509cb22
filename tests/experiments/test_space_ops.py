"""The benchmark of what a space gets from its choices runs at a small size and says what it should."""

import json

import pytest

from experiments.benchmarks import space_ops
from experiments.benchmarks.peers import ofa
from search_spaces.space import size
from search_spaces.vision_transformer import VisionTransformer

TINY = VisionTransformer(
    image_size=8, classes=5, patch=4, dims=(12, 16), depths=(1, 2), heads=(1, 2), mlp_ratios=(1.5, 2.0), head_dim=8
)


def test_every_operation_is_timed_and_draws_keep_the_limit(capsys, monkeypatch):
    monkeypatch.setattr(space_ops, "SPACES", {"tiny": lambda: TINY, "other": lambda: TINY})
    monkeypatch.setattr(ofa, "missing", lambda: "ofa not installed; run `make peers`")
    result = space_ops.main(["--population", "50", "--rounds", "2", "--share", "0.3", "--spaces", "tiny", "--json"])
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1]) == json.loads(json.dumps(result))
    (row,) = result["rows"]
    assert row["networks"] == size(TINY)
    assert set(row["per_s"]) == set(space_ops.OPERATIONS)
    assert all(0 < row["lowest_per_s"][name] <= rate for name, rate in row["per_s"].items())
    assert row["constrained_within"] == 1
    summary = result["summary"]
    assert summary["sample_per_s"] == row["per_s"]["sample"]
    assert summary["encode_per_s"] == row["per_s"]["one_hot"]
    assert summary["traced_layers_per_s"] == row["per_s"]["traced_layers"]
    assert summary["constrained_1pct_per_s"] == row["per_s"]["constrained"]
    assert summary["sample_over_ofa"] is None
    assert summary["ofa_missing"] == "ofa not installed; run `make peers`"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--population", "0"], "`--population` must be at least 10, got 0"),
        (["--rounds", "0"], "`--rounds` must be at least 1, got 0"),
        (["--share", "1"], "`--share` must lie between 0 and 1, got 1.0"),
    ],
)
def test_bad_arguments_give_one_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        space_ops.main(arguments)
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1

"""The ranking benchmark: its statistics against known cases, and that it runs and says what it should."""

import json

import numpy as np
import pytest

from experiments.benchmarks.agreement import agreement
from experiments.benchmarks.inherited import _mean
from experiments.benchmarks.ranking import main

TINY = [
    *("--reduced", "--image-size", "8", "--channels", "4", "--stages", "1", "--images", "64", "--passes", "1"),
    *("--batch", "16", "--seeds", "2", "--architectures", "24", "--val-images", "4", "--val-batch", "2"),
    *("--resamples", "20", "--rules", "single_path", "--json"),
]


def test_agreement_of_known_rankings():
    truth = np.arange(6.0)
    same, swapped = truth * 2, np.array([1.0, 0, 2, 3, 4, 5])
    found = agreement(truth, np.stack([same, swapped]), 50)
    # One pair of 15 the other way round: (14 - 1) / 15. Spearman: 1 - 6 * (1 + 1) / (6 * 35).
    assert found["kendall"] == pytest.approx((1 + 13 / 15) / 2)
    assert found["spearman"] == pytest.approx((1 + (1 - 12 / 210)) / 2)
    assert found["kendall_std"] == pytest.approx(np.std([1, 13 / 15], ddof=1))
    assert found["kendall_low"] <= found["kendall"] <= found["kendall_high"] == pytest.approx(1)
    assert agreement(truth, -same[None], 50)["kendall"] == pytest.approx(-1)


def test_a_score_that_tells_nothing_apart_ranks_nothing():
    assert agreement(np.arange(5.0), np.ones((1, 5)), 10)["kendall"] == 0


def test_an_interval_holds_the_true_value_and_narrows_with_more_architectures():
    """Normal scores of correlation r have Kendall's tau 2 / pi * arcsin(r)."""
    rng = np.random.default_rng(0)
    widths = []
    for n in (50, 800):
        truth = rng.normal(size=n)
        scores = 0.8 * truth + 0.6 * rng.normal(size=(1, n))
        found = agreement(truth, scores, 200)
        assert found["kendall_low"] < 2 / np.pi * np.arcsin(0.8) < found["kendall_high"]
        widths.append(found["kendall_high"] - found["kendall_low"])
    assert widths[1] < widths[0] / 2


def test_a_difference_is_taken_over_the_same_draws():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=60)
    other = truth + rng.normal(size=60)
    found = agreement(truth, other[None], 100, than=other)
    assert (found["kendall_more"], found["kendall_more_low"], found["kendall_more_high"]) == (0, 0, 0)
    better = agreement(truth, truth[None], 100, than=other)
    assert better["kendall_more"] == pytest.approx(1 - found["kendall"])
    assert better["kendall_more_low"] > 0


@pytest.mark.slow
def test_it_runs_and_says_what_it_should(data_root, capsys, monkeypatch):
    if not (data_root / "cifar10").is_dir() or not (data_root / "nas_bench_201").is_dir():
        pytest.skip("no CIFAR-10 or no NAS-Bench-201")
    monkeypatch.setenv("EDGENAS_DATA", str(data_root))
    result = main(TINY)
    printed = capsys.readouterr().out.strip().splitlines()
    assert json.loads(printed[-1]) == json.loads(json.dumps(result))
    rows = {(row["by"], row["batch_norm"], row["subset"]): row for row in result["rows"]}
    rankings = [("macs", ""), ("params", ""), ("random", "")]
    rankings += [("single_path", mode) for mode in ("recalibrated", "batch", "shared")]
    assert set(rows) == {(*ranking, subset) for ranking in rankings for subset in ("all", "connected", "top_half")}
    assert rows["macs", "", "all"]["archs"] == 24 > rows["macs", "", "top_half"]["archs"]
    assert rows["macs", "", "all"]["kendall"] > 0.3  # as over all cells: more multiplications are better
    summary = result["summary"]
    assert summary["kendall"] == rows["single_path", "recalibrated", "all"]["kendall"]
    assert summary["more_than_macs"] == pytest.approx(summary["kendall"] - summary["kendall_macs"])
    assert -1 <= summary["kendall_low"] <= summary["kendall_high"] <= 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds", "0"], "`--seeds` must be at least 1, got 0"),
        (["--architectures", "2"], "`--architectures` must be at least 4"),
        (["--table", "no/such.npz"], "no/such.npz"),
    ],
)
def test_bad_arguments_give_one_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--reduced", *arguments])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_statistics_are_shared_by_those_that_have_them():
    trees = [{"a": [None, np.array([1.0, 2])]}, {"a": [np.array([5.0]), np.array([3.0, 2])]}, None]
    mean = _mean(trees)["a"]
    assert mean[0].tolist() == [5]
    assert mean[1].tolist() == [2, 2]
    with pytest.raises(ValueError, match="used by none"):
        _mean([None, None])

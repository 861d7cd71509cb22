"""The benchmark of measuring runs at a small size and says how well campaigns agree."""

import json

import numpy as np
import pytest

from experiments.benchmarks import measurement
from experiments.benchmarks.measurement import agreement


def test_two_campaigns_of_each_kind_are_compared(capsys, monkeypatch):
    built = measurement.build

    def quick(settings, *more, **given):
        if settings["_target_"].endswith("Target"):
            settings["protocol"] |= {"rounds": 2, "warm_up": 1, "min_sample_ms": 0.01, "batch": 2}
        return built(settings, *more, **given)

    monkeypatch.setattr(measurement, "build", quick)
    result = measurement.main(["--networks", "3", "--repetitions", "2", "--space", "mobile_micro", "--json"])
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1]) == json.loads(json.dumps(result))
    assert len(result["rows"]) == 3
    assert all(len(row["protocol_ms"]) == len(row["naive_ms"]) == 4 for row in result["rows"])
    summary = result["summary"]
    assert summary["networks"] == 3
    assert {"median_diff", "kendall", "naive_median_diff", "naive_kendall"} <= set(summary)
    # worked from the rows again
    ran = np.array([row["protocol_ms"] for row in result["rows"]])
    diffs = [np.median(np.abs(ran[:, i + 1] / ran[:, i] - 1)) for i in (0, 2)]
    assert summary["median_diff"] == pytest.approx(np.median(diffs), abs=1e-3)
    assert summary["worst_median_diff"] == pytest.approx(max(diffs), abs=1e-3)


def test_agreement_is_of_fractions_and_pairs():
    found = agreement(np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.1, 2.0, 3.0, 9.0]))
    # differences 10 %, 0, 25 %, 12.5 %: their median is 11.25 %; all pairs keep their order
    assert found == {"diff": pytest.approx(0.1125), "largest": pytest.approx(0.25), "kendall": pytest.approx(1.0)}
    found = agreement(np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 3.0]))
    assert found["kendall"] == pytest.approx(1 / 3)  # two of three pairs agree, one does not


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--networks", "2"], "`--networks` must be at least 3, got 2"),
        (["--space", "mobil"], "`--space`: no space is called `mobil`; did you mean `mobile`?"),
        (["--repetitions", "0"], "`--repetitions` must be at least 1, got 0"),
    ],
)
def test_bad_arguments_give_one_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        measurement.main(arguments)
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1

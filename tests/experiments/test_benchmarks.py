"""Benchmarks run on demand; here, that the search benchmark runs on a finished run and says what it should."""

import json
import statistics

import pytest

from experiments.benchmarks.main_search import main


@pytest.mark.slow
def test_both_searches_run_again_with_every_seed_and_equal_evaluations(finished, capsys):
    result = main(["--run", str(finished), "--seeds", "2", "--evaluations", "6", "--json"])
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1]) == json.loads(json.dumps(result))
    assert [row["seed"] for row in result["rows"]] == [0, 1]
    for name in ("evolution", "random"):
        assert [row[f"{name}_networks"] for row in result["rows"]] == [6, 6]
        volumes = [row[name] for row in result["rows"]]
        assert all(0 < volume < 1 for volume in volumes)
        assert result["summary"][f"{name}_mean"] == pytest.approx(statistics.mean(volumes))
        assert result["summary"][f"{name}_std"] == pytest.approx(statistics.stdev(volumes))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds", "0"], "`--seeds` must be at least 1, got 0"),
        (["--evaluations", "-4"], "`--evaluations` must be at least 1, got -4"),
        (["--run", "no/such/run"], "`no/such/run` is not the folder of a run"),
    ],
)
def test_bad_arguments_give_one_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1

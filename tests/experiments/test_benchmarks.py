"""Benchmarks run on demand; here, that each runs at a small size and says what it should."""

import json
import statistics
from importlib.util import find_spec

import jax
import pytest

from experiments.benchmarks import depthwise
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


SMALL = ["--size", "2", "5", "4", "3", "--kernels", "3", "--repeats", "3"]


@pytest.fixture
def quick_compiles():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.usefixtures("quick_compiles")
def test_depthwise_convolutions_are_compared_and_timed(capsys, monkeypatch):
    monkeypatch.setattr(depthwise, "MOBILE_SIZES", ((1, 2, 2, 3),))
    result = depthwise.main([*SMALL, "--shapes", "--json"])
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1]) == json.loads(json.dumps(result))
    assert [(row["kernel"], row["stride"]) for row in result["rows"]] == [(3, 1), (3, 2)]
    peers = {"torch", "torch_contiguous"} if find_spec("torch") else set()
    assert [row["size"] for row in result["shapes"]] == [(1, 2, 2, 3)] * 2
    for row in (*result["rows"], *result["shapes"]):
        assert set(row["least_and_most"]) == {"ours", "xla"} | peers
        for name, (least, most) in row["least_and_most"].items():
            assert 0 < least <= row[f"{name}_ms"] <= most
    speedups = [row["xla_ms"] / row["ours_ms"] for row in result["rows"]]
    assert result["summary"]["speedup_over_xla_mean"] == pytest.approx(statistics.mean(speedups))
    assert ("over_torch_mean" in result["summary"]) == bool(peers)


@pytest.mark.usefixtures("quick_compiles")
def test_without_pytorch_one_line_says_how_to_get_it(capsys, monkeypatch):
    monkeypatch.setattr(depthwise, "find_spec", lambda name: None)
    result = depthwise.main([*SMALL, "--strides", "1"])
    assert "pip install torch==" in capsys.readouterr().out
    assert set(result["summary"]) == {"speedup_over_xla_mean"}


@pytest.mark.usefixtures("quick_compiles")
def test_no_time_is_told_of_an_answer_that_differs(capsys, monkeypatch):
    right = depthwise.depthwise
    monkeypatch.setattr(depthwise, "depthwise", lambda x, weight, stride: right(x, 1.01 * weight, stride))
    with pytest.raises(SystemExit):
        depthwise.main([*SMALL, "--strides", "1"])
    assert "different answers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--repeats", "0"], "`--repeats` must be at least 1, got 0"),
        (["--size", "2", "0", "4", "3"], "sizes and strides must be at least 1"),
        (["--kernels", "4"], "kernels odd, got"),
    ],
)
def test_bad_arguments_to_the_depthwise_benchmark_give_one_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        depthwise.main(arguments)
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1

"""Benchmarks run on demand; here, that each runs at a small size and says what it should."""

import json
import statistics
from importlib.util import find_spec

import jax
import pytest

from experiments.benchmarks import depthwise, stepping, supernet_step
from experiments.benchmarks.main_search import main
from experiments.benchmarks.peers import ofa
from experiments.benchmarks.timing import interleaved
from search_spaces.ofa_mobilenet import OfaMobileNet, OfaStage
from search_spaces.sliced import distinct_blocks


@pytest.mark.slow
def test_both_searches_run_again_with_every_seed_and_equal_evaluations(finished, capsys):
    result = main(["--run", str(finished), "--seeds", "2", "--evaluations", "6", "--json"])
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1]) == json.loads(json.dumps(result))
    assert [row["seed"] for row in result["rows"]] == [0, 1]
    for name in ("evolution", "random"):
        assert [row[f"{name}_networks"] for row in result["rows"]] == [6, 6]
        volumes = [row[name] for row in result["rows"]]
        assert all(0 <= volume < 1 for volume in volumes)  # 0: after 36 steps, no network need be better than a guess
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


class Slow:
    """A call that takes a turn and remembers when."""

    def __init__(self, name, order):
        self.name, self.order = name, order

    def __call__(self):
        self.order.append(self.name)


def test_calls_take_turns_and_warm_up_does_not_count():
    order = []
    times = interleaved({name: Slow(name, order) for name in "abc"}, 4, warm_up=2, seed=0)
    assert {name: len(each) for name, each in times.items()} == {"a": 4, "b": 4, "c": 4}
    rounds = [order[3 * i : 3 * i + 3] for i in range(6)]
    assert len(order) == 18
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1  # in an order drawn anew


@pytest.mark.slow  # compiled masked and by blocks
@pytest.mark.usefixtures("quick_compiles")
def test_a_step_is_timed_sliced_and_masked_from_the_same_weights(capsys, monkeypatch):
    tiny = OfaMobileNet(
        image_size=32,
        resolutions=(),
        classes=stepping.CLASSES,
        stages=(OfaStage(width=16), OfaStage(width=24)),
        depths=(1, 2),
        kernels=(3, 5),
        head_channels=32,
        mix_channels=32,
    )
    for module in (stepping, supernet_step):
        monkeypatch.setattr(module, "space_of", lambda size: tiny)
    monkeypatch.setattr(ofa, "missing", lambda: "torch not installed; run `make peers`")
    arguments = ["--architectures", "2", "--rounds", "2", "--setting", "16", "32", "--no-memory", "--json"]
    result = supernet_step.main(arguments)
    said = capsys.readouterr().out
    assert "PyTorch's columns are left out: torch not installed" in said
    assert json.loads(said.strip().splitlines()[-1]) == json.loads(json.dumps(result))
    summary, rows = result["summary"], result["rows"]
    assert set(summary) == {
        *("sliced_over_masked", "compiles_masked", "compiles_sliced", "distinct_blocks", "device"),
    }
    assert summary["compiles_masked"] == 1
    assert 0 < summary["compiles_sliced"] <= summary["distinct_blocks"]
    ratios = [row["sliced_ms"] / row["masked_ms"] for row in rows]
    assert summary["sliced_over_masked"] == pytest.approx(statistics.mean(ratios))
    assert result["settings"][0]["logits_differ"] <= supernet_step.TOLERANCE


def test_the_published_space_has_so_many_distinct_blocks():
    # The stem, the first block and the head; in each of 5 stages 9 first blocks and 9 others, but where a stage's other
    # blocks are like another's: none are, as all widths differ.
    assert distinct_blocks(stepping.space_of(32), (32, 32, 3)) == 3 + 5 * (9 + 9)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--architectures", "0"], "`--architectures` must be at least 1, got 0"),
        (["--setting", "4", "16"], "`--setting` must be at least 1 image of 32 px, got 4 of 16 px"),
    ],
)
def test_bad_arguments_to_the_step_benchmark_give_one_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        supernet_step.main(arguments)
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1

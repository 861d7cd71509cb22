"""Searches judged by the published table: its numbers, what may be known of it when, and that a search runs on it."""

import dataclasses

import jax
import numpy as np
import pytest

from nas.objective import Objective, Prices
from nas.search import Evolution, RandomSearch
from nas.search.loop import run_search
from nas.study import Study
from nas.tabular import DATASETS, Cells, TabularJudge, open_judge, open_truth, quoted, table_path
from search_spaces.nas_bench_201 import NasBench201, arch_of
from search_spaces.nas_bench_201_table import Table

SPACE = NasBench201()
CELLS = 15_625


@pytest.fixture(scope="module")
def path(data_root):
    found = data_root / "nas_bench_201" / "nb201_acc.npz"
    if not found.is_file():
        pytest.skip(f"no {found}")
    return found


@pytest.fixture(scope="module")
def judge(path):
    return open_judge("cifar10", path)


@pytest.fixture(scope="module")
def truth(path):
    return open_truth("cifar10", path)


# The optima that NAS-Bench-201 published, in % of test accuracy, and the index of their cells.
@pytest.mark.parametrize(
    ("dataset", "index", "accuracy"), [("cifar10", 6111, 94.37), ("cifar100", 9930, 73.51), ("imagenet16", 857, 47.31)]
)
def test_the_optima_are_the_published_ones(path, dataset, index, accuracy):
    known = open_truth(dataset, path)
    best, error = known.optimum()
    assert best == index
    assert 100 * (1 - error) == pytest.approx(accuracy, abs=0.005)
    arch = known.cells.table.arch_of(index)
    assert known([arch]).tolist() == [error]
    cost = known.cost(arch)
    assert (cost.name, cost.value, cost.kind, cost.target) == ("test_error", error, "quoted", "")


def test_errors_are_the_accuracies_of_the_file(path):
    with np.load(path, allow_pickle=False) as arrays:
        for dataset in DATASETS:
            judge, index = open_judge(dataset, path), 1234
            arch = arch_of(str(arrays["arch_str"][index]))
            assert judge(None, arch).val_error == pytest.approx(1 - arrays[f"{dataset}_valid_12ep"][index] / 100)
            said = quoted(judge)(tuple(arch.tolist())).costs["val_error"]
            assert (said.value, said.unit, said.kind) == (judge(None, arch).val_error, "1", "quoted")


def test_it_is_called_as_a_supernets_judge_and_has_no_losses_or_statistics(judge):
    judgement = judge(None, [4] * 6)
    assert 0 < judgement.val_error < 0.9
    assert np.isnan(judgement.val_loss)
    assert judgement.stats is None
    with pytest.raises(ValueError, match="has options"):
        judge(None, [5] * 6)


def arrays_in(thing, seen=None):
    """Every array that can be reached from an object by attributes and containers."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        yield thing
    elif isinstance(thing, dict):
        for value in thing.values():
            yield from arrays_in(value, seen)
    elif isinstance(thing, tuple | list):
        for value in thing:
            yield from arrays_in(value, seen)
    elif callable(thing) and getattr(thing, "__closure__", None):
        yield from arrays_in([cell.cell_contents for cell in thing.__closure__], seen)
    elif hasattr(thing, "__dict__"):
        yield from arrays_in(vars(thing), seen)


def test_a_search_cannot_reach_a_test_error(path, judge):
    held = list(arrays_in([judge, quoted(judge)]))
    assert any(array is judge.val_error for array in held)
    # The cells, their index, their classes and one column of errors: nothing else of the file.
    assert len(held) <= 4
    with np.load(path, allow_pickle=False) as arrays:
        for name in (name for name in arrays.files if "_test_" in name):
            accuracy = arrays[name].astype(np.float64)
            for array in held:
                if array.shape == accuracy.shape:
                    assert abs(np.corrcoef(array, accuracy)[0, 1]) < 0.99
    assert not any("test" in field.name for field in dataclasses.fields(TabularJudge))


def test_isomorphic_cells_are_known_to_the_table(path, judge):
    cells = judge.cells
    assert cells.classes == 6466  # as NAS-Bench-201 publishes
    # Node 1 is the input again, so that it is one whether node 2 takes it from there or from node 0.
    one = arch_of("|skip_connect~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|")
    same = arch_of("|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|")
    assert (cells.representative(one) == cells.representative(same)).all()
    # Nor does it matter that the convolution stands before node 1: of the three, the smallest index stands for them.
    third = arch_of("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|")
    assert (cells.representative(one) == third).all()
    assert cells.table.index_of(third) < min(map(cells.table.index_of, (one, same)))
    other = arch_of("|skip_connect~0|+|nor_conv_1x1~0|none~1|+|none~0|none~1|skip_connect~2|")
    assert cells.first_of_class([same, other, one, other]).tolist() == [True, True, False, False]
    # A chain through node 1 and the same through node 2 are one function, but not one published class.
    through_1 = arch_of("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|avg_pool_3x3~1|none~2|")
    through_2 = arch_of("|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|avg_pool_3x3~2|")
    assert (cells.representative(through_1) != cells.representative(through_2)).any()
    each, by_class = judge, open_judge("cifar10", path, by_class=True)
    assert each(None, one).val_error != each(None, same).val_error  # each was trained by itself
    assert by_class(None, one).val_error == by_class(None, same).val_error
    assert by_class(None, one).val_error == each(None, cells.representative(one)).val_error


def searched(search, judge, folder, seed, evaluations=300):
    return run_search(
        search,
        quoted(judge),
        [Objective(cost="val_error")],
        key=jax.random.key(seed),
        evaluations=evaluations,
        study=Study(folder / "study.sqlite", {"quoted": judge.source}),
        name=f"{type(search).__name__}{seed}",
    )


def test_evolution_finds_better_cells_than_chance(judge, truth, tmp_path):
    """The best of n cells drawn without replacement from m is, on average, the (m + 1) / (n + 1)th of all: the 52nd."""
    ranks, errors = {}, {}
    for search in (Evolution(space=SPACE, pop_size=20), RandomSearch(space=SPACE, pop_size=20)):
        found = [searched(search, judge, tmp_path, seed) for seed in range(3)]
        assert [len({row.arch for row in rows}) for rows in found] == [300] * 3
        best = [min(rows, key=lambda row: row.costs["val_error"].value) for rows in found]
        name = type(search).__name__
        ranks[name] = [1 + (judge.val_error < row.costs["val_error"].value).sum() for row in best]
        errors[name] = truth([row.arch for row in best]).mean()
    assert max(ranks["Evolution"]) < (CELLS + 1) / (300 + 1)
    assert max(ranks["Evolution"]) < 0.001 * CELLS
    assert max(ranks["RandomSearch"]) < 0.05 * CELLS
    assert errors["Evolution"] < errors["RandomSearch"]
    assert errors["Evolution"] < truth.optimum()[1] + 0.005


def test_other_costs_join_in(judge):
    row = quoted(judge, Prices(SPACE, (), {}))((4,) * 6)
    # All edges 3x3 convolutions: the dearest cell, published with 220 M FLOPs, which are MACs.
    assert row.costs["macs"].value == pytest.approx(220e6, rel=0.01)
    assert {cost.kind for cost in row.costs.values()} == {"quoted", "modelled"}


@pytest.fixture
def write(path, tmp_path):
    """Writes a table whose file is in order, but for the changes."""
    with np.load(path, allow_pickle=False) as arrays:
        right = {name: arrays[name] for name in ("arch_str", "iso_rep", "cifar10_valid_12ep")}

    def writes(**changes):
        np.savez(
            tmp_path / "own.npz", **{name: array for name, array in (right | changes).items() if array is not None}
        )
        return tmp_path / "own.npz"

    return writes


def refused(kind, message, *arguments, **more):
    with pytest.raises(kind, match=message) as error:
        open_judge(*arguments, **more)
    assert "\n" not in str(error.value)


def test_what_is_not_the_table_is_refused_in_one_line(tmp_path, monkeypatch, path):
    refused(ValueError, "`cifar10`, `cifar100`, `imagenet16`, got `mnist`", "mnist")
    refused(FileNotFoundError, "no.npz: NAS-Bench-201's table .* EDGENAS_DATA", "cifar10", tmp_path / "no.npz")
    monkeypatch.setenv("EDGENAS_DATA", str(tmp_path))
    assert table_path() == tmp_path / "nas_bench_201" / "nb201_acc.npz"
    refused(FileNotFoundError, str(table_path()), "cifar10")
    other = tmp_path / "other.npz"
    other.write_bytes(path.read_bytes()[:-1])
    refused(ValueError, "its SHA-256 is [0-9a-f]{64}, not 61755e29", "cifar10", other)
    refused(ValueError, "is damaged", "cifar10", other, sha256=None)


def test_a_table_of_ones_own_is_checked(write):
    half = np.full(CELLS, 50, np.float32)
    file = write(cifar10_valid_12ep=half)
    refused(ValueError, "its SHA-256 is", "cifar10", file)
    assert open_judge("cifar10", file, sha256=None)(None, [0] * 6).val_error == 0.5
    refused(ValueError, "`cifar100_valid_12ep` must hold accuracies", "cifar100", file, sha256=None)
    upwards = np.minimum(np.arange(CELLS) + 1, CELLS - 1).astype(np.int16)
    changes = [
        ("must hold accuracies of 0 to 100", {"cifar10_valid_12ep": half * np.nan}),
        (r"`cifar10_valid_12ep` must have shape \(15625,\), got \(3,\)", {"cifar10_valid_12ep": half[:3]}),
        (r"`iso_rep` must have shape \(15625,\), got \(0,\)", {"iso_rep": None}),
        ("`iso_rep` must name", {"iso_rep": upwards}),
        ("no array `arch_str`", {"arch_str": None}),
    ]
    for message, change in changes:
        refused(ValueError, message, "cifar10", write(**change), sha256=None)


def test_nothing_is_unpickled(tmp_path):
    file = tmp_path / "pickled.npz"
    np.savez(file, cifar10_valid_12ep=np.array([{"a": 1}], object))
    refused(ValueError, "allow_pickle=False", "cifar10", file, sha256=None)


def test_the_cells_hold_no_columns(judge):
    assert isinstance(judge.cells, Cells)
    assert isinstance(judge.cells.table, Table)
    assert judge.cells.table.columns == {}

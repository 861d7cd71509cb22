"""One loop for every search: exact in what it counts, and the same whether it was stopped or not."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from hardware.costs.cost import Cost
from nas.objective import INFEASIBLE, Judged, Objective
from nas.search import EXAMPLES
from nas.search.loop import PATIENCE, run_search
from nas.study import Study
from search_spaces.space import Choice, Space, size, smallest

OBJECTIVES = [Objective(cost="val_error"), Objective(cost="macs")]
POP = 8


@dataclass(frozen=True)
class Toy:
    """Choices without a network: 4^genes of them."""

    genes: int = 5

    @property
    def choices(self):
        return tuple(Choice(name=f"width{i}", options=(8, 16, 24, 32)) for i in range(self.genes))

    def supernet(self, key):
        return None

    def layers(self, arch):
        return ()


class Judge:
    """Counts its calls, and fails at one of them if asked to."""

    def __init__(self, fail_at=None):
        self.asked, self.fail_at = [], fail_at

    def __call__(self, arch):
        if len(self.asked) == self.fail_at:
            raise RuntimeError("the power went")
        self.asked.append(arch)
        genes = np.array(arch, float)
        values = {"val_error": ((3 - genes) ** 2).sum() / 100, "macs": genes.sum()}
        costs = {
            name: Cost(name=name, value=float(value), std=None, unit="1", kind="modelled", target="")
            for name, value in values.items()
        }
        return Judged(arch=arch, costs=costs)


@pytest.fixture(params=EXAMPLES, ids=lambda search: search.__name__)
def example(request):
    return request.param


def go(search, judge, path, evaluations=30, objectives=OBJECTIVES, progress=None):
    study = Study(path)
    order = run_search(
        search,
        judge,
        objectives,
        key=jax.random.key(0),
        evaluations=evaluations,
        study=study,
        name="search",
        progress=progress,
    )
    return order, study.standing("search")


def test_it_judges_as_many_distinct_networks_as_it_was_given(example, tmp_path):
    judge, counts = Judge(), []
    order, standing = go(example(space=Toy(), pop_size=POP), judge, tmp_path / "s.sqlite", progress=counts.append)
    assert len(order) == 30  # which is no multiple of the population
    assert len({judged.arch for judged in order}) == 30
    assert judge.asked == [judged.arch for judged in order]
    assert counts == list(range(1, 31))
    assert standing.finished
    assert standing.judged == order


def test_a_small_space_is_judged_whole_and_the_search_ends(example, tmp_path):
    space = Toy(2)
    order, standing = go(example(space=space, pop_size=POP), Judge(), tmp_path / "s.sqlite", evaluations=1000)
    assert len({judged.arch for judged in order}) == len(order) == size(space) == 16
    assert standing.finished


@pytest.mark.parametrize("fail_at", [3, 13, 29])  # in the first generation, in a later one, at the very last network
def test_a_search_that_was_stopped_ends_as_one_that_was_not(example, tmp_path, fail_at):
    search = example(space=Toy(), pop_size=POP)
    order, standing = go(search, Judge(), tmp_path / "through.sqlite")
    with pytest.raises(RuntimeError, match="the power went"):
        go(search, Judge(fail_at), tmp_path / "stopped.sqlite")
    kept = Study(tmp_path / "stopped.sqlite").judged("search")
    assert len(kept) <= fail_at
    judge = Judge()
    again, again_standing = go(search, judge, tmp_path / "stopped.sqlite")
    assert again == order
    assert len(judge.asked) == 30 - len(kept)  # what was stored is not judged again
    assert again_standing.generation == standing.generation
    assert set(again_standing.state) == set(standing.state)
    for name, value in standing.state.items():
        assert np.array_equal(again_standing.state[name], value)
        assert again_standing.state[name].dtype == value.dtype


def test_a_finished_search_judges_nothing_more(example, tmp_path):
    search = example(space=Toy(), pop_size=POP)
    order, _ = go(search, Judge(), tmp_path / "s.sqlite")
    judge = Judge()
    assert go(search, judge, tmp_path / "s.sqlite")[0] == order
    assert judge.asked == []


class Told(NamedTuple):
    costs: Any


@dataclass(frozen=True, kw_only=True)
class Stubborn:
    """Asks for the same two networks for ever, and remembers what it was told."""

    space: Space
    pop_size: int = 2

    def init(self, key):
        return Told(np.zeros((0, 2)))

    def ask(self, key, state):
        return np.stack([smallest(self.space), smallest(self.space) + 1])

    def tell(self, state, archs, costs):
        return Told(np.concatenate([state.costs, costs]))


def test_a_search_with_nothing_new_to_ask_is_ended(tmp_path):
    order, standing = go(Stubborn(space=Toy()), Judge(), tmp_path / "s.sqlite")
    assert [judged.arch for judged in order] == [(0,) * 5, (1,) * 5]
    assert standing.finished
    assert standing.generation == 1 + PATIENCE


def test_a_search_is_told_bounds_as_penalties(tmp_path):
    # macs of the two networks: 0 and 5, so the second is (5 - 4) / 4 = 0.25 above a bound of 4
    objectives = [OBJECTIVES[0], Objective(cost="macs", bound=4.0)]
    _, standing = go(Stubborn(space=Toy()), Judge(), tmp_path / "s.sqlite", objectives=objectives)
    assert np.allclose(standing.state["costs"][:2], [[0.45, 0], [1.25 * INFEASIBLE] * 2])

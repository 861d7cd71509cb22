"""Evolution finds a front that enumeration knows, and finds it sooner than chance."""

import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas.pareto import hypervolume, non_dominated, ranks
from nas.search import Evolution, RandomSearch
from search_spaces.space import Choice, canonical, largest, smallest


@dataclass(frozen=True)
class Toy:
    """Stages of up to three blocks, without a network: 3 * (2 + 4 + 8) choices of block options a stage."""

    stages: int = 4

    @property
    def choices(self):
        choices = []
        for s in range(self.stages):
            choices.append(Choice(name=f"stage{s}.depth", options=(1, 2, 3)))
            for b in range(3):
                requires = (f"stage{s}.depth", b) if b else None
                choices.append(Choice(name=f"stage{s}.block{b}.width", options=(2, 3), requires=requires))
        return tuple(choices)

    def supernet(self, key):
        return None

    def layers(self, arch):
        return ()


TOY = Toy()
SEARCH = Evolution(space=TOY, pop_size=32)  # one for most tests: it compiles once
# One stage's distinct rows: 2 of depth 1, 4 of depth 2, 8 of depth 3; so 14^4 = 38 416 networks.
STAGE = np.unique(canonical(Toy(1), np.array(list(itertools.product(range(3), *[range(2)] * 3)))), axis=0)
EVERY = np.array([np.concatenate(stages) for stages in itertools.product(STAGE, repeat=TOY.stages)], np.int32)


def costs_of(archs, objectives):
    """Each stage of b blocks of widths w has capacity c = sum of w.

    error: falls with every stage's capacity, with diminishing returns, and suffers from uneven neighbours;
    latency: a sum over blocks, later stages cheaper; memory: that of the largest stage.
    """
    genes = np.asarray(archs).reshape(-1, TOY.stages, 4)
    built = np.arange(3) <= genes[..., :1]
    capacity = ((2 + genes[..., 1:]) * built).sum(-1)  # [n stages], 2 to 9
    error = (np.array([4, 3, 2, 1]) / np.sqrt(capacity)).sum(1) + 0.1 * np.abs(np.diff(capacity)).sum(1)
    latency = (((2 + genes[..., 1:]) ** 1.5 * built).sum(-1) * np.array([3, 2, 2, 4])).sum(1)
    memory = (capacity * np.array([8, 4, 2, 1])).max(1)
    return np.stack([error, latency, memory], 1)[:, :objectives]


REFERENCE = np.array([9.0, 200.0, 80.0])


def run(search, key, rounds, objectives):
    """All costs judged in some rounds, and the last state."""
    state, seen = search.init(key), []
    for i in range(rounds):
        archs = search.ask(jax.random.fold_in(key, i), state)
        costs = costs_of(archs, objectives)
        state = search.tell(state, archs, costs)
        seen.append(costs)
    return np.concatenate(seen), state


@pytest.mark.parametrize("objectives", [2, 3])
def test_it_beats_random_search_and_nears_the_true_front(objectives):
    reference = REFERENCE[:objectives]
    best = hypervolume(costs_of(EVERY, objectives), reference)

    def mean(search):
        runs = (run(search, jax.random.key(seed), 30, objectives)[0] for seed in range(5))
        return np.mean([hypervolume(costs, reference) for costs in runs]) / best

    evolved, drawn = mean(SEARCH), mean(RandomSearch(space=TOY, pop_size=32))
    print(f"\nshare of the true front's volume after 960 networks: evolution {evolved:.4f}, random {drawn:.4f}")
    assert evolved > drawn + 0.015
    assert evolved > 0.98


def test_the_population_is_sorted_distinct_and_keeps_the_front_it_saw(key):
    seen, state = run(SEARCH, key, 10, 2)
    count = int(state.count)
    assert count == 32
    rows = np.asarray(state.archs)
    assert len(np.unique(rows, axis=0)) == 32
    assert np.allclose(state.costs, costs_of(rows, 2), rtol=1e-6)
    assert (np.diff(ranks(state.costs)) >= 0).all()
    front = np.unique(seen[non_dominated(seen)], axis=0)
    if len(front) <= 32:
        kept = {tuple(row) for row in np.asarray(state.costs, np.float32)}
        assert {tuple(row) for row in front.astype(np.float32)} <= kept


def test_the_first_population_holds_the_extremes_if_asked(key):
    with_extremes, without = (
        Evolution(space=TOY, pop_size=32, include_extremes=switch).init(key).archs.tolist() for switch in (True, False)
    )
    for extreme in (smallest(TOY), largest(TOY)):
        assert extreme.tolist() in with_extremes
        assert extreme.tolist() not in without


def test_asked_networks_are_new(key):
    search = SEARCH
    state = search.init(key)
    known = set()
    for i in range(5):
        archs = np.asarray(search.ask(jax.random.fold_in(key, i), state))
        rows = {tuple(row) for row in archs.tolist()}
        assert len(rows) == 32
        assert not rows & known
        state = search.tell(state, archs, costs_of(archs, 2))
        known = {tuple(row) for row in np.asarray(state.archs).tolist()}


def test_a_space_smaller_than_the_population_is_searched_whole(key):
    small = Toy(1)  # 14 networks
    search = Evolution(space=small, pop_size=16)
    state = search.init(key)
    for i in range(6):
        archs = search.ask(jax.random.fold_in(key, i), state)
        costs = np.stack([np.asarray(archs).sum(1), -np.asarray(archs)[:, 0]], 1).astype(float)
        state = search.tell(state, archs, costs)
    assert int(state.count) == 14
    assert np.array_equal(np.unique(np.asarray(state.archs)[:14], axis=0), STAGE)
    assert np.isinf(np.asarray(state.costs)[14:]).all()


def test_an_equal_row_told_later_replaces_the_earlier(key):
    search = SEARCH
    rows = EVERY[:2]
    state = search.tell(search.init(key), rows, np.array([[1.0, 1.0], [2.0, 2.0]]))
    state = search.tell(state, rows, np.array([[3.0, 3.0], [2.0, 2.0]]))
    assert int(state.count) == 2
    assert np.asarray(state.costs)[:2].tolist() == [[2, 2], [3, 3]]


def test_known_networks_may_start_it(key):
    search = Evolution(space=TOY, pop_size=32, mutation=0.0, crossover=0.0)
    state = search.tell(search.init(key), EVERY[:1], np.ones((1, 2)))
    # one parent, no variation: all that is left is to ask for that parent again
    assert np.array_equal(search.ask(key, state), np.repeat(EVERY[:1], 32, axis=0))


def test_infeasible_networks_stand_last_by_violation(key):
    search = SEARCH
    feasible = np.array([[1.0, 2.0], [2.0, 1.0]])
    infeasible = 1e6 + np.array([[30.0, 30.0], [10.0, 10.0], [20.0, 20.0]])
    state = search.tell(search.init(key), EVERY[:5], np.concatenate([infeasible, feasible]))
    assert np.asarray(state.costs)[:2].sum() == 6
    assert np.asarray(state.costs)[2:5, 0].tolist() == [1e6 + 10, 1e6 + 20, 1e6 + 30]


def test_it_compiles_once_for_a_search(key):
    run(SEARCH, key, 1, 2)
    before = Evolution._tell._cache_size(), Evolution._ask._cache_size()
    run(SEARCH, key, 4, 2)
    assert (Evolution._tell._cache_size(), Evolution._ask._cache_size()) == before


def test_the_number_of_objectives_stays(key):
    search = SEARCH
    state = search.tell(search.init(key), EVERY[:4], np.ones((4, 2)))
    with pytest.raises(ValueError, match="3 columns, but this state was told 2"):
        search.tell(state, EVERY[:4], jnp.ones((4, 3)))


@pytest.mark.parametrize("crossover", [-0.1, 1.1, np.nan])
def test_crossover_is_a_probability(crossover):
    with pytest.raises(ValueError, match="`crossover` is a probability"):
        Evolution(space=TOY, crossover=crossover)

"""Fronts, ranks, crowding and hypervolume, held to sums by hand, to counted cubes and to moocore."""

import itertools

import jax
import jax.numpy as jnp
import moocore
import numpy as np
import pytest

from nas.pareto import crowding_distance, hypervolume, non_dominated, ranks

# Five rows: a staircase of three, one row behind it, one equal to the second.
STAIRS = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 1.0], [3.0, 3.0], [2.0, 2.0]])


def test_the_front_by_hand():
    assert non_dominated(STAIRS).tolist() == [True, True, True, False, True]


def test_no_worse_everywhere_and_better_once_is_enough():
    assert non_dominated(np.array([[1.0, 1.0], [1.0, 2.0]])).tolist() == [True, False]


@pytest.mark.parametrize("objectives", [1, 2, 3, 5])
def test_the_front_is_moocore_s(objectives):
    costs = np.random.default_rng(objectives).integers(0, 6, (200, objectives)).astype(float)
    assert np.array_equal(non_dominated(costs), moocore.is_nondominated(costs, keep_weakly=True))
    assert np.array_equal(jax.jit(non_dominated)(jnp.asarray(costs)), non_dominated(costs))


def test_ranks_by_hand():
    costs = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 1.0], [3.0, 3.0], [5.0, 5.0], [2.0, 2.0]])
    assert ranks(costs).tolist() == [0, 0, 0, 1, 2, 0]


@pytest.mark.parametrize("objectives", [2, 3])
def test_ranks_are_moocore_s(objectives):
    costs = np.random.default_rng(0).integers(0, 12, (150, objectives)).astype(float)
    assert np.array_equal(jax.jit(ranks)(jnp.asarray(costs)), moocore.pareto_rank(costs))


def test_penalised_rows_rank_by_their_violation_behind_all_others():
    big = 1e6
    costs = np.array([[1.0, 2.0], [big + 3, big + 3], [2.0, 1.0], [big + 1, big + 1], [3.0, 3.0]])
    assert ranks(costs).tolist() == [0, 3, 0, 2, 1]


def test_crowding_by_hand():
    # one front; spreads 4 and 8. The second row: (2 - 0)/4 + (8 - 2)/8; the third: (4 - 1)/4 + (5 - 0)/8
    costs = np.array([[0.0, 8.0], [1.0, 5.0], [2.0, 2.0], [4.0, 0.0]])
    assert crowding_distance(costs, np.zeros(4, int)).tolist() == [np.inf, 1.25, 1.375, np.inf]


def test_crowding_looks_along_its_own_front_only():
    costs = np.array([[0.0, 8.0], [1.0, 5.0], [2.0, 2.0], [4.0, 0.0]])
    both = np.concatenate([costs, 10 * costs + 100])[::-1]
    distance = crowding_distance(both, np.array([1] * 4 + [0] * 4))
    assert distance.tolist() == [np.inf, 1.375, 1.25, np.inf] * 2


@pytest.mark.parametrize("scale", [1e-30, 1e9, 1e38])
def test_crowding_survives_any_magnitude(scale):
    costs = scale * np.array([[-3.0, 3.0], [-2.0, 1.0], [1.0, 0.0], [3.0, -3.0]], np.float32)
    plain = crowding_distance(costs / np.float32(scale), np.zeros(4, int))
    assert np.allclose(crowding_distance(costs, np.zeros(4, int)), plain)


def test_crowding_without_spread():
    rank = np.zeros(3, int)
    assert crowding_distance(np.ones((3, 2)), rank).tolist() == [0, 0, 0]
    assert crowding_distance(np.ones((1, 2)), rank[:1]).tolist() == [np.inf]
    assert crowding_distance(np.ones((0, 2)), rank[:0]).shape == (0,)
    # the second column has no spread, so only the first counts: (3 - 0)/3
    assert crowding_distance(np.array([[0.0, 7], [1, 7], [3, 7]]), rank).tolist() == [np.inf, 1, np.inf]


def test_hypervolume_by_hand():
    # under (5, 5): 4 x 1 of the first row, 3 x (4 - 2) of the second, 1 x (2 - 1) of the third
    assert hypervolume(STAIRS, (5.0, 5.0)) == 4 + 6 + 1


def test_hypervolume_of_one_objective():
    assert hypervolume(np.array([[3.0], [2.0], [9.0]]), [5.0]) == 3


def test_rows_at_or_beyond_the_reference_add_nothing():
    beyond = np.array([[5.0, 0.0], [0.0, 5.0], [9.0, -9.0], [np.inf, 0.0]])
    assert hypervolume(beyond, (5.0, 5.0)) == 0
    assert hypervolume(np.concatenate([STAIRS, beyond]), (5.0, 5.0)) == 11
    assert hypervolume(np.zeros((0, 2)), (5.0, 5.0)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_counts_the_unit_cubes_beaten(seed):
    costs = np.random.default_rng(seed).integers(0, 6, (12, 3)).astype(float)
    cubes = itertools.product(range(6), repeat=3)
    beaten = sum((costs <= cube).all(1).any() for cube in cubes)
    assert hypervolume(costs, (6.0, 6.0, 6.0)) == beaten


@pytest.mark.parametrize(("objectives", "rows"), [(2, 200), (3, 120), (4, 60), (5, 25)])
def test_hypervolume_is_moocore_s(objectives, rows):
    costs = np.random.default_rng(1).random((rows, objectives))
    reference = np.full(objectives, 0.9)
    assert hypervolume(costs, reference) == pytest.approx(moocore.hypervolume(costs, ref=reference), rel=1e-12)


def test_hypervolume_of_a_long_front_is_moocore_s():
    costs = np.random.default_rng(2).random((500, 3))
    costs /= np.linalg.norm(costs, axis=1, keepdims=True)
    costs = 1 - costs  # on a sphere, so all on one front
    reference = np.ones(3)
    assert hypervolume(costs, reference) == pytest.approx(moocore.hypervolume(costs, ref=reference), rel=1e-12)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_hypervolume_refuses_what_is_no_number(value):
    with pytest.raises(ValueError, match="row 1, column 0"):
        hypervolume(np.array([[1.0, 1.0], [value, 1.0]]), (2.0, 2.0))


@pytest.mark.parametrize("reference", [(2.0,), (2.0, np.inf), (2.0, 2.0, 2.0)])
def test_hypervolume_refuses_a_reference_that_does_not_fit(reference):
    with pytest.raises(ValueError, match=r"one finite value a column \(2\)"):
        hypervolume(STAIRS, reference)

"""Bounds are kept before costs are compared, and refused when nothing can keep them."""

import itertools
import re

import numpy as np
import pytest

from hardware.costs.cost import Cost
from hardware.target import Target
from nas.objective import (
    INFEASIBLE,
    Judged,
    Objective,
    Prices,
    check_reachable,
    cost_matrix,
    feasible,
    penalised,
    violations,
)
from predictors.features import FEATURE_NAMES
from search_spaces.layers import total_macs, total_params
from search_spaces.mobile import Mobile, Stage
from search_spaces.space import canonical, option_counts, size

# Depth 1 or 2 of 4 kinds of block in two widths: 2 * (4 + 16) = 40 networks.
SPACE = Mobile(image_size=8, stages=(Stage(widths=(8, 16), depths=(1, 2)),), kernels=(3, 5), expansions=(1, 2))
GRID = np.array(list(itertools.product(*map(range, option_counts(SPACE)))), np.int32)
EVERY = np.unique(canonical(SPACE, GRID), axis=0)
BOARD = Target(name="board", precision="int8")


def judged(arch, **values):
    return Judged(
        arch=arch,
        costs={
            name: Cost(name=name, value=float(value), std=None, unit="1", kind="modelled", target="")
            for name, value in values.items()
        },
    )


ERROR = Objective(cost="val_error")
MACS = Objective(cost="macs", bound=10.0)
PARAMS = Objective(cost="params", bound=4.0, minimised=False)
THREE = [
    judged((0,), val_error=0.3, macs=10, params=4),  # on both bounds: feasible
    judged((1,), val_error=0.1, macs=15, params=4),  # 5 above 10: 0.5
    judged((2,), val_error=0.2, macs=12, params=6),  # 2 above 10 and 2 above 4: 0.2 + 0.5
]


def test_violations_are_parts_of_their_bounds_summed():
    assert np.allclose(violations(THREE, [ERROR, MACS, PARAMS]), [0, 0.5, 0.7])
    assert feasible(THREE, [ERROR, MACS, PARAMS]).tolist() == [True, False, False]
    assert feasible(THREE, [ERROR]).all()


def test_a_bound_of_nothing_counts_what_is_above_it():
    assert violations(THREE, [Objective(cost="params", bound=0.0)]).tolist() == [4, 4, 6]


def test_only_what_is_minimised_is_a_column():
    assert cost_matrix(THREE, [ERROR, MACS, PARAMS]).tolist() == [[0.3, 10], [0.1, 15], [0.2, 12]]


def test_what_breaks_a_bound_is_worse_than_all_that_keeps_it():
    objectives = [ERROR, MACS, PARAMS]
    costs = penalised(cost_matrix(THREE, objectives), violations(THREE, objectives))
    assert costs[0].tolist() == [0.3, 10]
    assert np.allclose(costs[1:], [[1.5 * INFEASIBLE] * 2, [1.7 * INFEASIBLE] * 2])


def test_a_column_is_named_for_its_cost_and_target():
    assert Objective(cost="latency_ms", target="board").label == "latency_ms@board"
    assert ERROR.label == "val_error"
    with pytest.raises(ValueError, match="`macs` is neither minimised nor bounded: give it a bound or leave it out"):
        Objective(cost="macs", minimised=False)


def test_prices_say_how_each_was_come_by():
    class Constant:
        def predict(self, weights, features):
            assert features.shape == (1, len(FEATURE_NAMES))
            return np.array([weights]), np.array([0.1])

    row = EVERY[17]
    layers = SPACE.layers(row)
    costs = Prices(SPACE, [BOARD], {"board": (Constant(), 2.5)})(row)
    assert set(costs) == {"macs", "params", "peak_bytes@board", "flash_bytes@board", "latency_ms@board"}
    assert (costs["macs"].value, costs["params"].value) == (total_macs(layers), total_params(layers))
    assert costs["macs"].kind == costs["peak_bytes@board"].kind == "modelled"
    latency = costs["latency_ms@board"]
    assert (latency.kind, latency.value, latency.std, latency.unit, latency.target) == (
        "predicted",
        2.5,
        0.1,
        "ms",
        "board",
    )


@pytest.mark.parametrize(("cost", "target"), [("macs", ""), ("params", ""), ("peak_bytes", "board")])
def test_a_bound_out_of_reach_names_the_nearest_that_is_in_reach(cost, target):
    prices = Prices(SPACE, [BOARD], {})
    assert len(EVERY) == size(SPACE)
    label = Objective(cost=cost, target=target).label
    nearest = min(prices(row)[label].value for row in EVERY)
    check_reachable(SPACE, prices, [ERROR, Objective(cost=cost, target=target, bound=nearest)])
    with pytest.raises(ValueError, match=f"found no network with {label} at most .*raise the bound") as error:
        check_reachable(SPACE, prices, [Objective(cost=cost, target=target, bound=nearest - 1)])
    assert "\n" not in str(error.value)
    named = re.search(r"the lowest reached is (\S+) ", str(error.value))
    assert named is not None
    assert float(named[1]) == nearest  # to the last digit: as a bound, what is named must do


def test_an_error_is_not_known_before_judging():
    check_reachable(SPACE, Prices(SPACE, [], {}), [Objective(cost="val_error", bound=-1.0)])

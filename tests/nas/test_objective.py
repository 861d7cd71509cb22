"""Bounds are kept before costs are compared, and refused when nothing can keep them."""

import itertools
import re

import numpy as np
import pytest

from hardware.costs.cost import Cost
from hardware.costs.kernels import kernels
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
from search_spaces.derived.bounds import Extreme
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


class Powered(Target):
    """A target that models a time for each kernel, and an energy that is no sum over them."""

    def modelled(self, layers):
        steps = kernels(layers)
        time = 0.2 + sum(1e-3 * kernel.operations**0.9 for kernel in steps)
        own = {"latency_ms": time, "energy_mj": 3 * time + max([kernel.macs for kernel in steps], default=0)}
        costs = {
            name: Cost(name=name, value=value, std=None, unit="1", kind="modelled", target=self.name)
            for name, value in own.items()
        }
        return super().modelled(layers) | costs


class Priced:
    """A predictor of latency: a price for each feature."""

    def predict(self, weights, features):
        mean = features @ np.linspace(0.1, weights, features.shape[1])
        return mean, 0.1 * mean


POWERED = Powered(name="powered", precision="int8")
BIG = Target(name="big", precision="fp32")


@pytest.mark.parametrize("targets", [(), (BOARD,), (BOARD, POWERED, BIG)], ids=len)
def test_prices_of_a_population_are_those_of_each(targets):
    prices = Prices(SPACE, targets, {"big": (Priced(), 2.0)} if BIG in targets else {})
    together, each = prices.population(GRID[::7]), [prices(row) for row in GRID[::7]]
    assert list(together) == list(each[0])
    for label, values in together.items():
        assert np.allclose(values, [costs[label].value for costs in each], rtol=1e-9, atol=0), label
    for label in set(together) & {"macs", "params", "peak_bytes@board", "flash_bytes@big"}:
        assert together[label].tolist() == [costs[label].value for costs in each]


def test_prices_of_no_population_are_none():
    found = Prices(SPACE, [BOARD, POWERED, BIG], {"big": (Priced(), 2.0)}).population(GRID[:0])
    assert {values.shape for values in found.values()} == {(0,)}


def test_a_bound_is_not_refused_where_going_downhill_stuck(monkeypatch):
    prices = Prices(SPACE, [BOARD], {})
    costs = np.array([[prices(row)[f"{name}_bytes@board"].value for row in EVERY] for name in ("peak", "flash")])
    # As if the largest network were the lowest that changes of one gene reach.
    monkeypatch.setattr(
        "nas.objective.descend", lambda space, cost, start, sign: Extreme(value=cost(EVERY[-1]), arch=EVERY[-1])
    )
    for name, lowest in zip(("peak_bytes", "flash_bytes"), costs.min(1).tolist(), strict=True):
        check_reachable(SPACE, prices, [Objective(cost=name, target="board", bound=lowest)])
        with pytest.raises(ValueError, match=f"the lowest reached is {lowest!r} "):
            check_reachable(SPACE, prices, [Objective(cost=name, target="board", bound=lowest - 1)])


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

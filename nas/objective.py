"""An objective is one column of costs, lower is better; a constraint is an objective with a bound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from hardware.costs.additive import NetworkCost
from hardware.costs.cost import Cost
from hardware.costs.population import COUNTED, CostTables, cost_tables, population
from hardware.costs.precision import Precision
from hardware.target import Target
from predictors.features import features
from search_spaces.derived.bounds import Extreme, bounds, descend
from search_spaces.derived.factors import factors, gather
from search_spaces.layers import Layer, total_macs, total_params
from search_spaces.space import Space, smallest

ADDITIVE = ("macs", "params")
"""Costs that depend on no target."""

FEATURES = "features"
"""What predictors learn from, by its name among the functions of a precision's tables."""

INFEASIBLE = 1e6
"""Above every cost that occurs: what breaks a bound is worse than all that keeps it, and by its violation."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One column of costs.

    Attributes:
      cost: `val_error`, `latency_ms`, `energy_mj`, `peak_bytes`, `flash_bytes`, `macs` or `params`.
      target: the target whose cost it is; empty for costs that depend on none.
      bound: the largest value allowed; None for no limit.
      minimised: False for a cost that is only bounded.
    """

    cost: str
    target: str = ""
    bound: float | None = None
    minimised: bool = True

    def __post_init__(self) -> None:
        if self.bound is None and not self.minimised:
            raise ValueError(f"`{self.label}` is neither minimised nor bounded: give it a bound or leave it out")

    @property
    def label(self) -> str:
        """The column's name, `cost@target`."""
        return f"{self.cost}@{self.target}" if self.target else self.cost


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An architecture and its costs, by their columns' names."""

    arch: tuple[int, ...]
    costs: Mapping[str, Cost]


class Prices:
    """Every cost of an architecture that needs no training and no running: modelled or predicted, said with each."""

    def __init__(self, space: Space, targets: Sequence[Target], predictors: Mapping[str, tuple[Any, Any]]):
        """Takes the targets and, by target name, a predictor of latency with its fitted weights."""
        self.space, self.targets, self.predictors = space, targets, predictors
        self._tables: Mapping[Precision, CostTables] | None = None

    def __call__(self, arch: Int[Any, " choices"]) -> dict[str, Cost]:
        """The costs of one architecture, by column name."""
        layers = self.space.layers(arch)
        costs = {
            name: Cost(name=name, value=float(value), std=None, unit="1", kind="modelled", target="")
            for name, value in (("macs", total_macs(layers)), ("params", total_params(layers)))
        }
        for target in self.targets:
            for name, cost in target.modelled(layers).items():
                costs[f"{name}@{target.name}"] = cost
            if target.name in self.predictors:
                predictor, weights = self.predictors[target.name]
                mean, std = predictor.predict(weights, features(layers)[None])
                costs[f"latency_ms@{target.name}"] = Cost(
                    name="latency_ms",
                    value=float(mean[0]),
                    std=float(std[0]),
                    unit="ms",
                    kind="predicted",
                    target=target.name,
                )
        return costs

    def population(self, archs: Int[Any, "pop choices"]) -> dict[str, Float[np.ndarray, " pop"]]:
        """The values of the same costs of a whole population, by column name.

        They are gathered from tables that the first call finds, in some seconds for a large space
        (`hardware/costs/population.py`). Whole numbers are equal to those of one by one, others to 9 digits.

        Raises:
          ValueError: when a row is not of the space.
        """
        if not self.targets:
            return {name: gather(factors(self.space, name), archs).astype(np.float64) for name in ADDITIVE}
        priced = {precision: population(found, archs) for precision, found in self._found().items()}
        values = {name: priced[self.targets[0].precision][name] for name in ADDITIVE}
        for target in self.targets:
            of_target = priced[target.precision]
            counted, further = _names(self.space, target)
            values |= {f"{name}@{target.name}": of_target[name] for name in counted}
            for i, name in enumerate(further):
                column = of_target[_modelled_on(target)]
                values[f"{name}@{target.name}"] = column if column.ndim == 1 else column[:, i]
            if target.name in self.predictors:
                predictor, weights = self.predictors[target.name]
                values[f"latency_ms@{target.name}"] = predictor.predict(weights, of_target[FEATURES])[0]
        return {label: np.asarray(column, np.float64) for label, column in values.items()}

    def lowest(self, objective: Objective) -> Extreme | None:
        """The lowest value that any architecture of the space has, where it can be told exactly; None elsewhere."""
        target = next((target for target in self.targets if target.name == objective.target), None)
        if target is None:
            return None
        return cost_tables(self.space, target.precision).lowest(objective.cost)

    def _found(self) -> Mapping[Precision, CostTables]:
        """The tables for each precision of a target: of what is counted, modelled, and predicted from."""
        if self._tables is None:
            functions: dict[Precision, dict[str, NetworkCost]] = {}
            for target in self.targets:
                own = functions.setdefault(target.precision, {})
                _, further = _names(self.space, target)
                if further:
                    own[_modelled_on(target)] = partial(_modelled, target, further)
                if target.name in self.predictors:
                    own[FEATURES] = features
            self._tables = {precision: cost_tables(self.space, precision, own) for precision, own in functions.items()}
        return self._tables


def _names(space: Space, target: Target) -> tuple[list[str], list[str]]:
    """What a target says of a network: what is counted for its precision, and what is modelled besides."""
    names = list(target.modelled(space.layers(smallest(space))))
    return [name for name in names if name in COUNTED], [name for name in names if name not in COUNTED]


def _modelled_on(target: Target) -> str:
    return f"modelled@{target.name}"


def _modelled(target: Target, names: Sequence[str], layers: Sequence[Layer]) -> list[float]:
    costs = target.modelled(tuple(layers))
    return [costs[name].value for name in names]


def cost_matrix(judged: Sequence[Judged], objectives: Sequence[Objective]) -> Float[np.ndarray, "pop objectives"]:
    """The minimised costs, one row a network, one column an objective."""
    return np.array([[j.costs[o.label].value for o in objectives if o.minimised] for j in judged], np.float64)


def violations(judged: Sequence[Judged], objectives: Sequence[Objective]) -> Float[np.ndarray, " pop"]:
    """By how much each network breaks its bounds, summed, each in parts of its bound; 0 where it keeps them all."""
    total = np.zeros(len(judged))
    for objective in objectives:
        if objective.bound is not None:
            values = np.array([j.costs[objective.label].value for j in judged])
            total += np.maximum(0, values - objective.bound) / (abs(objective.bound) or 1)
    return total


def penalised(
    costs: Float[np.ndarray, "pop objectives"], broken: Float[np.ndarray, " pop"]
) -> Float[np.ndarray, "pop objectives"]:
    """Costs in which every feasible network beats every infeasible one, and of two infeasible the less so wins.

    This is the constrained domination of NSGA-II (doi:10.1109/4235.996017), written into the costs.
    """
    return np.where(broken[:, None] > 0, INFEASIBLE * (1 + broken[:, None]), costs)


def feasible(judged: Sequence[Judged], objectives: Sequence[Objective]) -> Bool[np.ndarray, " pop"]:
    """Which networks keep every bound."""
    return violations(judged, objectives) == 0


def check_reachable(space: Space, prices: Prices, objectives: Sequence[Objective]) -> None:
    """Refuses bounds that no architecture keeps, before anything is searched. Errors are only known by judging.

    Raises:
      ValueError: naming the bound and the nearest value that can be reached.
    """
    for objective in objectives:
        if objective.bound is None or objective.cost == "val_error":
            continue
        if objective.cost in ADDITIVE:
            lowest = bounds(space, objective.cost).lowest
        else:
            lowest = descend(space, lambda row, label=objective.label: prices(row)[label].value, smallest(space), 1)
            if lowest.value > objective.bound:  # going downhill may have stuck
                lowest = prices.lowest(objective) or lowest
        if lowest.value > objective.bound:
            raise ValueError(
                f"found no network with {objective.label} at most {objective.bound:g}; the lowest reached is"
                f" {float(lowest.value)!r} (architecture {lowest.arch.tolist()}): raise the bound to at least that"
            )

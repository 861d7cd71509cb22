"""The lowest and the highest value of a cost over a whole space: exact where it adds up, else the best found."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Int

from search_spaces.derived.elimination import cheapest, eliminate
from search_spaces.derived.factors import Factor, Factors, factors
from search_spaces.space import Space, canonical, largest, option_counts, smallest

Cost = str | Factors | Callable[[Any], float]
"""`macs` or `params`; the tables of any other cost that adds up (`factors`); or a function of an architecture."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Extreme:
    """A value of a cost and an architecture that has it.

    Attributes:
      value: as the cost has it.
      arch: a canonical row.
    """

    value: int | float
    arch: Int[np.ndarray, " choices"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Bounds:
    """How low and how high a cost goes.

    Attributes:
      lowest: the least value.
      highest: the greatest.
      exact: whether no architecture lies beyond; False where they are only the best that were found.
    """

    lowest: Extreme
    highest: Extreme
    exact: bool


def bounds(space: Space, cost: Cost) -> Bounds:
    """The lowest and the highest value of a cost.

    Args:
      space: any space, of any size.
      cost: one that adds up gives exact bounds. Of a function of an architecture (a latency, peak memory) they are
        found by changing one gene at a time from the smallest and the largest architecture until nothing gets better.

    Raises:
      ValueError: when the cost is unknown or no sum of tables, or its choices interact too widely.
    """
    if (tables := tables_of(space, cost)) is None:
        low, high = descend(space, cost, smallest(space), 1), descend(space, cost, largest(space), -1)
        return Bounds(lowest=low, highest=high, exact=False)
    return _exact(space, tables)


@lru_cache(maxsize=32)
def _exact(space: Space, tables: Factors) -> Bounds:
    turned = tuple(Factor(term.scope, -term.table) for term in tables.terms)
    below = eliminate(space, tables)
    above = eliminate(space, Factors(space=space, name=tables.name, constant=-tables.constant, terms=turned))
    return Bounds(
        lowest=Extreme(value=below.lowest, arch=cheapest(below)),
        highest=Extreme(value=-above.lowest, arch=cheapest(above)),
        exact=True,
    )


def tables_of(space: Space, cost: Cost) -> Factors | None:
    """The tables of a cost that adds up; None for a function of an architecture."""
    if isinstance(cost, str):
        return factors(space, cost)
    return cost if isinstance(cost, Factors) else None


def descend(space: Space, cost: Any, start: Int[np.ndarray, " choices"], sign: int) -> Extreme:
    """The lowest value, or with a sign of -1 the highest, that changing one gene at a time from `start` reaches."""
    best = canonical(space, start)
    value = cost(best)
    improved = True
    while improved:  # ends: every pass but the last is better, over finitely many architectures
        improved = False
        for gene, options in enumerate(option_counts(space)):
            for option in range(options):
                row = best.copy()
                row[gene] = option
                row = canonical(space, row)
                if sign * (candidate := cost(row)) < sign * value:
                    best, value, improved = row, candidate, True
    return Extreme(value=value, arch=best)

"""A cost that adds up over layers, as a sum of tables over few choices each: exact, and read by whole populations.

Bounds (`bounds.py`) and draws under a limit (`constrained.py`) follow from them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Int

from search_spaces.derived.slot_costs import SlotCosts, of_layers
from search_spaces.derived.tables import Tables, tables
from search_spaces.layers import Layer, macs, params
from search_spaces.space import Space, check_archs

COSTS: dict[str, Callable[[Layer], int]] = {"macs": macs, "params": params}
"""Costs by name: of one layer."""


@dataclass(frozen=True, eq=False)
class Factor:
    """One table of a sum.

    Attributes:
      scope: positions of the choices that it is over, increasing.
      table: the cost, int64, one axis for each of them.
    """

    scope: tuple[int, ...]
    table: Int[np.ndarray, "..."]


@dataclass(frozen=True, eq=False, kw_only=True)
class Factors:
    """A cost as a sum of tables; `gather` reads it.

    Attributes:
      space: whose architectures' cost it is.
      name: of the cost, for messages.
      constant: what every architecture costs.
      terms: the tables; none's scope lies within another's.
    """

    space: Space
    name: str
    constant: int
    terms: tuple[Factor, ...]


@lru_cache(maxsize=32)
def factors(space: Space, cost: str | Callable[[Layer], int]) -> Factors:
    """The tables of a cost; some seconds for a large space, once.

    Args:
      space: any space, of any size.
      cost: `macs`, `params`, or a function of a layer that gives a whole number (called on every layer, so that what
        counts only some layers gives 0 for the others). What hangs on more than its layer is found by `tables.py`.

    Returns:
      Tables whose sum is the cost of all layers, for every architecture, canonical or not.

    Raises:
      ValueError: when the cost is unknown, gives anything but whole numbers, or is no sum of small tables.
    """
    if isinstance(cost, str) and cost not in COSTS:
        raise ValueError(f"cost must be one of {', '.join(COSTS)} or a function of a layer, got `{cost}`")
    per_layer = COSTS[cost] if isinstance(cost, str) else cost
    name = cost if isinstance(cost, str) else getattr(cost, "__name__", "the cost")
    return one_of(tables(SlotCosts(space, of_layers(per_layer), 1), [0], "sum", name), 0, name)


def one_of(found: Tables, cost: int, name: str) -> Factors:
    """One cost of several whose tables were found together.

    Args:
      found: tables of a sum.
      cost: its position among theirs.
      name: of the cost, for messages.
    """
    terms = tuple(Factor(term.scope, term.values[..., cost]) for term in found.terms)
    return Factors(space=found.space, name=name, constant=int(found.constant[cost]), terms=terms)


def gather(found: Factors, archs: Any) -> Int[np.ndarray, " pop"]:
    """The cost of each architecture of a population, `[pop, choices]`.

    Raises:
      ValueError: when a row is not of the space.
    """
    rows = check_archs(found.space, archs)
    columns = np.ascontiguousarray(rows.T).astype(np.intp)
    total = np.full(len(rows), found.constant, np.int64)
    for term in found.terms:
        at = np.zeros(len(rows), np.intp)
        for choice, options in zip(term.scope, term.table.shape, strict=True):
            at *= options
            at += columns[choice]
        total += term.table.reshape(-1)[at]
    return total

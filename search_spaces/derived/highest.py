"""The least that the highest of some tables can be, exactly: peak memory that no architecture stays below."""

import numpy as np

from search_spaces.derived.bounds import Extreme
from search_spaces.derived.elimination import Elimination, cheapest, eliminate
from search_spaces.derived.factors import Factor, Factors
from search_spaces.derived.tables import Tables


def least_highest(found: Tables, cost: int = 0) -> Extreme:
    """The lowest value of a cost that is the highest of its tables, and an architecture that has it.

    A value can be kept where some architecture has no entry above it; the least such value is found by halving.

    Args:
      found: tables of `highest`.
      cost: its position among theirs.

    Raises:
      ValueError: when so many choices interact that it can't be counted.
    """
    least = int(found.constant[cost])
    values = np.unique([least, *(each for term in found.terms for each in np.unique(term.values[..., cost]))])
    levels = values[values >= least].tolist()
    low, high = 0, len(levels) - 1  # the highest of all can be kept
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _above(found, cost, levels[middle]).lowest == 0 else (middle + 1, high)
    return Extreme(value=levels[low], arch=cheapest(_above(found, cost, levels[low])))


def _above(found: Tables, cost: int, level: int) -> Elimination:
    """The paths of the space, each costing as many as it has entries above the level."""
    terms = tuple(Factor(term.scope, (term.values[..., cost] > level).astype(np.int64)) for term in found.terms)
    return eliminate(found.space, Factors(space=found.space, name="highest", constant=0, terms=terms))

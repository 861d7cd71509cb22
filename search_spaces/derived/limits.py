"""A limit on a cost, and how many architectures keep it: exact, or between two numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
from jaxtyping import Bool, Float

from search_spaces.derived.bounds import Bounds, Cost, bounds, tables_of
from search_spaces.derived.counting import count_in, window
from search_spaces.derived.elimination import Over, eliminate
from search_spaces.derived.factors import Factors
from search_spaces.space import Space, option_counts, size

MOST_EXACT, MOST_STEPS = 1_000_000, 4096  # steps of cost of an exact count, and of one between two numbers
CELLS = 20_000_000  # states times steps of cost that a count may look at


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a cost must keep.

    Attributes:
      cost: `macs`, `params`, the tables of another cost that adds up (`factors`), or a function of an architecture.
      at_most: the largest value allowed; None for any.
      at_least: the smallest; None for any.
    """

    cost: Cost
    at_most: int | float | None = None
    at_least: int | float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.at_least, self.at_most) if value is not None]
        numbers = all(isinstance(value, Real) and not math.isnan(value) for value in given)
        if not given or not numbers:
            raise ValueError(
                f"a limit needs `at_most` or `at_least`, a number, got {self.at_most!r} and {self.at_least!r}"
            )
        if given != sorted(given):
            raise ValueError(f"`at_least` must not be above `at_most`, got {self.at_least} and {self.at_most}")

    @property
    def name(self) -> str:
        """The cost's, for messages."""
        if isinstance(self.cost, str):
            return self.cost
        return self.cost.name if isinstance(self.cost, Factors) else getattr(self.cost, "__name__", "the cost")

    @property
    def rule(self) -> str:
        """The limit in words."""
        sides = (("at least", self.at_least), ("at most", self.at_most))
        return f"{self.name} " + " and ".join(f"{word} {shown(value)}" for word, value in sides if value is not None)

    def keeps(self, values: Float[np.ndarray, " pop"]) -> Bool[np.ndarray, " pop"]:
        """Which values keep it; NaN never does."""
        kept = ~np.isnan(values)
        kept &= True if self.at_most is None else values <= self.at_most
        kept &= True if self.at_least is None else values >= self.at_least
        return kept


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many architectures there are, or between which numbers that lies.

    Attributes:
      at_least: no fewer.
      at_most: no more; the same where the count is exact.
    """

    at_least: int
    at_most: int

    @property
    def exact(self) -> bool:
        """Whether it is one number."""
        return self.at_least == self.at_most


def count(
    space: Space,
    cost: Cost,
    *,
    at_most: int | float | None = None,
    at_least: int | float | None = None,
    over: Over = "networks",
) -> Count:
    """How many architectures keep a limit on a cost that adds up.

    Args:
      space: any space, of any size.
      cost: `macs`, `params` or tables of `factors`.
      at_most: the largest value allowed.
      at_least: the smallest value allowed.
      over: distinct `networks`, or rows of `genes`.

    Returns:
      The exact number, of any magnitude, where the costs' common divisor leaves so few distinct costs that all can be
      counted; else two numbers that it lies between.

    Raises:
      ValueError: when the cost doesn't add up.
    """
    limit = Limit(cost=cost, at_most=at_most, at_least=at_least)
    if (table := tables_of(space, cost)) is None:
        raise ValueError(f"{limit.name} does not add up over layers, so that nothing can be counted; draw with `under`")
    found, reach, most = eliminate(space, table, over), bounds(space, table), rows_of(space, over)
    low, high = ends(limit, reach)
    if high >= reach.highest.value and low <= reach.lowest.value:
        return Count(at_least=most, at_most=most)
    widest = max(step.states for step in found.steps)
    outer = window(found, low, high, min(MOST_EXACT, CELLS // widest))
    if outer.exact:
        number = count_in(found, outer, most)
        return Count(at_least=number, at_most=number)
    steps = min(MOST_STEPS, CELLS // widest)
    inner, outer = (window(found, low, high, steps, inside=inside) for inside in (True, False))
    return Count(at_least=count_in(found, inner, most), at_most=count_in(found, outer, most))


def ends(limit: Limit, reach: Bounds) -> tuple[int, int]:
    """The limit in whole numbers, within what can be reached."""
    low, high = int(reach.lowest.value), int(reach.highest.value)
    at_least = low if limit.at_least is None else math.ceil(max(low, min(limit.at_least, high + 1)))
    at_most = high if limit.at_most is None else math.floor(min(high, max(limit.at_most, low - 1)))
    return at_least, at_most


def rows_of(space: Space, over: Over) -> int:
    """How many networks, or rows of genes, a space has."""
    return size(space) if over == "networks" else math.prod(option_counts(space).tolist())


def shown(value: int | float) -> str:
    """A value of a cost, for messages: whole numbers in full, others to 12 digits."""
    return f"{int(value):,}" if math.isfinite(value) and value == int(value) else f"{value:.12g}"


def unreachable(limits: Sequence[Limit], reached: Sequence[Bounds | None]) -> str:
    """Says of limits that no architecture keeps what their costs reach; None for a cost of which that is unknown."""
    rules = "; ".join(limit.rule for limit in limits)
    ends = [
        f"{limit.name} goes from {shown(reach.lowest.value)} (architecture {reach.lowest.arch.tolist()}) to"
        f" {shown(reach.highest.value)} (architecture {reach.highest.arch.tolist()})"
        for limit, reach in zip(limits, reached, strict=True)
        if reach is not None
    ]
    return f"no network has {rules}; {'; '.join(ends)}: choose limits that a network keeps"

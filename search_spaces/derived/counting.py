"""How many architectures keep a limit, and draws among those: by counting along the paths of `elimination.py`.

Costs are counted in whole steps of some size. Where the size divides all costs the count is exact; where that would be
too many steps, costs are rounded down, so that what is counted and drawn holds all that keeps the limit and a little
more: the exact cost then decides.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from search_spaces.derived.elimination import Elimination, Step

MEMORY = 256 * 2**20  # bytes of all tables
EXACT, FINEST = 16_384, 65_536  # steps of cost: for an exact count, and at the most
CHUNK = 8192  # rows drawn at a time: what they read stays in the cache
PRIME_BITS = 40  # of the moduli: sums of `options` products with weights below 2^22 fit 64 bits


@dataclass(frozen=True, eq=False, kw_only=True)
class Window:
    """Which costs are counted, in steps above the lowest.

    Attributes:
      unit: the size of a step.
      low: the fewest steps.
      high: the most.
      exact: whether it holds what keeps the limit and nothing else.
    """

    unit: int
    low: int
    high: int
    exact: bool


def window(found: Elimination, at_least: int, at_most: int, steps: int, *, inside: bool = False) -> Window:
    """The window of costs from `at_least` to `at_most`, both included, in no more than so many steps.

    Rows' costs are rounded down choice by choice, so that it holds all rows that keep the limit, or with `inside` only
    such rows.
    """
    divisor = _divisor(found)
    least, most = max(0, at_least - found.lowest), at_most - found.lowest
    unit = divisor * max(1, math.ceil((most // divisor + 1) / steps))
    if unit == divisor:
        return Window(unit=unit, low=-(-least // unit), high=most // unit, exact=True)
    lost = sum(bool((step.cost % unit).any()) for step in found.steps) * (unit - 1)  # by rounding, at the most
    if inside:
        return Window(unit=unit, low=-(-least // unit), high=(most - lost) // unit, exact=False)
    return Window(unit=unit, low=max(0, -(-(least - lost) // unit)), high=most // unit, exact=False)


def unlimited(found: Elimination) -> Window:
    """The window that every row is in."""
    top = sum(int(step.cost.max()) for step in found.steps)
    return Window(unit=top + 1, low=0, high=0, exact=True)


def steps_for(found: Elimination, at_least: int, at_most: int) -> int:
    """So many steps of cost that nothing is rounded or, where those were too many, rounding adds little."""
    affordable = MEMORY // 8 // sum(step.states for step in found.steps)
    exactly = (at_most - found.lowest) // _divisor(found) + 1
    if exactly <= min(EXACT, affordable):
        return exactly
    rounded = sum(bool(step.cost.any()) for step in found.steps)
    share = (at_most - max(at_least, found.lowest) + 1) / max(1, at_most - found.lowest + 1)
    wanted = 100 * max(1, rounded) / max(share, 1e-6)
    return max(2, int(min(max(1024, wanted), FINEST, affordable)))


def _divisor(found: Elimination) -> int:
    """The largest number that divides all costs above the lowest."""
    return max(1, int(np.gcd.reduce(np.concatenate([step.cost for step in found.steps]))))


def count_in(found: Elimination, chosen: Window, most: int) -> int:
    """How many rows are in the window, exactly.

    Args:
      found: the paths.
      chosen: the window.
      most: a number that it cannot be above: counting is done modulo as many primes as tell numbers up to it apart.
    """
    if chosen.high < max(0, chosen.low):
        return 0
    residue, modulus = 0, 1
    for prime in _primes(1 << PRIME_BITS):
        if modulus > most:
            break
        (*_, last) = _backwards(found, chosen, prime)
        digit = (int(last[0, 0]) - residue) * pow(modulus, -1, prime) % prime
        residue, modulus = residue + modulus * digit, modulus * prime
    return residue


class Draws:
    """Draws rows of the window, each equally probable, or in proportion to its weight."""

    def __init__(self, found: Elimination, chosen: Window):
        """Counts completions from every state and every cost so far, once; none may be in the window."""
        self._found = found
        counted = list(_backwards(found, chosen, None))[::-1] if chosen.high >= max(0, chosen.low) else []
        self.is_empty = not counted or counted[0][0, 0] == 0
        self._tables = [_Table.of(step, table, chosen) for step, table in zip(found.steps, counted[1:], strict=False)]

    def __call__(self, rng: np.random.Generator, n: int) -> Int[np.ndarray, "n choices"]:
        """`n` canonical rows, drawn independently."""
        parts = [self._chunk(rng, min(CHUNK, n - start)) for start in range(0, n, CHUNK)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self._found.steps)), np.int32)

    def _chunk(self, rng: np.random.Generator, n: int) -> np.ndarray:
        genes = np.empty((len(self._found.steps), n), np.int32)
        state, spent = np.zeros(n, np.intp), np.zeros(n, np.intp)
        for step, table in zip(self._found.steps, self._tables, strict=True):
            at = np.take(table.at, state, axis=1)
            at += spent
            reached = np.take(table.ahead, at)
            if table.weight is not None:
                reached *= np.take(table.weight, state, axis=1)
            np.add.accumulate(reached, out=reached)
            lot = rng.random(n) * reached[-1] * (1 - 2.0**-50)  # below the last sum, rounding included
            picked = (lot >= reached[:-1]).sum(0)
            genes[step.choice] = picked
            entry = picked * step.states + state
            spent += np.take(table.cost, entry)
            state = np.take(table.following, entry)
        return np.ascontiguousarray(genes.T)


class _Table(NamedTuple):
    """What a step is drawn by; options come first, then states.

    Attributes:
      ahead: counts behind the step, for each following state and cost, flat.
      at: where in `ahead` the counts of an option begin.
      cost: of an option, in steps of cost.
      following: the state after it.
      weight: None where none is above 1.
    """

    ahead: Float[np.ndarray, " counts"]
    at: Int[np.ndarray, "options states"]
    cost: Int[np.ndarray, "options states"]
    following: Int[np.ndarray, "options states"]
    weight: Float[np.ndarray, "options states"] | None

    @staticmethod
    def of(step: Step, ahead: np.ndarray, chosen: Window) -> "_Table":
        """Pads the counts with zeros as far as any option leads: beyond the window there are none."""
        beyond = chosen.high + 1
        # What no row has leads out of the window too.
        costs = np.where(step.weight > 0, np.minimum(step.cost // chosen.unit, beyond), beyond)
        width = chosen.high + int(costs.max()) + 1
        padded = np.zeros((len(ahead), width))
        padded[:, :beyond] = ahead
        cost, following, weight = (
            np.ascontiguousarray(x.reshape(-1, step.options).T) for x in (costs, step.following, step.weight)
        )
        return _Table(
            padded.reshape(-1),
            following * width + cost,
            cost,
            following,
            weight.astype(float) if weight.max() > 1 else None,
        )


def _backwards(found: Elimination, chosen: Window, prime: int | None) -> Iterator[Float[np.ndarray, "states costs"]]:
    """Behind each step, for each state and each cost so far, how many ways of going on end in the window.

    As floats these are only right up to a factor a step, which keeps them from overflowing; modulo a prime they are
    exact.
    """
    ahead = np.zeros((1, chosen.high + 1), np.int64 if prime else np.float64)
    ahead[0, chosen.low :] = 1
    yield ahead
    for step in reversed(found.steps):
        ahead = _before(step, ahead, chosen, prime)
        yield ahead


def _before(step: Step, ahead: np.ndarray, chosen: Window, prime: int | None) -> np.ndarray:
    width = ahead.shape[1]
    table = np.zeros((step.states, width), ahead.dtype)
    costs = step.cost // chosen.unit
    for entry in np.flatnonzero((step.weight > 0) & (costs < width)).tolist():
        cost, weight, into = int(costs[entry]), int(step.weight[entry]), table[entry // step.options]
        rest = ahead[step.following[entry], cost:]
        into[: width - cost] += rest if weight == 1 else weight * rest
    if prime:
        return table % prime
    return table / (table.max() or 1.0)


def _primes(below: int) -> Iterator[int]:
    """Primes downwards. Deterministic Miller-Rabin: these bases decide for all numbers below 3.3 * 10^24."""
    for number in range(below - 1, 2, -2):
        odd, twos = number - 1, 0
        while odd % 2 == 0:
            odd, twos = odd // 2, twos + 1
        if all(_passes(base, number, odd, twos) for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)):
            yield number


def _passes(base: int, number: int, odd: int, twos: int) -> bool:
    power = pow(base, odd, number)
    return power in (1, number - 1) or any((power := power * power % number) == number - 1 for _ in range(twos - 1))

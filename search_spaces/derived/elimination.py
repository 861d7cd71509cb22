"""All architectures as paths: one choice after another, where only the choices that later costs hang on are remembered.

What can be said of paths step by step (the cheapest, how many there are below a limit, one drawn uniformly) can so be
said of 10^20 architectures, exactly. This is variable elimination on a cost network (doi:10.1016/S0004-3702(99)00059-4)
along an order that is kept narrow greedily.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Int

from search_spaces.derived.factors import Factor, Factors
from search_spaces.space import Space, option_counts

Over = Literal["networks", "genes"]
"""Over what draws are uniform: distinct networks, or rows of genes, of which many may be one network."""

WIDEST = 2_000_000  # states of one step
IMPOSSIBLE = np.int64(2**62)


@dataclass(frozen=True, eq=False, kw_only=True)
class Step:
    """One choice. A state is a combination of options of the choices that are remembered before it.

    Attributes:
      choice: its position.
      options: how many it has.
      following: for each state and option, flat, the state after it.
      cost: for each, the cost that is known with it, above the least that is possible from its state on.
      weight: for each, by how much the number of rows multiplies; 0 where no canonical row has it.
    """

    choice: int
    options: int
    following: Int[np.ndarray, " states_options"]
    cost: Int[np.ndarray, " states_options"]
    weight: Int[np.ndarray, " states_options"]

    @property
    def states(self) -> int:
        """How many states there are before it."""
        return len(self.following) // self.options


@dataclass(frozen=True, eq=False, kw_only=True)
class Elimination:
    """The steps from one state to one state; each canonical row is one path.

    Attributes:
      steps: as many as choices.
      lowest: the least cost of any row; along a path, steps' costs add up to what a row costs above it.
    """

    steps: tuple[Step, ...]
    lowest: int


@lru_cache(maxsize=32)
def eliminate(space: Space, cost: Factors | None, over: Over = "networks") -> Elimination:
    """The paths of a space under a cost that adds up; None for no cost.

    Raises:
      ValueError: when so many choices interact that too much would have to be remembered.
    """
    counts = option_counts(space).tolist()
    terms = list(cost.terms) if cost is not None else []
    gates = list(_gates(space, over))
    order = _order(counts, [term.scope for term in (*terms, *gates)])
    steps, live = [], []
    for number, choice in enumerate(order):
        scope, later = [*live, choice], set(order[number + 1 :])
        shape = tuple(counts[i] for i in scope)
        if np.prod(shape, dtype=object) > WIDEST:
            raise ValueError(
                f"{len(scope)} choices interact, among them `{space.choices[choice].name}`: too many to count exactly;"
                " a function of an architecture is taken as it is"
            )
        now = {True: np.zeros(shape, np.int64), False: np.ones(shape, np.int64)}
        for term, adds in [*((t, True) for t in terms), *((g, False) for g in gates)]:
            if choice in term.scope and not later & set(term.scope):
                table = _over(term, scope)
                now[adds] = now[adds] + table if adds else now[adds] * table
        live = [i for i in scope if any(i in t.scope and later & set(t.scope) for t in (*terms, *gates))]
        kept = tuple(n if i in live else 1 for i, n in zip(scope, shape, strict=True))
        following = np.broadcast_to(np.arange(np.prod(kept, dtype=int)).reshape(kept), shape)
        cost_now, weight = now[True].reshape(-1), now[False].reshape(-1)
        steps.append((choice, counts[choice], following.reshape(-1), cost_now, weight))
    least, found = np.zeros(1, np.int64), []
    for choice, options, following, cost_now, weight in reversed(steps):
        possible = (weight > 0) & (least[following] < IMPOSSIBLE)
        onward = np.where(possible, cost_now + least[following], IMPOSSIBLE)
        least, weight = onward.reshape(-1, options).min(1), np.where(possible, weight, 0)
        above = np.where(possible, onward - np.repeat(least, options), 0)
        found.append(Step(choice=choice, options=options, following=following, cost=above, weight=weight))
    constant = cost.constant if cost is not None else 0
    return Elimination(steps=tuple(reversed(found)), lowest=constant + int(least[0]))


def cheapest(found: Elimination) -> Int[np.ndarray, " choices"]:
    """A canonical row of the lowest cost; of several, one with early options."""
    row, state = np.zeros(len(found.steps), np.int32), 0
    for step in found.steps:
        at = state * step.options + np.arange(step.options)
        option = int(np.flatnonzero((step.weight[at] > 0) & (step.cost[at] == 0))[0])
        row[step.choice], state = option, int(step.following[at[option]])
    return row


def _gates(space: Space, over: Over) -> Iterator[Factor]:
    """For each choice that may have no effect: 1 where a canonical row may have both options, else 0.

    Over genes, a choice that has no effect stands for each of its options.
    """
    position = {choice.name: i for i, choice in enumerate(space.choices)}
    for i, choice in enumerate(space.choices):
        requires = choice.requires
        while requires is not None and requires[1] == 0:  # it has an effect where that one has
            requires = space.choices[position[requires[0]]].requires
        if requires is None:
            continue
        parent, options = position[requires[0]], len(choice.options)
        table = np.ones((len(space.choices[parent].options), options), np.int64)
        table[: requires[1]] = 0  # without an effect itself, the other is at 0, which is below
        table[: requires[1], 0] = options if over == "genes" else 1
        yield Factor((parent, i), table)


def _over(term: Factor, scope: Sequence[int]) -> np.ndarray:
    """Its table with an axis for each choice of the scope, in that order."""
    table = np.transpose(term.table, np.argsort([scope.index(i) for i in term.scope]))
    sizes = dict(zip(term.scope, term.table.shape, strict=True))
    return table.reshape([sizes.get(i, 1) for i in scope])


def _order(counts: Sequence[int], scopes: Sequence[tuple[int, ...]]) -> list[int]:
    """The order with the fewest states, of the choices' own and those that start at a choice and stay narrow."""
    met = np.zeros(len(counts), int)
    for scope in scopes:
        met[list(scope)] += 1
    starts = np.argsort(-met, kind="stable")[:4].tolist()
    tried = [list(range(len(counts))), *(_greedy(counts, scopes, start) for start in starts)]
    return min(tried, key=lambda order: _states(counts, scopes, order))


def _greedy(counts: Sequence[int], scopes: Sequence[tuple[int, ...]], start: int) -> list[int]:
    near = [set[int]() for _ in counts]
    for scope in scopes:
        for i in scope:
            near[i] |= set(scope) - {i}
    order, left, live = [start], set(range(len(counts))) - {start}, {start} if near[start] else set()
    while left:

        def after(i: int, left: set[int] = left, live: set[int] = live) -> tuple[float, int]:
            kept = [j for j in live | {i} if near[j] & (left - {i})]
            return float(np.log([counts[j] for j in kept]).sum()), i

        _, choice = min(map(after, left))
        left.remove(choice)
        live = {j for j in live | {choice} if near[j] & left}
        order.append(choice)
    return order


def _states(counts: Sequence[int], scopes: Sequence[tuple[int, ...]], order: Sequence[int]) -> float:
    """States and options of all steps, summed."""
    place = {choice: number for number, choice in enumerate(order)}
    spans = [(min(place[i] for i in scope), max(place[i] for i in scope), scope) for scope in scopes]
    last = {i: max((end for _, end, scope in spans if i in scope), default=place[i]) for i in order}
    total = 0.0
    for number, choice in enumerate(order):
        live = [i for i in order[:number] if last[i] >= number]
        total += float(np.prod([counts[i] for i in (*live, choice)], dtype=float))
    return total

"""Costs of groups of a network's parts, and on which choices each hangs: found by measuring, not believed."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int

from search_spaces.derived.slot_costs import SlotCosts
from search_spaces.space import Space, canonical, largest, networks_by_option, option_counts

Combine = Literal["sum", "highest"]
"""How a network's cost follows from its groups', and theirs from their parts'."""

LARGEST_TABLE = 10_000  # entries, each the cost of an architecture
WALKS = 3  # between architectures that contradict each other, for each group and look


class Groups:
    """Some of the costs that are measured, by groups.

    Attributes:
      space: whose architectures.
      combine: how the costs come together.
      ufunc: the same for arrays.
      costs: how many there are.
    """

    def __init__(self, measure: SlotCosts, costs: Sequence[int], combine: Combine, *, apart: bool):
        """Takes positions of costs, and whether parts without a path are kept apart by the slot before them."""
        self.space, self.costs = measure.space, len(costs)
        self.combine: Combine = combine
        self.ufunc: np.ufunc = np.add if combine == "sum" else np.maximum
        self._measure, self._at = measure, list(costs)
        self._with_path = measure.groups if apart else len(measure.slots)

    def declared(self) -> list[set[int]]:
        """For each group, the positions of the choices that its slot says shape it."""
        said = self._measure.declared()
        return [*said[: self._with_path], *([set[int]()] if self._with_path < len(said) else [])]

    def __call__(self, arch: Int[np.ndarray, " choices"]) -> Int[np.ndarray, "groups costs"]:
        """The costs of each group of an architecture."""
        return self._of(self._measure(arch)[None])[0]

    def seen(self) -> tuple[Int[np.ndarray, "archs choices"], Int[np.ndarray, "archs groups costs"]]:
        """All architectures that were measured so far, canonical, and the costs of each."""
        archs, costs = self._measure.seen()
        return archs, self._of(costs)

    def _of(self, costs: np.ndarray) -> np.ndarray:
        found = costs[..., self._at]
        if self._with_path == found.shape[1]:
            return found
        rest = self.ufunc.reduce(found[:, self._with_path :], axis=1)
        return np.concatenate([found[:, : self._with_path], rest[:, None]], 1)


def fits(space: Space, scope: Sequence[int] | set[int], limit: int | None = None) -> bool:
    """Whether a table over these choices has few enough entries."""
    return np.prod(option_counts(space)[list(scope)], dtype=object) <= (LARGEST_TABLE if limit is None else limit)


def widen(groups: Groups, scopes: list[set[int]], bases: Int[np.ndarray, "bases choices"]) -> None:
    """Adds to each group's choices those that change its cost when they alone are changed, and all that wake them."""
    for base in bases:
        costs = groups(base)
        for i, choice in enumerate(groups.space.choices):
            changed = np.zeros(len(costs), bool)
            for option in range(len(choice.options)):
                row = base.copy()
                row[i] = option
                changed |= (groups(row) != costs).any(1)
            for group in np.flatnonzero(changed):
                scopes[group].add(i)
    _with_parents(groups.space, scopes)


def contradicted(groups: Groups, scopes: list[set[int]]) -> bool:
    """Whether some group was seen to cost two things for one combination of its choices; then it gets more of them.

    Groups of more choices than a table can hold are left as they are.
    """
    space, found = groups.space, False
    counts = option_counts(space)
    archs, costs = groups.seen()
    for group, scope in enumerate(scopes):
        if not fits(space, scope):
            continue
        keys = np.zeros(len(archs), np.int64)
        for choice in sorted(scope):
            keys = keys * counts[choice] + archs[:, choice]
        order = np.argsort(keys, kind="stable")
        one, other = order[:-1], order[1:]
        differ = (keys[one] == keys[other]) & (costs[one, group] != costs[other, group]).any(1)
        for at in np.flatnonzero(differ)[:WALKS]:
            scope |= _changing(groups, group, archs[one[at]], archs[other[at]])
            found = True
    _with_parents(space, scopes)
    return found


def _changing(groups: Groups, group: int, start: np.ndarray, end: np.ndarray) -> set[int]:
    """The choices at which a group's cost changes on the way from one architecture to another, choice by choice."""
    row, before, found = start.copy(), groups(start)[group], set[int]()
    for choice in np.flatnonzero(start != end).tolist():
        row[choice] = end[choice]
        after = groups(row)[group]
        if (after != before).any():
            found.add(choice)
        before = after
    return found


def _with_parents(space: Space, scopes: list[set[int]]) -> None:
    """Adds the choices that wake those that are there."""
    position = {choice.name: i for i, choice in enumerate(space.choices)}
    for scope in scopes:
        for i in sorted(scope, reverse=True):  # parents come before their children
            while (requires := space.choices[i].requires) is not None:
                i = position[requires[0]]
                scope.add(i)


def anywhere(space: Space, rng: np.random.Generator, n: int) -> Int[np.ndarray, "n choices"]:
    """Random architectures."""
    return canonical(space, rng.integers(0, option_counts(space), (n, len(space.choices))).astype(np.int32))


def awake(space: Space, rng: np.random.Generator, n: int) -> Int[np.ndarray, "n choices"]:
    """Random architectures in which every choice has an effect."""
    wakes = np.array([len(set(ways)) > 1 for ways in networks_by_option(space)], bool)
    drawn = rng.integers(0, option_counts(space), (n, len(space.choices)))
    return np.where(wakes, largest(space), drawn).astype(np.int32)

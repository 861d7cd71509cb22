"""Costs of an architecture as sums, or as the highest, of tables over few choices each; exact.

The tables are found by measuring `space.layers`, whatever the blocks are; nothing is assumed of them that probes don't
hold. `joined.py` reads them for whole populations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from search_spaces.derived.interactions import split
from search_spaces.derived.slot_costs import SlotCosts
from search_spaces.space import Space, canonical, largest, networks_by_option, option_counts, smallest

Combine = Literal["sum", "highest"]
"""How a network's cost follows from its tables."""


class NoTablesError(ValueError):
    """Costs that are no sum, or no highest, of small tables."""


LARGEST_TABLE = 10_000  # entries, each the cost of an architecture; what is larger is split by interactions
LARGEST_STRAY = 256
PROBES = 64
ROUNDS = 5
WALKS = 3  # between architectures that contradict each other, for each group and look
HOPELESS = 0.1  # share of architectures that tables split by interactions get wrong


@dataclass(frozen=True, eq=False)
class Table:
    """One of the tables.

    Attributes:
      scope: positions of the choices that it is over, increasing.
      values: one axis for each of them, and the costs.
    """

    scope: tuple[int, ...]
    values: Int[np.ndarray, "*options costs"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Tables:
    """Costs as tables.

    Attributes:
      space: whose architectures' costs they are.
      combine: whether a network's costs are the sum of the tables' or the highest of them.
      constant: what every architecture costs, or the least it may.
      terms: the tables; of a sum, none's scope lies within another's.
    """

    space: Space
    combine: Combine
    constant: Int[np.ndarray, " costs"]
    terms: tuple[Table, ...]


def tables(measure: SlotCosts, costs: Sequence[int], combine: Combine, name: str) -> Tables:
    """The tables of some of the costs that are measured; some seconds for a large space.

    Each slot of the supernet's network has a table over the choices that its parts' costs hang on. Which these are is
    found by changing one choice at a time, beside what the slot says; the tables are filled from as few architectures
    as cover them; what they say of other architectures is held to the layers, and choices are added while it differs.

    Args:
      measure: of the space. It keeps what it has measured, so that further costs of it take less time.
      costs: positions of the costs; they get tables over the same choices.
      combine: `highest` for those of which `measure` takes the highest.
      name: of the costs, for messages.

    Returns:
      Tables that hold for every architecture, canonical or not.

    Raises:
      NoTablesError: when the costs are no sum, or no highest, of small tables.
    """
    groups = [_Groups(measure, costs, combine, apart=True)]
    if measure.slots and combine == "sum":
        groups.append(_Groups(measure, costs, combine, apart=False))
    for each in groups:
        strays = each is groups[-1]  # the last attempt: parts without a path may hang on what they like
        if (terms := _terms(each, strays)) is not None:
            return _merged(each, terms)
    verb = "no sum" if combine == "sum" else "not the highest"
    raise NoTablesError(
        f"{name} is {verb} of tables over few choices in this space; a function of an architecture is taken as it is"
        " by `bounds` and `under`"
    )


class _Groups:
    """Some costs of some groups of parts; `apart` keeps those without a path by the slot before them."""

    def __init__(self, measure: SlotCosts, costs: Sequence[int], combine: Combine, *, apart: bool):
        self.space, self.combine, self.costs = measure.space, combine, len(costs)
        self.ufunc: np.ufunc = np.add if combine == "sum" else np.maximum
        self._measure, self._at = measure, list(costs)
        self._with_path = measure.groups if apart else len(measure.slots)

    def declared(self) -> list[set[int]]:
        said = self._measure.declared()
        return [*said[: self._with_path], *([set[int]()] if self._with_path < len(said) else [])]

    def __call__(self, arch: np.ndarray) -> np.ndarray:
        return self._of(self._measure(arch)[None])[0]

    def of_group(self, group: int, arch: np.ndarray) -> np.ndarray:
        return self(arch)[group]

    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """All architectures that were measured, and the costs of the groups of each."""
        archs, costs = self._measure.seen()
        return archs, self._of(costs)

    def gathered(self, terms: Sequence[Table], archs: np.ndarray) -> np.ndarray:
        total = np.zeros((len(archs), self.costs), np.int64)
        for term in terms:
            self.ufunc(total, term.values[tuple(archs[:, list(term.scope)].T)], out=total)
        return total

    def _of(self, costs: np.ndarray) -> np.ndarray:
        found = costs[..., self._at]
        if self._with_path == found.shape[1]:
            return found
        rest = self.ufunc.reduce(found[:, self._with_path :], axis=1)
        return np.concatenate([found[:, : self._with_path], rest[:, None]], 1)


def _terms(groups: _Groups, strays: bool) -> list[Table] | None:
    """Tables that hold for all that was measured; None where there are none, or where parts without a path stray."""
    space, rng = groups.space, np.random.default_rng(0)
    scopes = groups.declared()
    probes = np.concatenate([[smallest(space), largest(space)], _any(space, rng, PROBES), _awake(space, rng, PROBES)])
    for row in probes:
        groups(row)
    _widen(groups, scopes, np.concatenate([largest(space)[None], _awake(space, rng, 1)]))
    for _ in range(ROUNDS):
        while _contradicted(groups, scopes):
            pass  # ends: some group got another choice
        fit = all(_fits(space, scope) for scope in scopes)
        if not (fit or (strays and groups.combine == "sum")) or not (strays or _stay(space, scopes)):
            return None
        apart, share = _split(groups, scopes, rng)
        if share > HOPELESS:
            return None
        if share > 0:
            continue  # some pair's interaction was missed: draw others
        filled = _filled(groups, [tuple(sorted(scope)) if _fits(space, scope) else () for scope in scopes])
        if not _contradicted(groups, scopes) and _wrong(groups, apart) == 0:
            small = [Table(tuple(sorted(s)), table) for s, table in zip(scopes, filled, strict=True) if _fits(space, s)]
            return [*small, *(term for terms in apart.values() for term in terms)]
    return None


def _contradicted(groups: _Groups, scopes: list[set[int]]) -> bool:
    """Adds choices to groups that cost two things for one combination of their choices; whether there were any."""
    space, found = groups.space, False
    counts = option_counts(space)
    archs, costs = groups.seen()
    for group, scope in enumerate(scopes):
        if not _fits(space, scope):
            continue
        ordered = sorted(scope)
        keys = np.zeros(len(archs), np.int64)
        for choice in ordered:
            keys = keys * counts[choice] + archs[:, choice]
        order = np.argsort(keys, kind="stable")
        one, other = order[:-1], order[1:]
        differ = (keys[one] == keys[other]) & (costs[one, group] != costs[other, group]).any(1)
        for at in np.flatnonzero(differ)[:WALKS]:
            found |= _walk(groups, group, scope, archs[one[at]], archs[other[at]])
    _with_parents(space, scopes)
    return found


def _walk(groups: _Groups, group: int, scope: set[int], start: np.ndarray, end: np.ndarray) -> bool:
    """Goes from one architecture to another, choice by choice, and adds those at which the group's cost changes."""
    row, before = start.copy(), groups(start)[group]
    added = False
    for choice in np.flatnonzero(start != end).tolist():
        row[choice] = end[choice]
        after = groups(row)[group]
        if (after != before).any() and choice not in scope:
            scope.add(choice)
            added = True
        before = after
    return added


def _any(space: Space, rng: np.random.Generator, n: int) -> np.ndarray:
    return canonical(space, rng.integers(0, option_counts(space), (n, len(space.choices))).astype(np.int32))


def _awake(space: Space, rng: np.random.Generator, n: int) -> np.ndarray:
    """Random architectures in which every choice has an effect."""
    wakes = np.array([len(set(ways)) > 1 for ways in networks_by_option(space)], bool)
    drawn = rng.integers(0, option_counts(space), (n, len(space.choices)))
    return np.where(wakes, largest(space), drawn).astype(np.int32)


def _widen(groups: _Groups, scopes: list[set[int]], bases: np.ndarray) -> None:
    """Adds to each group's choices those that change its cost somewhere, and all that wake them."""
    choices = groups.space.choices
    for base in bases:
        costs = groups(base)
        for i, choice in enumerate(choices):
            changed = np.zeros(len(costs), bool)
            for option in range(len(choice.options)):
                row = base.copy()
                row[i] = option
                changed |= (groups(row) != costs).any(1)
            for group in np.flatnonzero(changed):
                scopes[group].add(i)
    _with_parents(groups.space, scopes)


def _with_parents(space: Space, scopes: list[set[int]]) -> None:
    position = {choice.name: i for i, choice in enumerate(space.choices)}
    for scope in scopes:
        for i in sorted(scope, reverse=True):  # parents come before their children
            while (requires := space.choices[i].requires) is not None:
                i = position[requires[0]]
                scope.add(i)


def _split(
    groups: _Groups, scopes: Sequence[set[int]], rng: np.random.Generator
) -> tuple[dict[int, list[Table]], float]:
    """The tables of groups of too many choices, by interactions, and the share of architectures that they get wrong."""
    space = groups.space
    counts, position = option_counts(space), {choice.name: i for i, choice in enumerate(space.choices)}
    linked = [(i, position[c.requires[0]]) for i, c in enumerate(space.choices) if c.requires is not None]
    anchors = np.concatenate([largest(space)[None], _awake(space, rng, 2)])
    found: dict[int, list[Table]] = {}
    for group, scope in enumerate(scopes):
        if not _fits(space, scope):
            run = partial(groups.of_group, group)
            try:
                parts = split(run, sorted(scope), counts, anchors, linked, LARGEST_TABLE, rng)
            except ValueError:  # more choices interact than a table can hold
                return {}, 1.0
            found[group] = [Table(*part) for part in parts]
    return found, _wrong(groups, found)


def _wrong(groups: _Groups, found: Mapping[int, Sequence[Table]]) -> float:
    """The share of the architectures seen of which some group's tables say something else."""
    archs, truth = groups.seen()
    wrong = [(groups.gathered(terms, archs) != truth[:, group]).any(1) for group, terms in found.items()]
    return float(np.mean(np.any(wrong, 0))) if wrong else 0.0


def _fits(space: Space, scope: Sequence[int] | set[int]) -> bool:
    return np.prod(option_counts(space)[list(scope)], dtype=object) <= LARGEST_TABLE


def _stay(space: Space, scopes: Sequence[set[int]]) -> bool:
    """Whether parts without a path hang on what their slot's other parts hang on, or on little else.

    Where blocks without parameters follow each other (pools, cut edges), the slot before them gets the parts of all.
    """
    with_path, without = scopes[: len(scopes) // 2], scopes[len(scopes) // 2 :]
    return all(
        beside <= own or np.prod(option_counts(space)[list(beside)], dtype=object) <= LARGEST_STRAY
        for own, beside in zip(with_path, without, strict=True)
    )


def _filled(groups: _Groups, scopes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """The groups' tables, from architectures each of which fills an entry of as many tables as agree on it."""
    space = groups.space
    counts = option_counts(space)
    found, left, alike = [], [], []
    for scope in scopes:
        shape = tuple(counts[list(scope)].tolist())
        entries = np.stack(np.unravel_index(np.arange(np.prod(shape, dtype=int)), shape), -1) if shape else None
        rows = np.repeat(largest(space)[None], 1 if entries is None else len(entries), 0)
        if entries is not None:
            rows[:, list(scope)] = entries
        same = canonical(space, rows)[:, list(scope)]  # entries that say the same share one
        alike.append(np.ravel_multi_index(tuple(same.T), shape).reshape(shape) if shape else np.zeros((), int))
        todo = np.zeros(rows.shape[0], bool)
        todo[alike[-1].reshape(-1)] = True
        left.append(todo.reshape(shape))
        found.append(np.zeros((*shape, groups.costs), np.int64))
    remaining = [int(todo.sum()) for todo in left]
    while any(remaining):
        given = np.full(len(counts), -1)
        for group in sorted(range(len(scopes)), key=lambda g: -remaining[g]):
            if not remaining[group]:
                break
            scope = list(scopes[group])
            at = tuple(slice(None) if i < 0 else i for i in given[scope].tolist())
            open_entries = left[group][at]
            if open_entries.any():
                free = [i for i in scope if given[i] < 0]
                given[free] = np.unravel_index(int(open_entries.argmax()), open_entries.shape) if free else []
        row = canonical(space, np.where(given < 0, largest(space), given).astype(np.int32))
        costs = groups(row)
        for group, scope in enumerate(scopes):
            at = tuple(row[list(scope)].tolist())
            if left[group][at]:
                left[group][at] = False
                remaining[group] -= 1
                found[group][at] = costs[group]
    return [table.reshape(-1, groups.costs)[same] for table, same in zip(found, alike, strict=True)]


def _merged(groups: _Groups, terms: Sequence[Table]) -> Tables:
    """Without axes along which nothing changes, and with tables put into those that are over their choices too."""
    constant = np.zeros(groups.costs, np.int64)
    kept: list[tuple[tuple[int, ...], np.ndarray]] = []
    for scope, table in sorted((_trimmed(term) for term in terms), key=lambda term: -len(term[0])):
        if not scope:
            constant = groups.ufunc(constant, table)
            continue
        for i, (wider, total) in enumerate(kept):
            if set(scope) <= set(wider):
                kept[i] = (wider, groups.ufunc(total, broadcast(scope, table, wider)))
                break
        else:
            kept.append((scope, table))
    kept.sort(key=lambda term: term[0])
    found = tuple(Table(scope, table) for scope, table in kept)
    return Tables(space=groups.space, combine=groups.combine, constant=constant, terms=found)


def broadcast(scope: tuple[int, ...], values: Any, wider: tuple[int, ...]) -> Any:
    """The values of a table in the axes of a wider scope, of one entry where its own has none."""
    sizes = dict(zip(scope, values.shape, strict=False))
    return values.reshape([*(sizes.get(choice, 1) for choice in wider), *values.shape[len(scope) :]])


def _trimmed(term: Table) -> tuple[tuple[int, ...], np.ndarray]:
    scope, table = list(term.scope), term.values
    for axis in reversed(range(len(scope))):
        if (table == np.take(table, [0], axis)).all():
            table = np.asarray(np.take(table, 0, axis))
            del scope[axis]
    return tuple(scope), table

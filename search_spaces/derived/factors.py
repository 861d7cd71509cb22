"""A cost that adds up over layers, as a sum of tables over few choices each: exact, and read by whole populations.

The tables are found by measuring `space.layers`, whatever the blocks are; nothing is assumed of them that probes don't
hold. Bounds (`bounds.py`) and draws under a limit (`constrained.py`) follow from them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from jaxtyping import Int

from search_spaces.derived.interactions import split
from search_spaces.derived.slot_costs import SlotCosts, slots_of
from search_spaces.layers import Layer, macs, params
from search_spaces.space import Space, canonical, check_archs, largest, networks_by_option, option_counts, smallest

COSTS: dict[str, Callable[[Layer], int]] = {"macs": macs, "params": params}
"""Costs by name: of one layer."""

LARGEST_TABLE = 10_000  # entries, each the cost of an architecture; what is larger is split by interactions
LARGEST_STRAY = 256
PROBES = 64
ROUNDS = 5


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

    Each slot of the supernet's network has a table over the choices that its layers' costs hang on. Which these are is
    found by changing one choice at a time, beside what the slot says; the tables are filled from as few architectures
    as cover them; what they say of other architectures is held to the layers, and choices are added while it differs.

    Args:
      space: any space, of any size.
      cost: `macs`, `params`, or a function of a layer that gives a whole number (called on every layer, so that what
        counts only some layers gives 0 for the others).

    Returns:
      Tables whose sum is the cost of all layers, for every architecture, canonical or not.

    Raises:
      ValueError: when the cost is unknown, gives anything but whole numbers, or is no sum of small tables.
    """
    if isinstance(cost, str) and cost not in COSTS:
        raise ValueError(f"cost must be one of {', '.join(COSTS)} or a function of a layer, got `{cost}`")
    per_layer = COSTS[cost] if isinstance(cost, str) else cost
    name = cost if isinstance(cost, str) else getattr(cost, "__name__", "the cost")
    slots = slots_of(space)
    for apart in (True, False) if slots else (False,):
        if (terms := _terms(space, SlotCosts(space, per_layer, slots, apart), apart)) is not None:
            return _merged(space, name, terms)
    raise ValueError(
        f"{name} is no sum of tables over few choices in this space; a function of an architecture is taken as it is"
        " by `bounds` and `under`"
    )


def gather(found: Factors, archs: Any) -> Int[np.ndarray, " pop"]:
    """The cost of each architecture of a population, `[pop, choices]`.

    Raises:
      ValueError: when a row is not of the space.
    """
    return found.constant + _sum(found.terms, check_archs(found.space, archs))


def _sum(terms: Sequence[Factor], archs: np.ndarray) -> np.ndarray:
    columns = np.ascontiguousarray(archs.T).astype(np.intp)
    total = np.zeros(len(archs), np.int64)
    for term in terms:
        at = np.zeros(len(archs), np.intp)
        for choice, options in zip(term.scope, term.table.shape, strict=True):
            at *= options
            at += columns[choice]
        total += term.table.reshape(-1)[at]
    return total


def _terms(space: Space, measure: SlotCosts, small_only: bool) -> list[Factor] | None:
    """Tables that hold for all probes; None where there are none, or with `small_only` where a group needs too many."""
    rng = np.random.default_rng(0)
    scopes = measure.declared()
    bases = np.concatenate([largest(space)[None], _awake(space, rng, 1)])
    probes = np.concatenate([[smallest(space), largest(space)], _any(space, rng, PROBES), _awake(space, rng, PROBES)])
    truth = np.array([measure(row) for row in probes])
    for _ in range(ROUNDS):
        _widen(space, measure, scopes, bases)
        if small_only and not (all(_fits(space, scope) for scope in scopes) and _stay(space, scopes)):
            return None
        try:
            tables = _tables(space, measure, scopes, rng)
        except ValueError:  # more choices interact than a table can hold
            return None
        wrong = (np.stack([_sum(terms, probes) for terms in tables], 1) != truth).any(1)
        if not wrong.any():
            return [term for terms in tables for term in terms]
        bases = probes[wrong][:3]  # around these, more choices matter than was seen
    return None


def _any(space: Space, rng: np.random.Generator, n: int) -> np.ndarray:
    return canonical(space, rng.integers(0, option_counts(space), (n, len(space.choices))).astype(np.int32))


def _awake(space: Space, rng: np.random.Generator, n: int) -> np.ndarray:
    """Random architectures in which every choice has an effect."""
    wakes = np.array([len(set(ways)) > 1 for ways in networks_by_option(space)])
    drawn = rng.integers(0, option_counts(space), (n, len(space.choices)))
    return np.where(wakes, largest(space), drawn).astype(np.int32)


def _widen(space: Space, measure: SlotCosts, scopes: list[set[int]], bases: np.ndarray) -> None:
    """Adds to each group's choices those that change its cost somewhere, and all that wake them."""
    for base in bases:
        costs = measure(base)
        for i, options in enumerate(option_counts(space).tolist()):
            changed = np.zeros(len(costs), bool)
            for option in range(options):
                row = base.copy()
                row[i] = option
                changed |= measure(row) != costs
            for group in np.flatnonzero(changed):
                scopes[group].add(i)
    position = {choice.name: i for i, choice in enumerate(space.choices)}
    for scope in scopes:
        for i in sorted(scope, reverse=True):  # parents come before their children
            while (requires := space.choices[i].requires) is not None:
                i = position[requires[0]]
                scope.add(i)


def _tables(
    space: Space, measure: SlotCosts, scopes: Sequence[set[int]], rng: np.random.Generator
) -> list[list[Factor]]:
    """Each group's tables; a group of too many choices is split by interactions."""
    counts, position = option_counts(space), {choice.name: i for i, choice in enumerate(space.choices)}
    ordered = [tuple(sorted(scope)) for scope in scopes]
    filled = _filled(space, measure, [scope if _fits(space, scope) else () for scope in ordered])
    linked = [(i, position[c.requires[0]]) for i, c in enumerate(space.choices) if c.requires is not None]
    anchors = np.concatenate([largest(space)[None], _awake(space, rng, 2)])
    found: list[list[Factor]] = []
    for group, scope in enumerate(ordered):
        if _fits(space, scope):
            found.append([Factor(scope, filled[group])])
        else:
            run = partial(_of_group, measure, group)
            parts = split(run, scope, counts, anchors, linked, LARGEST_TABLE, rng)
            found.append([Factor(*part) for part in parts])
    return found


def _fits(space: Space, scope: Sequence[int] | set[int]) -> bool:
    return np.prod(option_counts(space)[list(scope)], dtype=object) <= LARGEST_TABLE


def _stay(space: Space, scopes: Sequence[set[int]]) -> bool:
    """Whether layers without a path hang on what their slot's other layers hang on, or on little else.

    Where blocks without parameters follow each other (pools, cut edges), the slot before them gets the layers of all.
    """
    with_path, without = scopes[: len(scopes) // 2], scopes[len(scopes) // 2 :]
    return all(
        beside <= own or np.prod(option_counts(space)[list(beside)], dtype=object) <= LARGEST_STRAY
        for own, beside in zip(with_path, without, strict=True)
    )


def _of_group(measure: SlotCosts, group: int, row: np.ndarray) -> int:
    return int(measure(row)[group])


def _filled(space: Space, measure: SlotCosts, scopes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """The groups' tables, from architectures each of which fills an entry of as many tables as agree on it."""
    counts = option_counts(space)
    tables, left, alike = [], [], []
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
        tables.append(np.zeros(shape, np.int64))
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
        costs = measure(row)
        for group, scope in enumerate(scopes):
            at = tuple(row[list(scope)].tolist())
            if left[group][at]:
                left[group][at] = False
                remaining[group] -= 1
                tables[group][at] = costs[group]
    return [np.asarray(table.reshape(-1)[same]) for table, same in zip(tables, alike, strict=True)]


def _merged(space: Space, name: str, terms: Sequence[Factor]) -> Factors:
    """Without axes along which nothing changes, and with tables added into those that are over their choices too."""
    constant, kept = 0, []
    for scope, table in sorted((_trimmed(term) for term in terms), key=lambda term: -len(term[0])):
        if not scope:
            constant += int(table)
            continue
        for i, (wider, total) in enumerate(kept):
            if set(scope) <= set(wider):
                shape = [n if choice in scope else 1 for choice, n in zip(wider, total.shape, strict=True)]
                kept[i] = (wider, total + table.reshape(shape))
                break
        else:
            kept.append((scope, table))
    kept.sort(key=lambda term: term[0])
    return Factors(
        space=space, name=name, constant=constant, terms=tuple(Factor(scope, table) for scope, table in kept)
    )


def _trimmed(term: Factor) -> tuple[tuple[int, ...], np.ndarray]:
    scope, table = list(term.scope), term.table
    for axis in reversed(range(len(scope))):
        if (table == np.take(table, [0], axis)).all():
            table = np.asarray(np.take(table, 0, axis))
            del scope[axis]
    return tuple(scope), table

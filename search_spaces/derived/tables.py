"""Costs of an architecture as sums, or as the highest, of tables over few choices each; exact.

The tables are found by measuring `space.layers`, whatever the blocks are; nothing is assumed of them that probes don't
hold. `joined.py` reads them for whole populations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int

from search_spaces.derived.filling import filled
from search_spaces.derived.groups import LARGEST_TABLE, Combine, Groups, anywhere, awake, contradicted, fits, widen
from search_spaces.derived.interactions import split
from search_spaces.derived.slot_costs import SlotCosts
from search_spaces.space import Space, largest, option_counts, smallest

LARGEST_STRAY = 256
PROBES = 64
ROUNDS = 5
HOPELESS = 0.05  # share of architectures that tables split by interactions get wrong


class NoTablesError(ValueError):
    """Costs that are no sum, or not the highest, of small tables."""


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
      terms: the tables; none's scope lies within another's.
    """

    space: Space
    combine: Combine
    constant: Int[np.ndarray, " costs"]
    terms: tuple[Table, ...]


def tables(measure: SlotCosts, costs: Sequence[int], combine: Combine, name: str) -> Tables:
    """The tables of some of the costs that are measured; some seconds for a large space.

    Each slot of the supernet's network has a table over the choices that its parts' costs hang on. Which these are is
    found by changing one choice at a time, beside what the slot says, and wherever two architectures that were measured
    contradict each other, on the way from one to the other. The tables are filled from as few architectures as cover
    them. In a sum, what more choices would decide than a table can hold is split by interactions.

    Args:
      measure: of the space. It keeps what it has measured, so that further costs of it take less time.
      costs: positions of the costs; they get tables over the same choices.
      combine: `highest` for those of which `measure` takes the highest.
      name: of the costs, for messages.

    Returns:
      Tables that say of each architecture, canonical or not, what measuring it would; they do so of all that was
      measured to find them, some of it drawn at random to try them.

    Raises:
      NoTablesError: when the costs are no sum, or not the highest, of small tables.
    """
    tried = [Groups(measure, costs, combine, apart=True)]
    if measure.slots and combine == "sum":
        tried.append(Groups(measure, costs, combine, apart=False))
    for groups in tried:
        if (terms := _terms(groups, last=groups is tried[-1])) is not None:
            return _merged(groups, terms)
    raise NoTablesError(
        f"{name} is {'no sum' if combine == 'sum' else 'not the highest'} of tables over few choices in this space; a"
        " function of an architecture is taken as it is by `bounds` and `under`"
    )


def _terms(groups: Groups, *, last: bool) -> list[Table] | None:
    """Tables that hold for all that was measured; None where there are none, or others should be tried first."""
    space, rng = groups.space, np.random.default_rng(0)
    scopes = groups.declared()
    probes = [smallest(space), largest(space), *anywhere(space, rng, PROBES), *awake(space, rng, PROBES)]
    for row in probes:
        groups(row)
    widen(groups, scopes, np.concatenate([largest(space)[None], awake(space, rng, 1)]))
    for _ in range(ROUNDS):
        small, more = [], True
        while more:  # ends: each time, some group has got another choice
            small = [fits(space, scope) for scope in scopes]
            if not all(small) and not (last and groups.combine == "sum"):
                return None
            more = contradicted(groups, scopes)
        if not last and not _stay(space, scopes):
            return None
        parts, share = _split(groups, scopes, rng)
        if share > HOPELESS:
            return None
        if share > 0:
            continue  # some pair's interaction was missed: draw others
        ordered = [tuple(sorted(scope)) if few else () for scope, few in zip(scopes, small, strict=True)]
        whole = filled(groups, ordered)
        if not contradicted(groups, scopes) and _wrong(groups, parts) == 0:
            found = [Table(*each) for each, few in zip(zip(ordered, whole, strict=True), small, strict=True) if few]
            return [*found, *(term for terms in parts.values() for term in terms)]
    return None


def _stay(space: Space, scopes: Sequence[set[int]]) -> bool:
    """Whether parts without a path hang on what their slot's other parts hang on, or on little else.

    Where blocks without parameters follow each other (pools, cut edges), the slot before them gets the parts of all.
    """
    with_path, without = scopes[: len(scopes) // 2], scopes[len(scopes) // 2 :]
    return all(
        beside <= own or fits(space, beside, LARGEST_STRAY) for own, beside in zip(with_path, without, strict=True)
    )


def _split(
    groups: Groups, scopes: Sequence[set[int]], rng: np.random.Generator
) -> tuple[dict[int, list[Table]], float]:
    """The tables of groups of too many choices, by interactions, and the share of architectures that they get wrong."""
    space = groups.space
    counts, position = option_counts(space), {choice.name: i for i, choice in enumerate(space.choices)}
    linked = [(i, position[c.requires[0]]) for i, c in enumerate(space.choices) if c.requires is not None]
    anchors = np.concatenate([largest(space)[None], awake(space, rng, 2)])
    found: dict[int, list[Table]] = {}
    for group, scope in enumerate(scopes):
        if not fits(space, scope):
            run = partial(_of_group, groups, group)
            try:
                parts = split(run, sorted(scope), counts, anchors, linked, LARGEST_TABLE, rng)
            except ValueError:  # more choices interact than a table can hold
                return {}, 1.0
            found[group] = [Table(*part) for part in parts]
    return found, _wrong(groups, found)


def _of_group(groups: Groups, group: int, arch: np.ndarray) -> np.ndarray:
    return groups(arch)[group]


def _wrong(groups: Groups, found: Mapping[int, Sequence[Table]]) -> float:
    """The share of the architectures seen of which some group's tables say something else."""
    archs, truth = groups.seen()
    wrong = np.zeros(len(archs), bool)
    for group, terms in found.items():
        total = np.zeros((len(archs), groups.costs), np.int64)
        for term in terms:
            total = groups.ufunc(total, term.values[tuple(archs[:, list(term.scope)].T)])
        wrong |= (total != truth[:, group]).any(1)
    return float(wrong.mean())


def _merged(groups: Groups, terms: Sequence[Table]) -> Tables:
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
    """The values of a table with the axes of a wider scope, of one entry where its own has none."""
    sizes = dict(zip(scope, values.shape, strict=False))
    return values.reshape([*(sizes.get(choice, 1) for choice in wider), *values.shape[len(scope) :]])


def _trimmed(term: Table) -> tuple[tuple[int, ...], np.ndarray]:
    scope, table = list(term.scope), term.values
    for axis in reversed(range(len(scope))):
        if (table == np.take(table, [0], axis)).all():
            table = np.asarray(np.take(table, 0, axis))
            del scope[axis]
    return tuple(scope), table

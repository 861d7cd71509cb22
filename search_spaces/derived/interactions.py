"""A function of many choices as a sum of functions of few: those that interact, found by asking.

What a function does with choices that are changed together, beyond what it does with each alone, is nothing unless all
of them interact, two by two. So it is a sum of one table for each largest set of choices that all interact.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Int

Measure = Callable[[Int[np.ndarray, " choices"]], Int[np.ndarray, "*costs"] | int]
Table = tuple[tuple[int, ...], np.ndarray]  # positions of choices, increasing, one axis for each, and the costs


def split(
    run: Measure,
    scope: Sequence[int],
    counts: Int[np.ndarray, " choices"],
    anchors: Int[np.ndarray, "anchors choices"],
    linked: Sequence[tuple[int, int]],
    limit: int,
    rng: np.random.Generator,
) -> list[Table]:
    """Tables whose sum is the function, provided that every pair that interacts was found to.

    Args:
      run: the function of an architecture: a whole number, or an array of them.
      scope: positions of the choices that it may depend on.
      counts: options of every choice.
      anchors: architectures around which pairs are tried; the tables say how the function differs from the first.
      linked: pairs that are known to interact.
      limit: entries of the largest table.
      rng: draws the options that are tried.

    Raises:
      ValueError: when more choices interact than a table can hold.
    """
    near: dict[int, set[int]] = {i: set() for i in scope}
    known = {frozenset(pair) for pair in linked}
    for i, j in combinations(scope, 2):
        if frozenset((i, j)) in known or _interact(run, i, j, counts, anchors, rng):
            near[i].add(j)
            near[j].add(i)
    tables: list[Table] = []
    done: list[set[int]] = []
    for clique in _cliques(set(), set(scope), set(), near):
        positions = tuple(sorted(clique))
        shape = tuple(counts[list(positions)].tolist())
        if np.prod(shape, dtype=object) > limit:
            raise ValueError(f"{len(positions)} choices interact, more than a table of {limit} entries can hold")
        tables.append((positions, _differences(run, positions, shape, anchors[0], done)))
        done.append(clique)
    return tables


def _interact(run: Measure, i: int, j: int, counts: np.ndarray, anchors: np.ndarray, rng: np.random.Generator) -> bool:
    """Whether changing both choices does anything but what changing each does, at some of the options."""
    for anchor in anchors:
        for _ in range(2):
            a, b, both = anchor.copy(), anchor.copy(), anchor.copy()
            a[i] = both[i] = (anchor[i] + 1 + rng.integers(max(1, counts[i] - 1))) % counts[i]
            b[j] = both[j] = (anchor[j] + 1 + rng.integers(max(1, counts[j] - 1))) % counts[j]
            if np.any(run(both) - run(a) - run(b) + run(anchor)):
                return True
    return False


def _differences(
    run: Measure, scope: tuple[int, ...], shape: tuple[int, ...], anchor: np.ndarray, done: Sequence[set[int]]
) -> np.ndarray:
    """The table of these choices, without what the tables of `done` say already."""
    costs = np.shape(run(anchor))
    table = np.empty((*shape, *costs), np.int64)
    for index in np.ndindex(*shape):
        row = anchor.copy()
        row[list(scope)] = index
        table[index] = run(row)
    at = [_at(shape, axis, len(costs)) for axis in range(len(shape))]
    for axis, choice in enumerate(scope):  # what each set of changed choices does beyond all smaller sets
        table -= np.where(at[axis] == anchor[choice], 0, np.take(table, [anchor[choice]], axis))
    changed = [at[axis] != anchor[choice] for axis, choice in enumerate(scope)]
    for said in done:
        beyond = [changed[axis] for axis, choice in enumerate(scope) if choice not in said]
        known = ~np.logical_or.reduce(np.broadcast_arrays(*beyond)) if beyond else True
        table[np.broadcast_to(known, table.shape)] = 0
    for axis, choice in enumerate(scope):  # and back: the sum over all sets of changed choices
        table += np.where(at[axis] == anchor[choice], 0, np.take(table, [anchor[choice]], axis))
    return table


def _at(shape: tuple[int, ...], axis: int, costs: int) -> np.ndarray:
    """The index along one axis, to broadcast, with as many axes behind it as costs have."""
    return np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape) + costs)])


def _cliques(inside: set[int], left: set[int], out: set[int], near: dict[int, set[int]]) -> Iterator[set[int]]:
    """The largest sets of which all are near each other (Bron and Kerbosch, doi:10.1145/362342.362367)."""
    if not left and not out:
        yield set(inside)
        return
    pivot = max(left | out, key=lambda i: len(near[i] & left))
    for i in sorted(left - near[pivot]):
        yield from _cliques(inside | {i}, left & near[i], out & near[i], near)
        left = left - {i}
        out = out | {i}

"""Tables over few choices each, filled from as few architectures as cover them all."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from search_spaces.derived.groups import Groups
from search_spaces.space import canonical, largest, option_counts


def filled(groups: Groups, scopes: Sequence[tuple[int, ...]]) -> list[Int[np.ndarray, "*options costs"]]:
    """Each group's table over its choices; an architecture fills an entry of as many tables as agree on it."""
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

"""Tables of several costs, read for whole populations: what is over the same choices is found with one index."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from search_spaces.derived.tables import Combine, Table, Tables, broadcast
from search_spaces.space import Space, check_archs, option_counts

CHUNK = 4096  # architectures, whose costs stay in the cache while table after table is read


@dataclass(frozen=True, eq=False, kw_only=True)
class Joined:
    """Tables side by side; `gather` reads them.

    Attributes:
      space: whose architectures' costs they are.
      sums: the constants of the costs that are sums.
      highest: those of the costs that are the highest of their tables.
      terms: for each set of choices the tables over them, flat: `[options, sums]` and `[options, highest]`, either of
        which may be None.
    """

    space: Space
    sums: Int[np.ndarray, " sums"]
    highest: Int[np.ndarray, " highest"]
    terms: tuple[tuple[tuple[int, ...], np.ndarray | None, np.ndarray | None], ...]


def joined(space: Space, parts: Sequence[Tables]) -> Joined:
    """Puts tables side by side; their costs come in their order, sums and highest each for themselves."""
    counts = option_counts(space)
    kinds: dict[Combine, list[Tables]] = {"sum": [], "highest": []}
    for part in parts:
        kinds[part.combine].append(_without_low(part) if part.combine == "highest" else part)
    constants = {kind: _constants(found) for kind, found in kinds.items()}
    scopes = {term.scope for found in kinds.values() for part in found for term in part.terms}
    hosts: list[tuple[int, ...]] = []
    for scope in sorted(scopes, key=lambda scope: (-len(scope), scope)):
        if not any(set(scope) <= set(host) for host in hosts):
            hosts.append(scope)
    filled: dict[tuple[int, ...], dict[Combine, np.ndarray]] = {host: {} for host in hosts}
    for kind, found in kinds.items():
        ufunc, first = (np.add if kind == "sum" else np.maximum), 0
        for part in found:
            last = first + len(part.constant)
            for term in part.terms:
                host = next(host for host in hosts if set(term.scope) <= set(host))
                shape = (*counts[list(host)].tolist(), len(constants[kind]))
                into = filled[host].setdefault(kind, np.zeros(shape, np.int64))[..., first:last]
                ufunc(into, broadcast(term.scope, term.values, host), out=into)
            first = last
    terms = tuple((host, _flat(filled[host].get("sum")), _flat(filled[host].get("highest"))) for host in sorted(hosts))
    return Joined(space=space, sums=constants["sum"], highest=constants["highest"], terms=terms)


def gather(found: Joined, archs: Any) -> tuple[Int[np.ndarray, "pop sums"], Int[np.ndarray, "pop highest"]]:
    """The costs of a population, `[pop, choices]`: the sums, and the highest.

    Raises:
      ValueError: when a row is not of the space.
    """
    rows, counts = check_archs(found.space, archs), option_counts(found.space).tolist()
    sums, highest = (np.repeat(constants[None], len(rows), 0) for constants in (found.sums, found.highest))
    for begin in range(0, len(rows), CHUNK):
        chunk = slice(begin, begin + CHUNK)
        columns = np.ascontiguousarray(rows[chunk].T).astype(np.intp)
        for scope, added, compared in found.terms:
            at = columns[scope[0]].copy()
            for choice in scope[1:]:
                at *= counts[choice]
                at += columns[choice]
            if added is not None:
                sums[chunk] += added.take(at, 0)
            if compared is not None:
                np.maximum(highest[chunk], compared.take(at, 0), out=highest[chunk])
    return sums, highest


def _constants(parts: Sequence[Tables]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *(part.constant for part in parts)])


def _flat(table: np.ndarray | None) -> np.ndarray | None:
    return None if table is None else np.ascontiguousarray(table.reshape(-1, table.shape[-1]))


def _without_low(part: Tables) -> Tables:
    """Without tables that are nowhere above another, or above the least there is: they never have the highest."""
    kept = list(part.terms)
    for term in sorted(part.terms, key=lambda term: term.values.max()):
        others = [other for other in kept if other is not term]
        if (term.values <= part.constant).all() or any(_never_above(term, other) for other in others):
            kept = others
    return Tables(space=part.space, combine=part.combine, constant=part.constant, terms=tuple(kept))


def _never_above(low: Table, high: Table) -> bool:
    """Whether, whatever the choices that only one of them is over, the first is at most the second."""
    common = tuple(choice for choice in low.scope if choice in high.scope)
    most = low.values.max(tuple(i for i, choice in enumerate(low.scope) if choice not in common))
    least = high.values.min(tuple(i for i, choice in enumerate(high.scope) if choice not in common))
    return bool((most <= least).all())

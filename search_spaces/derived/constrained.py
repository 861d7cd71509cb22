"""Architectures under limits ("at most 300 M MACs"), drawn uniformly among those that keep them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from search_spaces.derived.bounds import Cost, bounds, tables_of
from search_spaces.derived.counting import Draws, Window, count_in, steps_for, unlimited, window
from search_spaces.derived.elimination import Elimination, Over, eliminate
from search_spaces.derived.factors import Factors, gather
from search_spaces.derived.limits import Limit, ends, rows_of, shown, unreachable
from search_spaces.derived.sampling import check_number
from search_spaces.space import Space

ROUGH = 64  # steps of cost, to see which limit is the tightest
BATCH, FEW = 16_384, 256  # rows drawn at a time, and where a function looks at each of them


@dataclass(frozen=True, eq=False, kw_only=True)
class Sampler:
    """Draws architectures under limits; `under` makes it.

    Attributes:
      space: whose architectures these are.
      limits: that all rows keep.
      tables: of each limit's cost; None for a function of an architecture.
      draws: rows that may keep the limits, those that do all equally probable.
      tries: rows drawn for each that is asked for, at the most, beside one batch.
    """

    space: Space
    limits: tuple[Limit, ...]
    tables: tuple[Factors | None, ...]
    draws: Draws
    tries: int

    def __call__(self, key: Any, n: int) -> Int[np.ndarray, "n choices"]:
        """`n` canonical rows, drawn independently; equal keys give equal rows.

        Args:
          key: a JAX key, or a whole number.
          n: how many.

        Raises:
          ValueError: when the key is none or `n` no number of rows, or when too few rows of those tried keep all
            limits, saying how many were tried and how near they came.
        """
        check_number(n)
        rng = generator(key)
        kept: list[np.ndarray] = []
        batch = FEW if None in self.tables else BATCH
        missing, tried, most, seen = n, 0, batch + self.tries * n, _Seen(self.limits)
        share = 1.0  # of the rows drawn that were kept
        while missing > 0 and tried < most:
            wanted = int(missing / max(share, 1e-3) * 1.02) + 32
            rows = self.draws(rng, min(wanted, 16 * batch, most - tried))
            good = self._good(rows, missing, seen)
            tried, missing = tried + len(rows), missing - len(good)
            share = (n - missing + 1) / (tried + 1)
            kept.append(good)
        if missing > 0:
            rules = "; ".join(limit.rule for limit in self.limits)
            raise ValueError(
                f"found {n - missing} of {n} networks with {rules} among {tried} drawn; {seen.nearest()};"
                " loosen a limit or raise `tries`"
            )
        return np.concatenate(kept)[:n] if kept else self.draws(rng, 0)

    def _good(self, rows: np.ndarray, needed: int, seen: "_Seen") -> np.ndarray:
        """Those rows that keep all limits, no more than are needed; what adds up is looked at first."""
        for limit, table in zip(self.limits, self.tables, strict=True):
            if table is not None:
                values = gather(table, rows).astype(float)
                seen.note(limit, values, rows)
                rows = rows[limit.keeps(values)]
        slow = [limit for limit, table in zip(self.limits, self.tables, strict=True) if table is None]
        if not slow:
            return rows[:needed]
        good = []
        for row in rows:
            if len(good) == needed:
                break
            for limit in slow:
                values = np.array([float(limit.cost(row))])  # pyright: ignore[reportCallIssue]
                seen.note(limit, values, row[None])
                if not limit.keeps(values)[0]:
                    break
            else:
                good.append(row)
        return np.array(good, np.int32).reshape(-1, rows.shape[1])


class _Seen:
    """How near to each limit what was drawn came."""

    def __init__(self, limits: Sequence[Limit]):
        self._limits = limits
        self._best: dict[int, tuple[float, float, list[int]]] = {}

    def note(self, limit: Limit, values: np.ndarray, rows: np.ndarray) -> None:
        """Remembers the row that breaks the limit least."""
        if not len(values):
            return
        broken = np.zeros(len(values))
        if limit.at_most is not None:
            broken = np.maximum(broken, values - limit.at_most)
        if limit.at_least is not None:
            broken = np.maximum(broken, limit.at_least - values)
        i = int(np.where(np.isnan(broken), np.inf, broken).argmin())
        if id(limit) not in self._best or broken[i] < self._best[id(limit)][0]:
            self._best[id(limit)] = (float(broken[i]), float(values[i]), rows[i].tolist())

    def nearest(self) -> str:
        """In words, for each limit that no row kept, else that they are kept one by one."""
        nearest = [(limit.name, *self._best[id(limit)]) for limit in self._limits if id(limit) in self._best]
        unkept = [
            f"the nearest {name} seen was {shown(value)} (architecture {arch})"
            for name, broken, value, arch in nearest
            if broken > 0
        ]
        return "; ".join(unkept) or "each limit was kept by some, hardly ever all at once"


def under(
    space: Space,
    cost: Cost,
    *,
    at_most: int | float | None = None,
    at_least: int | float | None = None,
    over: Over = "networks",
    also: Sequence[Limit] = (),
    tries: int = 1000,
) -> Sampler:
    """A sampler of the architectures that keep a limit, uniform among those.

    A cost that adds up over layers is counted, so that even a limit that one network in 10^12 keeps costs no search;
    of several limits, the tightest. All other limits are kept by drawing again, which is uniform too and is given up
    after `tries` rows for each one asked for.

    Args:
      space: any space, of any size.
      cost: `macs`, `params`, the tables of another cost that adds up (`factors`), or a function of an architecture.
      at_most: the largest value allowed.
      at_least: the smallest value allowed.
      over: uniform over distinct `networks`, or over `genes` as the papers draw: then a network is so many times as
        probable as there are rows that mean it.
      also: further limits.
      tries: rows drawn for each that is asked for, at the most.

    Returns:
      A sampler: `sampler(key, n)` gives `[n, choices]`.

    Raises:
      ValueError: when a setting is wrong, or when no architecture keeps a limit, saying what can be reached.
    """
    if over not in ("networks", "genes"):
        raise ValueError(f"`over` must be `networks` or `genes`, got `{over}`")
    if tries < 1:
        raise ValueError(f"`tries` must be at least 1, got {tries}")
    limits = (Limit(cost=cost, at_most=at_most, at_least=at_least), *also)
    tables = tuple(tables_of(space, limit.cost) for limit in limits)
    paths = eliminate(space, None, over)
    counted = [
        _window(space, limit, table, over) for limit, table in zip(limits, tables, strict=True) if table is not None
    ]
    most = rows_of(space, over)
    # Among several, the tightest by a rough count.
    found, chosen, _ = (
        min(counted, key=lambda each: count_in(each[0], each[2], most))
        if len(counted) > 1
        else (*counted, (paths, unlimited(paths), None))[0]
    )
    draws = Draws(found, chosen)
    if draws.is_empty:
        raise ValueError(unreachable(limits, [None if t is None else bounds(space, t) for t in tables]))
    return Sampler(space=space, limits=limits, tries=tries, tables=tables, draws=draws)


def generator(key: Any) -> np.random.Generator:
    """The numpy generator of a JAX key or a whole number: equal ones give equal draws.

    Raises:
      ValueError: when it is neither.
    """
    if isinstance(key, int | np.integer) and key >= 0:
        return np.random.default_rng(int(key))
    data = (
        jax.random.key_data(key)
        if jnp.issubdtype(getattr(key, "dtype", np.dtype(object)), jax.dtypes.prng_key)
        else key
    )
    if not jnp.issubdtype(getattr(data, "dtype", np.dtype(object)), jnp.unsignedinteger):
        raise ValueError(f"`key` must be a JAX key, as `jax.random.key(0)`, or a whole number from 0, got {key!r}")
    return np.random.default_rng(np.asarray(data).ravel().tolist())


def _window(space: Space, limit: Limit, table: Factors, over: Over) -> tuple[Elimination, Window, Window]:
    """The paths by one cost, and the window of its limit in fine steps and in rough ones."""
    reach, found = bounds(space, table), eliminate(space, table, over)
    low, high = ends(limit, reach)
    if low > high:
        raise ValueError(unreachable([limit], [reach]))
    if low <= reach.lowest.value and high >= reach.highest.value:
        return found, unlimited(found), unlimited(found)
    return found, window(found, low, high, steps_for(found, low, high)), window(found, low, high, ROUGH)

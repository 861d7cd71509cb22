"""Which rows of a cost matrix are worth keeping, and how good a set of them is; lower is better throughout."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


def non_dominated(costs: Float[Any, "pop objectives"]) -> Bool[Any, " pop"]:
    """Marks the rows that no other row beats.

    A row beats another when it is no worse in every objective and better in at
    least one. Equal rows do not beat each other, so duplicates all survive.
    Works on numpy and JAX arrays alike, and under `jit`.

    Args:
      costs: lower is better. Columns may differ in unit; only values within a
        column are compared.

    Returns:
      True for each row on the Pareto front.

    References:
      NSGA-II (doi:10.1109/4235.996017).
      Differs: all pairs at once, O(pop^2) memory, instead of sorting by fronts.
    """
    return ~_beats(costs).any(0)


def ranks(costs: Float[Any, "pop objectives"]) -> Int[Array, " pop"]:
    """The front each row lies on: 0 for the Pareto front, 1 for the front once those rows are taken away, and so on.

    Args:
      costs: lower is better.

    Returns:
      Ranks without gaps, from 0.

    References:
      NSGA-II (doi:10.1109/4235.996017), fast non-dominated sort.
      Differs: peels fronts from the matrix of all pairs.
    """
    beats = _beats(jnp.asarray(costs))

    def peel(carry: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        level, left, rank = carry
        front = left & ~(beats & left[:, None]).any(0)
        return level + 1, left & ~front, jnp.where(front, level, rank)

    start = (jnp.int32(0), jnp.ones(len(costs), bool), jnp.zeros(len(costs), jnp.int32))
    return jax.lax.while_loop(lambda carry: carry[1].any(), peel, start)[2]


def crowding_distance(costs: Float[Any, "pop objectives"], rank: Int[Any, " pop"]) -> Float[Array, " pop"]:
    """How far each row's neighbours on its own front lie apart: the larger, the lonelier.

    In each objective the distance between the two neighbours is divided by the front's spread, and the parts are
    summed; the two ends of a front are infinitely far. An objective without spread on a front adds nothing there.
    Costs of any finite magnitude are safe.

    Args:
      costs: lower is better; finite.
      rank: each row's front, as from `ranks`.

    Returns:
      Distances to compare within a front only; a front of one row has infinity.

    References:
      NSGA-II (doi:10.1109/4235.996017).
      Differs: spreads are those of the row's own front, not of the population.
    """
    rank = jnp.asarray(rank)
    if not len(rank):
        return jnp.zeros(0)

    def along(column: Array) -> Array:
        low = jax.ops.segment_min(column, rank, len(rank))[rank] / 2  # halves, lest the largest spread overflow
        spread = jax.ops.segment_max(column, rank, len(rank))[rank] / 2 - low
        place = jnp.where(spread > 0, (column / 2 - low) / jnp.where(spread > 0, spread, 1), 0)
        order = jnp.lexsort((column, rank))
        at, front = place[order], rank[order]
        change = front[1:] != front[:-1]
        first, last = jnp.append(True, change), jnp.append(change, True)
        gap = jnp.roll(at, -1) - jnp.roll(at, 1)
        end = (first & last) | ((first | last) & (spread[order] > 0))
        gap = jnp.where(end, jnp.inf, jnp.where(first | last, 0, gap))
        return jnp.zeros_like(gap).at[order].set(gap)

    return jax.vmap(along, 1)(jnp.asarray(costs)).sum(0)


def hypervolume(costs: Float[Any, "pop objectives"], reference: Float[Any, " objectives"] | Sequence[float]) -> float:
    """The volume that the rows beat, up to the reference: one number for a front's quality, larger is better. Exact.

    Rows that aren't better than the reference in every objective add nothing, nor do dominated or repeated rows.
    Time grows with the front, not with the rows behind it: in three objectives n points on the front take O(n^2 log n).

    Args:
      costs: lower is better; columns keep their units, and the volume has their product.
      reference: the worst value of interest in each objective; volumes compare only under one reference.

    Returns:
      The volume, 0 where no row is better than the reference.

    Raises:
      ValueError: when a cost is NaN or minus infinity, or the reference isn't one finite value a column.

    References:
      WFG, "A fast way of calculating exact hypervolumes" (doi:10.1109/TEVC.2010.2077298).
    """
    points, corner = np.asarray(costs, np.float64), np.asarray(reference, np.float64)
    if corner.shape != points.shape[1:] or not np.isfinite(corner).all():
        raise ValueError(f"`reference` must be one finite value a column ({points.shape[1]}), got {reference}")
    bad = np.argwhere(np.isnan(points) | (points == -np.inf))
    if len(bad):
        raise ValueError(f"costs must be numbers, got {points[tuple(bad[0])]} in row {bad[0][0]}, column {bad[0][1]}")
    return _volume(_front(corner - points[(points < corner).all(1)]))


def _beats(costs: Any) -> Any:
    """`[i, j]` says whether row i beats row j; one objective at a time, to hold no more than pop^2 values."""
    columns = [costs[:, i] for i in range(costs.shape[1])]
    if not columns:
        raise ValueError("costs need at least one column")
    no_worse, better = columns[0][:, None] <= columns[0], columns[0][:, None] < columns[0]
    for column in columns[1:]:
        no_worse, better = no_worse & (column[:, None] <= column), better | (column[:, None] < column)
    return no_worse & better


def _front(gains: Float[np.ndarray, "points objectives"]) -> Float[np.ndarray, "front objectives"]:
    """The distinct rows that no other beats, larger being better here."""
    left, front = np.unique(gains, axis=0)[::-1], []  # lexicographic: no row beats an earlier one
    while len(left):
        front.append(left[0])
        left = left[(left > left[0]).any(1)]
    return np.array(front).reshape(-1, gains.shape[1])


def _volume(gains: Float[np.ndarray, "points objectives"]) -> float:
    """The volume of the union of the boxes between the origin and each row."""
    if len(gains) == 0:
        return 0.0
    if gains.shape[1] == 1:
        return float(gains.max())
    gains = gains[np.argsort(-gains[:, -1])]
    if gains.shape[1] == 2:
        reached = np.maximum.accumulate(gains[:, 0])
        return float(np.diff(reached, prepend=0.0) @ gains[:, 1])
    # Rows come with the last objective falling: those before cover the whole of this row's stretch of it, so what the
    # row adds is that stretch times what it adds in the objectives that remain.
    return sum(row[-1] * (row[:-1].prod() - _volume(_limit(gains[:i, :-1], row[:-1]))) for i, row in enumerate(gains))


def _limit(others: Float[np.ndarray, "points objectives"], row: Float[np.ndarray, " objectives"]) -> Any:
    """The part of the others' boxes inside the row's own box."""
    inside = np.minimum(others, row)
    return inside if inside.shape[1] <= 2 else _front(inside)

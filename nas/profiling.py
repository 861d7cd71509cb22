"""Chooses networks to measure that cover a space's range of costs, and learns a cost from their measurements."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from hardware.costs.cost import Cost
from predictors.baselines import LinearMacs
from predictors.features import features
from predictors.protocol import Predictor
from predictors.validation import Validation, cross_validate
from search_spaces.derived.enumeration import enumerate_all
from search_spaces.layers import Layer, total_macs
from search_spaces.space import Space, canonical, largest, option_counts, size, smallest

POOL = 8  # networks drawn for each that is chosen
TILT = 1.5  # how far a row may lean towards its first or its last options


class Fitted(NamedTuple):
    """A predictor of a cost and what its cross-validation said.

    Attributes:
      weights: fitted on all networks.
      validation: pooled over the folds.
      macs: the same for a line in multiply-accumulates.
    """

    weights: Any
    validation: Validation
    macs: Validation


def spread(key: PRNGKeyArray, space: Space, n: int) -> Int[np.ndarray, "networks choices"]:
    """Up to `n` distinct architectures whose MACs are spread evenly, on a log scale, over what the space offers.

    Uniform sampling crowds in the middle, but a search goes to the ends. So each row is drawn with a random tilt
    towards its cheap or its dear options, and of many rows those nearest to an even spread are taken; the smallest and
    the largest network are among them. Of a space of no more networks than would be drawn, all are looked at.
    """
    if size(space) <= n * POOL:
        pool = np.concatenate(list(enumerate_all(space, limit=n * POOL)))
    else:
        tilt_key, gene_key = jax.random.split(key)
        counts = option_counts(space)
        tilt = jnp.exp(jax.random.uniform(tilt_key, (n * POOL, 1), minval=-TILT, maxval=TILT))
        lot = jax.random.uniform(gene_key, (n * POOL, len(counts))) ** tilt
        rows = np.minimum((np.asarray(lot) * counts).astype(np.int32), counts - 1)
        pool = np.unique(canonical(space, np.concatenate([rows, [smallest(space), largest(space)]])), axis=0)
    macs = np.array([total_macs(space.layers(row)) for row in pool], np.float64)
    return pool[evenly(macs, n)]


def evenly(amounts: Float[np.ndarray, " pool"], n: int) -> Int[np.ndarray, " chosen"]:
    """Up to `n` distinct places in a pool whose amounts lie evenly on a log scale, from the least to the largest.

    Args:
      amounts: of what is to be covered, above 0.
      n: how many; all where there are no more.
    """
    order = np.argsort(amounts, kind="stable")
    left = np.log(amounts[order])
    chosen = []
    for wanted in np.linspace(left[0], left[-1], min(n, len(left))):
        nearest = int(np.nanargmin(np.abs(left - wanted)))
        chosen.append(order[nearest])
        left[nearest] = np.nan
    return np.array(chosen, np.int64)


def learn(
    predictor: Predictor, networks: Sequence[tuple[Layer, ...]], measured: Sequence[Cost], folds: int, seed: int
) -> Fitted:
    """Fits a cost of measured networks and cross-validates it, beside a line in multiply-accumulates.

    Raises:
      ValueError: when there are fewer networks than folds.
    """
    rows: Float[np.ndarray, "networks features"] = np.array([features(layers) for layers in networks])
    values = np.array([cost.value for cost in measured])
    cross: Callable[[Predictor], Validation] = lambda p: cross_validate(p, rows, values, folds=folds, seed=seed)  # noqa: E731
    return Fitted(predictor.fit(rows, values), cross(predictor), cross(LinearMacs()))

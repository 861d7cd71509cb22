"""Complexity-aware sampling: architectures are drawn so that every cost between the ends is trained equally often."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nas.training.rules.protocol import check_at_least
from search_spaces.layers import total_macs
from search_spaces.space import Space, canonical, largest, option_counts, smallest


@dataclass(frozen=True, kw_only=True)
class ComplexityAware:
    """Draws a target uniformly between the smallest and the largest network's MACs, and takes the nearest candidate.

    Uniform sampling over genes crowds around the middle: a sum of many choices has thin tails. Here the cheap and the
    dear networks, which a front is made of, come up as often as any.

    Attributes:
      archs_per_step: architectures a step; their gradients are averaged.
      candidates: compared for each of them; 1 is uniform sampling over the pool.
      pool: architectures whose MACs are counted once, when training starts, and from which all candidates come.

    References:
      AttentiveNAS (arXiv:2011.09011).
      Differs: the target is uniform over MACs instead of following the space's own distribution of them, and the
      candidate is the nearest in MACs, none being preferred for its loss (its Pareto-attention).
    """

    archs_per_step: int = 1
    candidates: int = 16
    pool: int = 2000

    def __post_init__(self) -> None:
        for name in ("archs_per_step", "candidates"):
            check_at_least(name, getattr(self, name), 1)
        check_at_least("pool", self.pool, 2)

    def rows(self, space: Space) -> int:
        """As set."""
        return self.archs_per_step

    def archs(
        self, key: PRNGKeyArray, space: Space, step: int | Int[Any, ""], steps: int
    ) -> Int[Array, "rows choices"]:
        """For each row the candidate nearest to its target."""
        target_key, candidate_key = jax.random.split(key)
        pool, macs = pool_of(space, self.pool)
        target = jax.random.uniform(target_key, (self.archs_per_step, 1), minval=macs.min(), maxval=macs.max())
        lot = jax.random.uniform(candidate_key, (self.archs_per_step, self.candidates))
        candidates = (lot * len(macs)).astype(jnp.int32)
        best = jnp.abs(jnp.asarray(macs)[candidates] - target).argmin(1)
        return jnp.asarray(pool)[jnp.take_along_axis(candidates, best[:, None], 1)[:, 0]]

    def in_place(self, space: Space) -> tuple[float, ...]:
        """Labels only."""
        return (0.0,) * self.archs_per_step


@lru_cache(maxsize=8)
def pool_of(space: Space, size: int) -> tuple[Int[np.ndarray, "pool choices"], Float[np.ndarray, " pool"]]:
    """The two ends and random architectures, and the MACs of each: the same for one space whatever the run's seed."""
    counts = option_counts(space)
    drawn = (np.random.default_rng(0).random((size - 2, len(counts))) * counts).astype(np.int32)
    pool = canonical(space, np.concatenate([drawn, smallest(space)[None], largest(space)[None]]).astype(np.int32))
    return pool, np.array([total_macs(space.layers(arch)) for arch in pool], np.float32)

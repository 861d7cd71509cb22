"""Strict fairness: in every update each option of each choice is trained equally often."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from nas.training.rules.protocol import check_at_least
from search_spaces.space import Space, canonical, option_counts


@dataclass(frozen=True, kw_only=True)
class StrictFairness:
    """A step trains rows in which every choice takes each of its options equally often; their gradients are averaged.

    Each choice deals its options to the rows in a random order of its own. The paper's choices all have `m` options, so
    that `m` rows are enough; where counts differ, `exact` takes their least common multiple.

    Attributes:
      exact: False takes as many rows as the largest number of options: a choice whose own number doesn't divide that
        gives each option floor or ceil of the equal share, the favoured ones drawn anew each step.
      most_rows: a step that needs more is refused.

    References:
      FairNAS (arXiv:1907.01845).
      Differs: gradients are averaged, not summed (with clipping and AdamW only the ratio counts); choices that depend
      on others (a block's kernel on the depth) are dealt equally often, and have an effect where the block is there.
    """

    exact: bool = True
    most_rows: int = 24

    def __post_init__(self) -> None:
        check_at_least("most_rows", self.most_rows, 1)

    def rows(self, space: Space) -> int:
        """The least common multiple of the numbers of options, or the largest of them.

        Raises:
          ValueError: when that is more than `most_rows`.
        """
        counts = sorted(set(option_counts(space).tolist()))
        rows = math.lcm(*counts) if self.exact else max(counts)
        if rows > self.most_rows:
            fewest, way_out = max(counts), f"training.rule.most_rows={rows}"
            if fewest < rows:  # so it is exact
                allowed = "" if fewest <= self.most_rows else f" with training.rule.most_rows={fewest}"
                way_out = f"training.rule.exact=false{allowed}, or {way_out}"
            raise ValueError(
                f"strict fairness over choices of {counts} options takes {rows} architectures a step, more than"
                f" `training.rule.most_rows`={self.most_rows}; set {way_out}"
            )
        return rows

    def archs(
        self, key: PRNGKeyArray, space: Space, step: int | Int[Any, ""], steps: int
    ) -> Int[Array, "rows choices"]:
        """Every option equally often in each column, in an order drawn for each column."""
        order_key, first_key = jax.random.split(key)
        counts = option_counts(space)
        order = jax.random.uniform(order_key, (self.rows(space), len(counts))).argsort(0)
        first = (jax.random.uniform(first_key, counts.shape) * counts).astype(jnp.int32)
        return canonical(space, (order + first) % counts)

    def in_place(self, space: Space) -> tuple[float, ...]:
        """Labels only."""
        return (0.0,) * self.rows(space)

"""The sandwich rule: largest, smallest and some random architectures, the largest teaching the others as it learns."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from nas.training.rules.protocol import check_at_least
from search_spaces.derived.sampling import sample
from search_spaces.space import Space, canonical, largest, smallest


@dataclass(frozen=True, kw_only=True)
class Sandwich:
    """The largest learns the labels; the others learn its soft answer to the same images, through which no gradient
    flows back.

    Attributes:
      random: architectures between the two ends.
      soft: share of the others' loss that the largest teaches; the rest is by the labels.

    References:
      Universally Slimmable Networks (arXiv:1903.05134), BigNAS (arXiv:2003.11142).
      Differs: gradients are averaged, not summed; the images are augmented alike for all.
    """  # noqa: D205

    random: int = 2
    soft: float = 1.0

    def __post_init__(self) -> None:
        check_at_least("random", self.random, 0)
        if not 0 <= self.soft <= 1:
            raise ValueError(f"`training.rule.soft` must be between 0 and 1, got {self.soft}")

    def rows(self, space: Space) -> int:
        """The two ends and the random ones."""
        return 2 + self.random

    def archs(
        self, key: PRNGKeyArray, space: Space, step: int | Int[Any, ""], steps: int
    ) -> Int[Array, "rows choices"]:
        """Largest, smallest, then uniform draws."""
        ends = jnp.stack([canonical(space, largest(space)), smallest(space)])
        return jnp.concatenate([ends, sample(key, space, self.random)]) if self.random else ends

    def in_place(self, space: Space) -> tuple[float, ...]:
        """All but the largest are taught."""
        return (0.0, *(self.soft,) * (1 + self.random))

"""Single-path uniform sampling: every step some architectures, drawn uniformly over genes."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Int, PRNGKeyArray

from nas.training.rules.protocol import check_at_least
from search_spaces.derived.sampling import sample
from search_spaces.space import Space


@dataclass(frozen=True, kw_only=True)
class SinglePath:
    """Uniform sampling.

    Attributes:
      archs_per_step: architectures a step; their gradients are averaged.

    References:
      Single Path One-Shot NAS with Uniform Sampling (arXiv:1904.00420).
      Differs: widths, kernels and depths are sampled too, not only operations.
    """

    archs_per_step: int = 1

    def __post_init__(self) -> None:
        check_at_least("archs_per_step", self.archs_per_step, 1)

    def rows(self, space: Space) -> int:
        """As set."""
        return self.archs_per_step

    def archs(
        self, key: PRNGKeyArray, space: Space, step: int | Int[Any, ""], steps: int
    ) -> Int[Array, "rows choices"]:
        """Uniform draws."""
        return sample(key, space, self.archs_per_step)

    def in_place(self, space: Space) -> tuple[float, ...]:
        """Labels only."""
        return (0.0,) * self.archs_per_step

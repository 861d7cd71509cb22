"""Progressive shrinking: training begins with the largest network, and choices open one after the other."""

import difflib
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from nas.training.rules.protocol import check_at_least
from search_spaces.space import Space, canonical, option_counts


@dataclass(frozen=True, kw_only=True)
class Opening:
    """From some point of the training on, some choices may use so many of their options, the largest ones.

    Attributes:
      start: fraction of all steps after which it holds.
      choices: which: a pattern over their names, as for files (`*.kernel`).
      options: how many, counted from the largest; more than a choice has are all of them.
    """

    start: float
    choices: str
    options: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < 1:
            raise ValueError(f"`start` of an opening must be at least 0 and below 1, got {self.start}")
        if self.options < 1:
            raise ValueError(f"`options` of an opening must be at least 1, got {self.options}")


ONCE_FOR_ALL = (
    Opening(start=0.0, choices="*", options=1),
    Opening(start=0.25, choices="*.kernel", options=2),
    Opening(start=0.35, choices="*.kernel", options=3),
    Opening(start=0.45, choices="*.depth", options=2),
    Opening(start=0.55, choices="*.depth", options=3),
    Opening(start=0.65, choices="*.expansion", options=2),
    Opening(start=0.75, choices="*.expansion", options=3),
    Opening(start=0.85, choices="*", options=1000),
)


@dataclass(frozen=True, kw_only=True)
class Progressive:
    """Uniform sampling among the options that are open.

    Attributes:
      stages: what opens when; where several speak of a choice, the latest that has begun holds (of the same start, the
        last one listed). A choice that none speaks of is open from the start.
      archs_per_step: architectures a step; their gradients are averaged.

    References:
      Once-for-All (arXiv:1908.09791): kernel, then depth, then width.
      Differs: one schedule of the learning rate runs through all stages; the teacher is a setting of its own
      (`training.teacher`); the width of whole stages, which Once-for-All hasn't, opens last.
    """

    stages: tuple[Opening, ...] = ONCE_FOR_ALL
    archs_per_step: int = 1

    def __post_init__(self) -> None:
        check_at_least("archs_per_step", self.archs_per_step, 1)
        starts = [stage.start for stage in self.stages]
        if starts != sorted(starts):
            raise ValueError(f"`training.rule.stages` must be in the order of their starts, got {starts}")

    def table(self, space: Space) -> tuple[np.ndarray, Int[np.ndarray, "stages choices"]]:
        """When each stage starts, and how many options of each choice are open in it.

        Raises:
          ValueError: when a pattern fits no choice.
        """
        names, counts = [choice.name for choice in space.choices], option_counts(space)
        is_open, starts, rows = counts.copy(), [0.0], [counts.copy()]
        for stage in self.stages:
            fits = np.array([fnmatchcase(name, stage.choices) for name in names])
            if not fits.any():
                raise ValueError(
                    f"`{stage.choices}` in training.rule.stages fits no choice of this space;"
                    f" {_hint(stage.choices, names)}"
                )
            is_open = np.where(fits, np.minimum(stage.options, counts), is_open)
            starts.append(stage.start)
            rows.append(is_open)
        return np.array(starts), np.stack(rows).astype(np.int32)

    def rows(self, space: Space) -> int:
        """As set.

        Raises:
          ValueError: when a pattern fits no choice.
        """
        self.table(space)
        return self.archs_per_step

    def archs(
        self, key: PRNGKeyArray, space: Space, step: int | Int[Any, ""], steps: int
    ) -> Int[Array, "rows choices"]:
        """Uniform draws among what is open at this step."""
        starts, table = self.table(space)
        begins = np.ceil(starts * steps).astype(np.int32)  # the first step of each
        stage = jnp.searchsorted(jnp.asarray(begins), jnp.asarray(step), side="right") - 1
        is_open, counts = jnp.asarray(table)[stage], option_counts(space)
        lot = jax.random.uniform(key, (self.archs_per_step, len(counts)))
        return canonical(space, counts - 1 - (lot * is_open).astype(jnp.int32))

    def in_place(self, space: Space) -> tuple[float, ...]:
        """Labels only."""
        return (0.0,) * self.archs_per_step


def _hint(pattern: str, names: list[str]) -> str:
    """The pattern that was meant, where one is near; else the kinds of choices that there are."""
    kinds = list(dict.fromkeys(re.sub(r"\d+", "*", name) for name in names))
    ends = [f"*.{kind.rpartition('.')[2]}" for kind in kinds if "." in kind]
    near = difflib.get_close_matches(pattern, [*ends, *kinds], 1)
    return f"did you mean `{near[0]}`?" if near else f"its choices are {', '.join(f'`{kind}`' for kind in kinds)}"

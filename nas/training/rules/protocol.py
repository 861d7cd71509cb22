"""What every training rule is: which architectures a step trains, and from whom each of them learns."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Int, PRNGKeyArray

from search_spaces.space import Space


@runtime_checkable
class Rule(Protocol):
    """Chooses the architectures of a step. A rule keeps nothing: a run that goes on needs the key and the step alone.

    A step's loss is the mean over its rows. A row learns the labels, the first row's answer, or a mixture.
    """

    def rows(self, space: Space) -> int:
        """How many architectures a step trains.

        Raises:
          ValueError: when the rule doesn't fit the space.
        """
        ...

    def archs(
        self, key: PRNGKeyArray, space: Space, step: int | Int[Any, ""], steps: int
    ) -> Int[Array, "rows choices"]:
        """The architectures of a step, as canonical rows; the same key and step give the same rows.

        Runs under `jit` and `vmap`, where the key and the step are traced.

        Args:
          key: of this step.
          space: what is trained.
          step: counted from 0.
          steps: of the whole training.
        """
        ...

    def in_place(self, space: Space) -> tuple[float, ...]:
        """The share of each row's loss that is taught by the first row's soft answer; the rest is by the labels."""
        ...


def check_at_least(name: str, value: int, least: int) -> None:
    """Refuses a setting of a rule that is too small.

    Raises:
      ValueError: naming it.
    """
    if value < least:
        raise ValueError(f"`training.rule.{name}` must be at least {least}, got {value}")

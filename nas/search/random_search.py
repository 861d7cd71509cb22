"""Random search: the yardstick that every other search must beat."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nas.search.checks import check_told
from search_spaces.derived.sampling import sample
from search_spaces.space import Space


class State(NamedTuple):
    """What a random search remembers.

    Attributes:
      told: how many rows of costs it was told.
    """

    told: Int[Any, ""]


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """Draws uniformly over genes, whatever it is told; rows may repeat.

    Attributes:
      space: what is searched.
      pop_size: networks asked for each time.
    """

    space: Space
    pop_size: int = 64

    def __post_init__(self) -> None:
        if self.pop_size < 2:
            raise ValueError(f"`pop_size` must be at least 2, got {self.pop_size}")

    def init(self, key: PRNGKeyArray) -> State:
        """Nothing told yet."""
        return State(jnp.int32(0))

    @partial(jax.jit, static_argnums=0)
    def ask(self, key: PRNGKeyArray, state: State) -> Int[Array, "pop choices"]:
        """Random architectures."""
        return sample(key, self.space, self.pop_size)

    def tell(self, state: State, archs: Int[Any, "told choices"], costs: Float[Any, "told objectives"]) -> State:
        """Counts the rows."""
        archs, costs = check_told(self.space, archs, costs)
        return State(jnp.asarray(np.int32(state.told + len(archs))))

"""New parameters from one draw: a supernet asks for many arrays, and one random vector is cut into all of them.

A draw for each array would compile for seconds and take its own key; this compiles once and fast.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

T = TypeVar("T")
Draw = Callable[..., Float[Any, "..."]]  # draw(*shape): standard normal numbers


def drawn(key: PRNGKeyArray, build: Callable[[Draw], T]) -> T:
    """What `build` makes of standard normal numbers.

    Args:
      key: the same key gives the same numbers.
      build: called twice with a function from a shape to an array; must ask for the same shapes both times.
    """
    total = 0

    def count(*shape: int) -> Array:
        nonlocal total
        total += math.prod(shape)
        return jnp.zeros(shape)

    jax.eval_shape(lambda: build(count))  # shapes alone: nothing is computed
    vector = jax.random.normal(key, (total,))
    taken = 0

    def take(*shape: int) -> Array:
        nonlocal taken
        start, taken = taken, taken + math.prod(shape)
        return jnp.reshape(jax.lax.slice(vector, (start,), (taken,)), shape)

    return build(take)

"""Draws and varies architectures of any space, a whole population at once; `jit` them with `space` static."""

from collections.abc import Sequence
from itertools import accumulate
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from search_spaces.space import Space, active, canonical, networks_by_option, option_counts


def sample(key: PRNGKeyArray, space: Space, n: int) -> Int[Array, "n choices"]:
    """Random architectures: uniform over genes, as the papers do; not over distinct networks.

    A network in which few genes have an effect (a shallow one) therefore comes up more often than a network in which
    many have one, and equal rows may repeat.

    Raises:
      ValueError: when `n` is no number of rows.
    """
    check_number(n)
    counts = option_counts(space)
    return canonical(space, _index(jax.random.uniform(key, (n, len(counts))), counts))


def sample_networks(key: PRNGKeyArray, space: Space, n: int) -> Int[Array, "n choices"]:
    """Random architectures, uniform over distinct networks: each canonical row is equally probable.

    A depth that wakes more choices is so much more probable as there are more networks of it. Probabilities are ratios
    of exact counts, of any magnitude, to a resolution of 2^-64.

    Raises:
      ValueError: when `n` is no number of rows.
    """
    check_number(n)
    gene_key, parent_key = jax.random.split(key)
    counts, ways = option_counts(space), networks_by_option(space)
    drawn = _index(jax.random.uniform(gene_key, (n, len(counts))), counts)
    uneven = [i for i, of_option in enumerate(ways) if len(set(of_option)) > 1]
    words = jax.random.bits(parent_key, (len(uneven), 2, n), jnp.uint32)
    for (high, low), i in zip(words, uneven, strict=True):
        drawn = drawn.at[:, i].set(_weighted(high, low, ways[i]))
    return canonical(space, drawn)


def mutate(
    key: PRNGKeyArray, space: Space, archs: Int[Any, "pop choices"], rate: float | Float[Array, ""]
) -> Int[Array, "pop choices"]:
    """Redraws each gene with probability `rate`, always to a different option.

    - At a rate above 0 every row changes: where chance left all genes that have an effect alone, one of them, drawn
      uniformly, is redrawn. Only a row whose effective genes have one option each comes back as it was.
    - A gene that the change wakes (a block that a larger depth adds) is drawn uniformly: in canonical form it was 0,
      which said nothing.

    Args:
      key: randomness.
      space: whose choices these are.
      archs: the rows to vary.
      rate: 0 to 1, for each gene.

    Returns:
      Canonical rows.

    Raises:
      ValueError: when the rate is a plain number (not an array, which may be traced) outside of 0 to 1.
    """
    if isinstance(rate, Real) and not 0 <= rate <= 1:
        raise ValueError(f"`rate` must be 0 to 1, the probability that a gene is redrawn, got {rate}")
    if not space.choices:
        return jnp.asarray(archs, jnp.int32)
    hit_key, option_key = jax.random.split(key)
    counts = jnp.asarray(option_counts(space))
    awake = active(space, archs)
    ticket = jnp.where(awake & (counts > 1), jax.random.uniform(hit_key, archs.shape), jnp.inf)
    # Where no ticket wins, those left are uniform above the rate, so the lowest is any gene's with equal probability.
    lowest = jnp.isfinite(ticket) & (jnp.arange(len(counts)) == ticket.argmin(-1, keepdims=True))
    hit = (ticket < rate) | (lowest & (jnp.asarray(rate) > 0))
    lot = jax.random.uniform(option_key, archs.shape)
    other = (archs + 1 + _index(lot, counts - 1)) % counts
    return canonical(space, jnp.where(awake, jnp.where(hit, other, archs), _index(lot, counts)))


def crossover(
    key: PRNGKeyArray, space: Space, a: Int[Any, "pop choices"], b: Int[Any, "pop choices"]
) -> Int[Array, "pop choices"]:
    """Uniform crossover: each child takes each gene from either parent with probability one half.

    A gene that has an effect in one parent only is taken from that one, so that every gene with an effect in the child
    had one where it came from.

    Args:
      key: randomness.
      space: whose choices these are.
      a: one parent a row.
      b: the other parent of the same row.

    Returns:
      Canonical rows, one child a pair.
    """
    in_a, in_b = active(space, a), active(space, b)
    from_a = jnp.where(in_a == in_b, jax.random.bernoulli(key, 0.5, a.shape), in_a)
    return canonical(space, jnp.where(from_a, a, b))


def check_number(n: int) -> None:
    """Refuses a number of rows below 0.

    Raises:
      ValueError: naming it.
    """
    if n < 0:
        raise ValueError(f"`n` must be at least 0, got {n}")


def _index(lot: Float[Array, "pop choices"], counts: Int[Any, " choices"]) -> Int[Array, "pop choices"]:
    """Turns uniforms in [0, 1) into indices below `counts` (compiles in half the time of `jax.random.randint`)."""
    return (lot * counts).astype(jnp.int32)


def _weighted(high: Array, low: Array, weights: Sequence[int]) -> Int[Array, " n"]:
    """Indices drawn in proportion to whole numbers of any size, from uniform 64-bit numbers in two words."""
    *reached, total = accumulate(weights)
    bounds = [(at << 64) // total for at in reached]  # the number lies below `bounds[i]` for one of the first i + 1
    past = [
        (high > np.uint32(bound >> 32)) | ((high == np.uint32(bound >> 32)) & (low >= np.uint32(bound & 0xFFFFFFFF)))
        for bound in bounds
    ]
    return jnp.stack(past).sum(0, dtype=jnp.int32)

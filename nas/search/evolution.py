"""NSGA-II over the genes of a space: keep the best fronts, breed from them, spread along them."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nas.pareto import crowding_distance, ranks
from nas.search.checks import check_told
from search_spaces.derived.sampling import crossover, mutate, sample
from search_spaces.space import Space, largest, smallest

RETRIES = 8
"""How often children that repeat known rows are varied again before they are asked for all the same."""


class State(NamedTuple):
    """The population, best first: by front, then the lonelier on its front.

    Attributes:
      archs: distinct canonical rows; before the first `tell`, the first population to judge.
      costs: their costs in float32; no columns before the first `tell`.
      count: how many rows are judged; those behind them mean nothing (their costs are infinite).
    """

    archs: Int[Any, "pop choices"]
    costs: Float[Any, "pop objectives"]
    count: Int[Any, ""]


@dataclass(frozen=True, kw_only=True)
class Evolution:
    """Multi-objective evolution by non-dominated sorting and crowding.

    Constraints enter through the costs: give an infeasible network one large value plus its violation in every column.
    Costs are held in float32, where 1e6 leaves violations apart that differ by 0.06 or more.

    Attributes:
      space: what is searched.
      pop_size: networks kept, and networks asked for each time.
      mutation: probability that a gene is redrawn; a child changes in at least one gene unless this is 0.
      crossover: probability that a child has two parents, gene by gene at random; otherwise it copies one.
      include_extremes: the first population holds the networks of all first and of all last options.

    References:
      NSGA-II (doi:10.1109/4235.996017).
      Differs: the smallest and the largest network stand in the first population; equal rows are kept once, with the
      costs told last; children that repeat each other or the population are mutated again, up to 8 times; crossover
      and mutation act on option indices, not on reals.
    """

    space: Space
    pop_size: int = 32
    mutation: float = 0.05
    crossover: float = 0.5
    include_extremes: bool = True

    def __post_init__(self) -> None:
        if self.pop_size < 2:
            raise ValueError(f"`pop_size` must be at least 2, got {self.pop_size}")
        for name in ("mutation", "crossover"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"`{name}` is a probability, 0 to 1, got {value}")

    @partial(jax.jit, static_argnums=0)
    def init(self, key: PRNGKeyArray) -> State:
        """A random population, uniform over genes, waiting to be asked for."""
        sample_key, again_key = jax.random.split(key)
        archs = sample(sample_key, self.space, self.pop_size)
        if self.include_extremes:
            archs = archs.at[0].set(smallest(self.space)).at[1].set(largest(self.space))
        archs = self._mutate_until_new(again_key, archs, archs, jnp.int32(0), _repeats(archs), 1.0)
        return State(archs, jnp.zeros((self.pop_size, 0), jnp.float32), jnp.int32(0))

    def ask(self, key: PRNGKeyArray, state: State) -> Int[Array, "pop choices"]:
        """The first population until something is told; then children of the population.

        Rows repeat only where nothing new was found, as in a space hardly larger than the population. The population is
        all that is remembered: a network dropped from it may be asked for again.
        """
        return self._ask(key, state.archs, state.count)

    def tell(self, state: State, archs: Int[Any, "told choices"], costs: Float[Any, "told objectives"]) -> State:
        """The best `pop_size` of the population and these rows; each other number of rows compiles anew."""
        archs, costs = check_told(self.space, archs, costs)
        known = state.costs
        if known.shape[1] == 0:
            known = jnp.full((self.pop_size, costs.shape[1]), jnp.inf, jnp.float32)
        if known.shape[1] != costs.shape[1]:
            raise ValueError(f"costs have {costs.shape[1]} columns, but this state was told {known.shape[1]} before")
        return self._tell(state._replace(costs=known), archs, costs)

    @partial(jax.jit, static_argnums=0)
    def _ask(self, key: PRNGKeyArray, archs: Any, count: Any) -> Int[Array, "pop choices"]:
        return jax.lax.cond(count == 0, lambda: jnp.asarray(archs), lambda: self._breed(key, archs, count))

    def _breed(self, key: PRNGKeyArray, archs: Any, count: Any) -> Int[Array, "pop choices"]:
        match_key, pair_key, gene_key, mutate_key = jax.random.split(key, 4)
        # Binary tournaments: rows are sorted by rank and crowding, so the smaller index wins.
        winners = jax.random.randint(match_key, (2, 2, self.pop_size), 0, count).min(0)
        mothers, fathers = archs[winners[0]], archs[winners[1]]
        crossed = jax.random.bernoulli(pair_key, self.crossover, (self.pop_size, 1))
        children = jnp.where(crossed, crossover(gene_key, self.space, mothers, fathers), mothers)
        return self._mutate_until_new(mutate_key, children, archs, count, jnp.ones(self.pop_size, bool), self.mutation)

    def _mutate_until_new(
        self, key: PRNGKeyArray, rows: Any, known: Any, count: Any, pending: Any, rate: float
    ) -> Int[Array, "pop choices"]:
        """Mutates the pending rows, and again those that repeat an earlier row or one of the first `count` known."""
        judged = jnp.arange(self.pop_size) < count

        def vary(carry: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
            tries, rows, pending = carry
            varied = mutate(jax.random.fold_in(key, tries), self.space, rows, rate)
            rows = jnp.where(pending[:, None], varied, rows)
            return tries + 1, rows, _repeats(rows) | (_same(rows, known) & judged).any(1)

        def more(carry: tuple[Any, Any, Any]) -> Any:
            tries, _, pending = carry
            return (tries <= RETRIES) & pending.any()

        return jax.lax.while_loop(more, vary, (jnp.int32(0), rows, pending))[1]

    @partial(jax.jit, static_argnums=0)
    def _tell(self, state: State, archs: Any, costs: Any) -> State:
        archs = jnp.concatenate([archs, state.archs])  # the new rows first: of equal rows, the first is kept
        costs = jnp.concatenate([costs, state.costs])
        judged = jnp.arange(len(archs)) < len(archs) - self.pop_size + state.count
        kept = judged & ~_repeats(archs)
        # The rest goes behind all others; a finite value, because infinities have no differences.
        costs = jnp.where(kept[:, None], costs, jnp.finfo(costs.dtype).max)
        rank = ranks(costs)
        best = jnp.lexsort((-crowding_distance(costs, rank), rank, ~kept))[: self.pop_size]
        return State(
            archs[best],
            jnp.where(kept[best][:, None], costs[best], jnp.inf),
            jnp.minimum(kept.sum(dtype=jnp.int32), self.pop_size),
        )


def _same(a: Int[Any, "a choices"], b: Int[Any, "b choices"]) -> Bool[Array, "a b"]:
    """Which rows of `a` equal which of `b`."""
    return (a[:, None] == b[None]).all(-1)


def _repeats(rows: Int[Any, "rows choices"]) -> Bool[Array, " rows"]:
    """Marks the rows that equal an earlier one."""
    return jnp.tril(_same(rows, rows), -1).any(1)

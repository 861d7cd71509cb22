"""Learned relative positions of tokens on a square, for keys or for values of attention."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from search_spaces.initialise import Draw
from search_spaces.layers import relative_index, relative_table_size, square_side
from search_spaces.named import named

Heads = Float[Array, "batch tokens heads head_dim"]
Scores = Float[Array, "batch heads tokens keys"]
Table = Float[Any, "distances head_dim"]


class RelativePosition(nnx.Module):
    """Two tables, of vertical and horizontal distances; how a key stands to a query is one row of each, added.

    Distances beyond the reach count as the reach. Pairs with the class token have a row of their own. All heads share
    the tables.

    References:
      Self-Attention with Relative Position Representations (arXiv:1803.02155), in two dimensions as in AutoFormer
      (arXiv:2107.00651).
      Differs: AutoFormer multiplies queries by a vector for each pair of tokens; since the vector is a sum of one for
      the rows and one for the columns, we multiply by those, and add the products. For 14 x 14 tokens that takes a
      seventh of the multiplications, and no array of tokens x tokens x channels.
    """

    def __init__(self, rows: Any, columns: Any, reach: int, class_token: bool):
        self.rows, self.columns = nnx.Param(rows), nnx.Param(columns)
        self.reach, self.class_token = reach, class_token

    @classmethod
    def init(cls, draw: Draw, head_dim: int, reach: int, class_token: bool) -> "RelativePosition":
        """Normal with deviation 0.02, as in AutoFormer."""
        shape = (relative_table_size(reach, class_token), head_dim)
        return cls(draw(*shape) * 0.02, draw(*shape) * 0.02, reach, class_token)

    def scores(self, scores: Scores, query: Heads) -> Scores:
        """The scores plus queries times the vectors of all tokens' relative positions, over the root of `head_dim`."""
        run = named("RelativeScores", _with_scores, reach=self.reach, class_token=self.class_token)
        return run(scores, query, self.rows[...], self.columns[...])

    def mix(self, mixed: Heads, attention: Scores) -> Heads:
        """What was mixed plus the vectors of all tokens' positions relative to each query, weighted by attention."""
        run = named("RelativeMix", _with_mix, reach=self.reach, class_token=self.class_token)
        return run(mixed, attention, self.rows[...], self.columns[...])


def _by_axis(
    tables: Sequence[Table], side: int, reach: int, class_token: bool
) -> list[Float[Array, "side keys head_dim"]]:
    """For each row (and column) of a query, the vectors of the class token and of each row (and column) of a key.

    All indices are known to be in the tables: nothing has to be checked, so extracted networks hold no masks.
    """
    at = np.array(relative_index(side, reach, class_token), np.int32)
    return [jnp.asarray(table).at[at].get(mode="promise_in_bounds", wrap_negative_indices=False) for table in tables]


def _with_scores(scores: Scores, query: Heads, *tables: Table, reach: int, class_token: bool) -> Scores:
    first = int(class_token)
    batch, tokens, heads, head_dim = query.shape
    side = square_side(tokens - first)
    rows, columns = _by_axis(tables, side, reach, class_token)
    query = query * head_dim**-0.5
    patches = query[:, first:].reshape(batch, side, side, heads, head_dim)
    by_row = jnp.einsum("brchd,rkd->bhrck", patches, rows)
    by_column = jnp.einsum("brchd,ckd->bhrck", patches, columns)
    relative = by_row[..., first:, None] + by_column[..., None, first:]
    relative = relative.reshape(batch, heads, side**2, side**2)
    if not class_token:
        return scores + relative
    to_class = (by_row[..., :1] + by_column[..., :1]).reshape(batch, heads, side**2, 1)
    of_class = jnp.einsum("bhd,d->bh", query[:, 0], rows[0, 0] + columns[0, 0])
    of_class = jnp.broadcast_to(of_class[:, :, None, None], (batch, heads, 1, tokens))
    return scores + jnp.concatenate([of_class, jnp.concatenate([to_class, relative], 3)], 2)


def _with_mix(mixed: Heads, attention: Scores, *tables: Table, reach: int, class_token: bool) -> Heads:
    first = int(class_token)
    batch, heads, tokens, _ = attention.shape
    side = square_side(tokens - first)
    rows, columns = _by_axis(tables, side, reach, class_token)
    of_patches = attention[:, :, first:]
    to_patches = of_patches[..., first:].reshape(batch, heads, side, side, side, side)
    to_class = of_patches[..., :first].reshape(batch, heads, side, side, first)
    by_row = jnp.concatenate([to_class, to_patches.sum(-1)], -1)
    by_column = jnp.concatenate([to_class, to_patches.sum(-2)], -1)
    relative = jnp.einsum("bhrck,rkd->brchd", by_row, rows) + jnp.einsum("bhrck,ckd->brchd", by_column, columns)
    relative = relative.reshape(batch, side**2, heads, -1)
    if not class_token:
        return mixed + relative
    of_class = jnp.broadcast_to(rows[0, 0] + columns[0, 0], (batch, 1, heads, relative.shape[-1]))
    return mixed + jnp.concatenate([of_class, relative], 1)  # a query's attention sums to one

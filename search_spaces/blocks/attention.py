"""Multi-head self-attention with elastic heads: those that are off are turned off where heads leave attention."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from search_spaces.axes import Axis
from search_spaces.blocks.relative_position import RelativePosition
from search_spaces.elastic import Dense
from search_spaces.initialise import Draw
from search_spaces.named import named

Tokens = Float[Array, "batch tokens channels"]
Heads = Float[Array, "batch tokens heads head_dim"]
Scores = Float[Array, "batch heads queries keys"]


class Attention(nnx.Module):
    """Scaled dot-product attention among tokens (arXiv:1706.03762), with relative positions where it has tables.

    The channels of a head are `head_dim`, whatever the number of heads and the width of the network, so the first so
    many heads are the first so many channels of queries, keys and values (AutoFormer, arXiv:2107.00651).
    """

    def __init__(self, head_dim: int, dense: Sequence[Dense], tables: Sequence[RelativePosition] = ()):
        """Of the dense layers to queries, keys and values and back, and the tables for keys and values, if any."""
        self.head_dim = head_dim
        self.query, self.key, self.value, self.project = dense
        self.to_keys, self.to_values = tables or (None, None)

    @classmethod
    def init(
        cls, draw: Draw, channels: int, heads: int, head_dim: int, reach: int | None, class_token: bool
    ) -> "Attention":
        """Of `heads` heads; `reach` is that of the tables of relative positions, None for none."""
        dense = [Dense.init(draw, channels, heads * head_dim) for _ in range(3)]
        dense.append(Dense.init(draw, heads * head_dim, channels))
        tables: list[RelativePosition] = []
        if reach is not None:
            tables = [RelativePosition.init(draw, head_dim, reach, class_token) for _ in range(2)]
        return cls(head_dim, dense, tables)

    def cut(self, channels: Axis, heads: Axis) -> "Attention":
        """The same layer with fewer channels and heads; `heads` is an axis of `heads * head_dim` channels."""
        dense = [layer.cut(channels, heads) for layer in (self.query, self.key, self.value)]
        tables = [table for table in (self.to_keys, self.to_values) if table is not None]
        return Attention(self.head_dim, [*dense, self.project.cut(heads, channels)], tables)

    def __call__(self, x: Tokens, heads: Axis) -> Tokens:
        """Attends; softmax is computed in float32 at least, whatever the activations are computed in."""
        split = (*x.shape[:2], -1, self.head_dim)
        query, key, value = (layer(x).reshape(split) for layer in (self.query, self.key, self.value))
        scores = dot_products(query, key)
        if self.to_keys is not None:
            scores = self.to_keys.scores(scores, query)
        attention = softmax(scores).astype(x.dtype)
        mixed = mix(attention, value)
        if self.to_values is not None:
            mixed = self.to_values.mix(mixed, attention)
        return self.project(heads.gate(mixed.reshape(*x.shape[:2], -1)))


def _dot_products(query: Heads, key: Heads) -> Scores:
    precise = jnp.promote_types(query.dtype, np.float32)
    return jnp.einsum("bqhd,bkhd->bhqk", query * query.shape[-1] ** -0.5, key, preferred_element_type=precise)


def _softmax(scores: Scores) -> Scores:
    return jax.nn.softmax(scores, -1)


def _mix(attention: Scores, value: Heads) -> Heads:
    return jnp.einsum("bhqk,bkhd->bqhd", attention, value)


dot_products = named("Scores", _dot_products)
"""Dot products of queries with keys, over the root of `head_dim`, in float32 at least: the layer `Scores`."""

softmax = named("Softmax", _softmax)
"""Attention of each query to all keys, from scores: the layer `Softmax`."""

mix = named("Mix", _mix)
"""Values weighted by attention, head by head: the layer `Mix`."""

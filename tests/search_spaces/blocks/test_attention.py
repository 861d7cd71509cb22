"""Attention against flax's own, and relative positions against a sum over all pairs of tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.nnx.nn.attention import dot_product_attention_weights

from search_spaces.axes import EVERYTHING, FirstChannels, MaskedAxis
from search_spaces.blocks.attention import Attention
from search_spaces.blocks.relative_position import RelativePosition
from search_spaces.elastic import Dense

CHANNELS, HEADS, HEAD_DIM, TOKENS = 12, 3, 4, 10


@pytest.fixture(autouse=True)
def float64():
    """And quick compiles: equality does not hang on the compiler's optimisations, which take most of its time."""
    jax.config.update("jax_disable_most_optimizations", True)
    with jax.enable_x64(True):
        yield
    jax.config.update("jax_disable_most_optimizations", False)


def dense(rng, ins, outs):
    return Dense(jnp.asarray(rng.normal(size=(ins, outs)) / ins**0.5), jnp.asarray(rng.normal(size=outs)))


def attention(rng, reach=None, class_token=True):
    width = HEADS * HEAD_DIM
    layers = [dense(rng, *shape) for shape in [(CHANNELS, width)] * 3 + [(width, CHANNELS)]]
    tables = [relative(rng, reach, class_token) for _ in range(2)] if reach else []
    return Attention(HEAD_DIM, layers, tables)


def relative(rng, reach, class_token):
    size = 2 * reach + 1 + class_token
    rows, columns = (jnp.asarray(rng.normal(size=(size, HEAD_DIM))) for _ in range(2))
    return RelativePosition(rows, columns, reach, class_token)


def flaxs(own, channels, heads):
    """Flax's attention of so many channels and heads, with the same parameters."""

    def attend(query, key, value, **_):  # flax's default takes the scores in float32
        weights = dot_product_attention_weights(query, key, dtype=jnp.float64)
        return jnp.einsum("bhqk,bkhd->bqhd", weights, value)

    layer = nnx.MultiHeadAttention(
        heads,
        channels,
        width := heads * HEAD_DIM,
        out_features=channels,
        decode=False,
        param_dtype=jnp.float64,
        attention_fn=attend,
        rngs=nnx.Rngs(0),
    )
    for name in ("query", "key", "value"):
        mine, theirs = getattr(own, name), getattr(layer, name)
        theirs.kernel[...] = mine.weight[:channels, :width].reshape(channels, heads, HEAD_DIM)
        theirs.bias[...] = mine.bias[:width].reshape(heads, HEAD_DIM)
    layer.out.kernel[...] = own.project.weight[:width, :channels].reshape(heads, HEAD_DIM, channels)
    layer.out.bias[...] = own.project.bias[:channels]
    return layer


def first(on, count):
    return MaskedAxis(jnp.asarray(np.arange(count) < on, np.float64))


@pytest.mark.parametrize(("channels", "heads"), [(5, 1), (CHANNELS, HEADS)])
def test_masked_and_cut_answer_as_flax_does(channels, heads):
    rng = np.random.default_rng(0)
    own, width = attention(rng), heads * HEAD_DIM
    x = np.where(np.arange(CHANNELS) < channels, rng.normal(size=(2, TOKENS, CHANNELS)), 0)
    expected = jax.jit(flaxs(own, channels, heads))(x[..., :channels])
    on = first(width, HEADS * HEAD_DIM)
    masked = jax.jit(lambda x: own.cut(first(channels, CHANNELS), on)(x, on))(x)
    on = FirstChannels(width)
    cut = jax.jit(lambda x: own.cut(FirstChannels(channels), on)(x, on))(x[..., :channels])
    np.testing.assert_allclose(masked[..., :channels], expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(cut, expected, rtol=1e-11, atol=1e-11)


def pair_vectors(own, tokens):
    """For each pair of tokens, query first, its vector: as the paper says it, one pair after the other."""
    class_token, reach = own.class_token, own.reach
    side = round((tokens - class_token) ** 0.5)
    rows, columns = np.asarray(own.rows), np.asarray(own.columns)
    vectors = np.zeros((tokens, tokens, HEAD_DIM))
    for query in range(tokens):
        for key in range(tokens):
            if class_token and 0 in (query, key):
                down = right = 0  # the table's first row
            else:
                (row, column), (key_row, key_column) = (divmod(i - class_token, side) for i in (query, key))
                down = np.clip(key_row - row, -reach, reach) + reach + class_token
                right = np.clip(key_column - column, -reach, reach) + reach + class_token
            vectors[query, key] = rows[down] + columns[right]
    return vectors


@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize(("side", "reach"), [(3, 1), (4, 14)])
def test_relative_positions_are_those_of_all_pairs(side, reach, class_token):
    rng, tokens = np.random.default_rng(0), side**2 + class_token
    own = relative(rng, reach, class_token)
    vectors = pair_vectors(own, tokens)
    query = rng.normal(size=(2, tokens, HEADS, HEAD_DIM))
    expected = np.einsum("bqhd,qkd->bhqk", query, vectors)
    given = rng.normal(size=expected.shape)
    expected = given + expected / HEAD_DIM**0.5
    np.testing.assert_allclose(jax.jit(own.scores)(given, query), expected, rtol=1e-11, atol=1e-11)
    weights = rng.uniform(size=(2, HEADS, tokens, tokens))
    weights /= weights.sum(-1, keepdims=True)
    expected = np.einsum("bhqk,qkd->bqhd", weights, vectors)
    given = rng.normal(size=expected.shape)
    np.testing.assert_allclose(jax.jit(own.mix)(given, weights), given + expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("heads", [1, HEADS])
def test_attention_adds_relative_positions_to_keys_and_values(heads):
    """As AutoFormer has it: a key is met with `k + r`, a value is taken with `v + r`, the vectors those of the pair."""
    rng, width = np.random.default_rng(0), heads * HEAD_DIM
    own = attention(rng, reach=1)
    assert own.to_keys is not None
    assert own.to_values is not None
    x = rng.normal(size=(2, TOKENS, CHANNELS))
    query, key, value = (
        (x @ np.asarray(layer.weight) + np.asarray(layer.bias))[..., :width].reshape(2, TOKENS, heads, HEAD_DIM)
        for layer in (own.query, own.key, own.value)
    )
    keys = key[:, None] + pair_vectors(own.to_keys, TOKENS)[None, :, :, None]  # [batch, query, key, head, channel]
    values = value[:, None] + pair_vectors(own.to_values, TOKENS)[None, :, :, None]
    scores = np.exp(np.einsum("bqhd,bqkhd->bhqk", query, keys) / HEAD_DIM**0.5)
    mixed = np.einsum("bhqk,bqkhd->bqhd", scores / scores.sum(-1, keepdims=True), values).reshape(2, TOKENS, width)
    expected = mixed @ np.asarray(own.project.weight)[:width] + np.asarray(own.project.bias)
    masked = jax.jit(lambda x: own(x, first(width, HEADS * HEAD_DIM)))(x)
    np.testing.assert_allclose(masked, expected, rtol=1e-10, atol=1e-10)


def test_softmax_is_in_float32_of_bfloat16():
    own = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), attention(np.random.default_rng(0), reach=1))
    x = jnp.ones((1, TOKENS, CHANNELS), jnp.bfloat16)
    jaxpr = jax.make_jaxpr(lambda own, x: own(x, EVERYTHING))(own, x).jaxpr
    exponentials = [v.aval.dtype for e in equations(jaxpr) if e.primitive.name == "exp" for v in e.outvars]
    assert exponentials == [jnp.float32]
    assert jaxpr.outvars[0].aval.dtype == jnp.bfloat16


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in equation.params.values():
            if hasattr(getattr(inner, "jaxpr", inner), "eqns"):
                yield from equations(getattr(inner, "jaxpr", inner))

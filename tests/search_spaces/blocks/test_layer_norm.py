"""Layer norm against flax's own, over the channels that are on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from search_spaces.axes import EVERYTHING, FirstChannels, MaskedAxis
from search_spaces.blocks.layer_norm import LayerNorm

CHANNELS = 12


@pytest.fixture(autouse=True)
def quick_compiles():
    """Equality does not hang on the compiler's optimisations, which take most of its time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def layer(dtype=np.float64):
    rng = np.random.default_rng(0)
    scale, bias = rng.uniform(0.5, 1.5, CHANNELS), rng.uniform(-0.5, 0.5, CHANNELS)
    return LayerNorm(jnp.asarray(scale, dtype), jnp.asarray(bias, dtype), 1e-5)


def flaxs(own, on):
    """Flax's layer of so many channels, with the same parameters."""
    norm = nnx.LayerNorm(on, epsilon=1e-5, param_dtype=jnp.float64, use_fast_variance=False, rngs=nnx.Rngs(0))
    norm.scale[...], norm.bias[...] = own.scale[:on], own.bias[:on]
    return norm


@pytest.mark.parametrize("on", [1, 7, CHANNELS])
def test_masked_and_cut_answer_as_flax_does_over_the_active_channels(on):
    with jax.enable_x64(True):
        own = layer()
        x = np.random.default_rng(1).normal(3, 2, (4, 5, CHANNELS))
        x[..., on:] = 0  # what is off has been gated
        expected = jax.jit(flaxs(own, on))(x[..., :on])
        mask = MaskedAxis(jnp.asarray(np.arange(CHANNELS) < on, np.float64))
        masked = jax.jit(lambda x: own(x, mask))(x)
        cut = jax.jit(lambda x: own.cut(FirstChannels(on))(x, FirstChannels(on)))(x[..., :on])
    np.testing.assert_allclose(masked[..., :on], expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(cut, expected, rtol=1e-11, atol=1e-11)
    assert (np.asarray(masked[..., on:]) == 0).all()


def test_gradients_are_those_of_the_cut_layer():
    on = 7
    with jax.enable_x64(True):
        own, mask = layer(), MaskedAxis(jnp.asarray(np.arange(CHANNELS) < on, np.float64))
        rng = np.random.default_rng(1)
        x = np.where(np.arange(CHANNELS) < on, rng.normal(size=(4, CHANNELS)), 0)
        cotangent = rng.normal(size=(4, on))
        by_mask = jax.jit(jax.grad(lambda x: (own(x, mask)[:, :on] * cotangent).sum()))(x)
        by_flax = jax.jit(jax.grad(lambda x: (flaxs(own, on)(x) * cotangent).sum()))(x[:, :on])
    np.testing.assert_allclose(by_mask[:, :on], by_flax, rtol=1e-10, atol=1e-10)


def test_statistics_are_taken_in_float32_of_bfloat16():
    """A mean of 100 and a deviation of 1/4: in bfloat16, with 8 bits, the variance would be lost."""
    x = 100 + 0.5 * (np.arange(CHANNELS) % 2).astype(np.float32)  # 100 and 100.5: both exact in bfloat16
    own = LayerNorm(jnp.ones(CHANNELS, jnp.bfloat16), jnp.zeros(CHANNELS, jnp.bfloat16), 1e-5)
    y = own(jnp.asarray(x, jnp.bfloat16)[None], EVERYTHING)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y[0].astype(np.float32), np.where(np.arange(CHANNELS) % 2, 1, -1), atol=0.01)

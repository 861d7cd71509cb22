"""The shifted sums are the convolution that XLA's own grouped convolution computes, and so are their gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from search_spaces.depthwise import depthwise


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    """Equality does not hang on the compiler's optimisations, which take most of its time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def grouped(x, weight, stride):
    pad = weight.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def pulled(convolve, x, weight, seed):
    """The output, and the gradients of a random sum of it."""
    y, pull = jax.vjp(convolve, x, weight)
    return y, *pull(jnp.asarray(np.random.default_rng(seed).normal(size=y.shape), y.dtype))


def images_and_weight(size, kernel, dtype=jnp.float32, batch=(2,), channels=3):
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)  # noqa: E731
    return draw(*batch, *size, channels), draw(kernel, kernel, 1, channels)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 5)])  # smaller than the kernel, odd, even
def test_it_is_the_grouped_convolution_with_its_gradients(size, kernel, stride):
    x, weight = images_and_weight(size, kernel)
    ours, theirs = (
        jax.jit(lambda x, w, f=f: pulled(lambda x, w: f(x, w, stride), x, w, 1))(x, weight)
        for f in (depthwise, grouped)
    )
    assert ours[0].shape == (2, -(-size[0] // stride), -(-size[1] // stride), 3)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_in_float64_nothing_but_rounding_is_left():
    with jax.enable_x64(True):
        x, weight = images_and_weight((7, 6), 5, jnp.float64)
        for stride in (1, 2):
            ours, theirs = (
                jax.jit(lambda x, w, f=f, s=stride: pulled(lambda x, w: f(x, w, s), x, w, 1))(x, weight)
                for f in (depthwise, grouped)
            )
            for a, b in zip(ours, theirs, strict=True):
                assert a.dtype == jnp.float64
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_population_of_kernels_runs_at_once(stride):
    x, _ = images_and_weight((5, 4), 3)
    weights = jnp.asarray(np.random.default_rng(2).normal(size=(4, 3, 3, 1, 3)), jnp.float32)
    one = partial(pulled, lambda x, w: depthwise(x, w, stride), seed=1)
    together = jax.jit(jax.vmap(one, (None, 0)))(x, weights)
    alone = jax.jit(one)
    for i, weight in enumerate(weights):
        for a, b in zip(together, alone(x, weight), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-5, atol=1e-5)


def test_one_tap_by_hand():
    # [1 2; 3 4] under a 3x3 kernel that is 1 at its top left and 10 at its centre: each pixel takes ten times itself
    # and the pixel above it to the left, which is padding for all but the last.
    x = jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    weight = jnp.zeros((3, 3, 1, 1)).at[0, 0].set(1.0).at[1, 1].set(10.0)
    assert depthwise(x, weight, 1).ravel().tolist() == [10, 20, 30, 41]
    assert depthwise(x, weight, 2).ravel().tolist() == [10]

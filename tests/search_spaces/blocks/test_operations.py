"""Operations of a cell without parameters: pooling worked by hand and by brute force, and zeros."""

import jax.numpy as jnp
import numpy as np
import pytest

from search_spaces.blocks.operations import average_pool, zeros


def means(x, kernel, stride):
    """Window by window."""
    pad = kernel // 2 if kernel % 2 else 0
    height, width = x.shape[1:3]
    rows = range(-pad, height + pad - kernel + 1, stride)
    columns = range(-pad, width + pad - kernel + 1, stride)

    def mean(i, j):
        return x[:, max(i, 0) : i + kernel, max(j, 0) : j + kernel].mean((1, 2))

    return np.stack([np.stack([mean(i, j) for j in columns], 1) for i in rows], 1)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (2, 2), (3, 2), (5, 1), (1, 1)])
@pytest.mark.parametrize("size", [(6, 6), (5, 7)])
def test_pooling_is_the_mean_of_what_lies_on_the_image(size, kernel, stride):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    np.testing.assert_allclose(average_pool(jnp.asarray(x), kernel, stride), means(x, kernel, stride), atol=1e-6)


def test_pooling_by_hand():
    x = jnp.asarray(np.arange(9.0, dtype=np.float32).reshape(1, 3, 3, 1))
    # corner: (0 + 1 + 3 + 4) / 4 = 2; edge: (0 + 1 + 2 + 3 + 4 + 5) / 6 = 2.5; centre: 36 / 9 = 4
    assert average_pool(x, 3)[0, :2, :2, 0].tolist() == [[2, 2.5], [3.5, 4]]
    # Two by two from each other position on, a row below and a column on the right: the last ones are not full.
    # (0 + 1 + 3 + 4) / 4 = 2; (2 + 5) / 2 = 3.5; (6 + 7) / 2 = 6.5; 8
    assert average_pool(x, 2, 2, (0, 1, 0, 1))[0, :, :, 0].tolist() == [[2, 3.5], [6.5, 8]]
    # A row above, and none below: (0 + 1) / 2 = 0.5; (3 + 4 + 6 + 7) / 4 = 5
    assert average_pool(x, 2, 2, (1, 0, 0, 0))[0, :, :, 0].tolist() == [[0.5], [5]]


def test_pooling_keeps_a_precision():
    assert average_pool(jnp.ones((1, 4, 4, 2), jnp.bfloat16), 3).dtype == jnp.bfloat16


def test_zeros_have_the_shape_and_precision_of_what_they_cut():
    y = zeros(jnp.ones((1, 4, 4, 2), jnp.bfloat16))
    assert (y.shape, y.dtype, float(jnp.abs(y).max())) == ((1, 4, 4, 2), jnp.bfloat16, 0)

"""Operations of a cell: pooling worked by hand and by brute force, and the choice among operations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search_spaces.operations import OneOf, Plain, average_pool, identity, total, zeros
from search_spaces.reading import Cut, Masked, Whole


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


ONE_OF = OneOf([Plain(zeros), Plain(identity), Plain(total)])
X = jnp.asarray([[1.0, -2.0]])[:, None, None]


def test_one_option_is_chosen_or_all_are_mixed():
    for index, expected in enumerate([0 * X, X, X]):
        read = Cut((("op", index),))
        y, used = ONE_OF(read, None, X)
        assert jnp.array_equal(y, expected)
        assert used["options"][index] == {}
        assert jnp.array_equal(ONE_OF.cut(read)(Whole(), None, X)[0], expected)
    y, _ = ONE_OF(Masked({"op": jnp.asarray([0.5, 0.25, 0.25])}), None, X)
    np.testing.assert_allclose(y, 0.5 * X)


def test_equal_blocks_are_equal_in_structure():
    """So that sliced execution compiles them once."""
    structures = {jax.tree.structure(block) for block in (Plain(zeros), Plain(zeros), Plain(identity))}
    assert len(structures) == 2

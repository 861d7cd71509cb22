"""Resized positions and patches: against JAX's own resizing, and by what FlexiViT asks of resized weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search_spaces.axes import EVERYTHING, FirstChannels
from search_spaces.blocks.patches import Patches, Positions, resizing


@pytest.mark.parametrize(("before", "after"), [(4, 4), (4, 2), (7, 4), (4, 7), (3, 1), (14, 5), (1, 3)])
def test_resizing_is_jaxs_bilinear(before, after):
    numbers = np.random.default_rng(0).normal(size=before)
    with jax.enable_x64(True):
        expected = jax.image.resize(jnp.asarray(numbers), (after,), "bilinear")
        np.testing.assert_allclose(resizing(before, after) @ numbers, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("patch", [4, 5, 8])
def test_a_larger_patch_answers_as_the_learned_one_does_to_what_was_enlarged(patch):
    """FlexiViT's aim, which enlarging meets exactly: `<x, w> = <resized x, resized w>` (arXiv:2212.08013)."""
    rng = np.random.default_rng(0)
    learned = Patches(rng.normal(size=(4, 4, 3, 6)), rng.normal(size=6))
    other = learned.cut(EVERYTHING, patch)
    assert other.weight.shape == (patch, patch, 3, 6)
    with jax.enable_x64(True):
        image = jnp.asarray(rng.normal(size=(2, 4, 4, 3)))
        enlarged = jax.image.resize(image, (2, patch, patch, 3), "bilinear")
        np.testing.assert_allclose(on_device(other)(enlarged), on_device(learned)(image), rtol=1e-9, atol=1e-9)


def on_device(patches):
    return jax.tree.map(jnp.asarray, patches)


def test_a_smaller_patch_is_as_near_as_can_be():
    """No other weights are nearer over images of independent numbers: the gradient of the distance is 0 there."""
    rng = np.random.default_rng(0)
    learned = rng.normal(size=(4, 4, 1, 1))
    smaller = np.asarray(Patches(learned, np.zeros(1)).cut(EVERYTHING, 2).weight).ravel()
    both = np.kron(resizing(4, 2), resizing(4, 2))  # of an image, row by row
    # E (x.w - Bx.v)^2 = |w - B'v|^2 for white x, of which v is the minimum where B (w - B'v) = 0
    np.testing.assert_allclose(both @ (learned.ravel() - both.T @ smaller), 0, atol=1e-12)


def test_positions_of_the_learned_square_are_the_learned_ones():
    rng = np.random.default_rng(0)
    learned = Positions(rng.normal(size=(10, 6)), rng.normal(size=6))
    same = learned.cut(FirstChannels(4), 3)
    np.testing.assert_array_equal(same.weight, np.asarray(learned.weight)[:, :4])
    assert same.token is not None
    np.testing.assert_array_equal(same.token, np.asarray(learned.token)[:4])


def test_positions_of_one_token_are_the_mean_of_all():
    """Of 2 x 2 learned ones: bilinear, each as far from the middle."""
    learned = Positions(np.random.default_rng(0).normal(size=(4, 3)))
    np.testing.assert_allclose(
        learned.cut(EVERYTHING, 1).weight, np.asarray(learned.weight).mean(0, keepdims=True), rtol=1e-12
    )

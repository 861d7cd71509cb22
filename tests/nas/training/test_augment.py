"""Images are moved, mirrored and mixed as their papers say."""

import jax
import jax.numpy as jnp
import numpy as np

from nas.training import moved
from nas.training.augment import cut_mixed, flipped, mixed, mixed_up

TARGETS = jnp.eye(4)
FLAT = jnp.broadcast_to(jnp.arange(4.0)[:, None, None, None], (4, 8, 8, 1))  # image i holds the number i


def several(mix):
    """What a mixing gives for 300 keys."""
    return map(np.asarray, jax.jit(jax.vmap(mix))(jax.random.split(jax.random.key(0), 300)))


def test_images_move_by_up_to_the_shift(key):
    images = np.arange(150 * 4 * 4).reshape(150, 4, 4, 1) % 251
    images = images.astype(np.uint8)
    assert np.array_equal(moved(key, images, 0), images)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    seen = set()
    for image, around in zip(np.asarray(moved(key, images, 1)), padded, strict=True):
        places = [(i, j) for i in range(3) for j in range(3) if np.array_equal(around[i : i + 4, j : j + 4], image)]
        assert len(places) == 1
        seen.update(places)
    assert seen == {(i, j) for i in range(3) for j in range(3)}  # 150 images, nine places


def test_half_of_the_images_are_mirrored(key):
    images = np.arange(400 * 6, dtype=np.uint8).reshape(400, 2, 3, 1)
    found = np.asarray(flipped(key, images))
    as_they_were = (found == images).all((1, 2, 3))
    mirrored = (found == images[:, :, ::-1]).all((1, 2, 3))
    assert (as_they_were ^ mirrored).all()
    assert abs(mirrored.mean() - 0.5) < 5 * 0.5 / np.sqrt(400)


def test_mixup_blends_images_and_targets_in_one_proportion():
    images, targets = several(lambda key: mixed_up(key, FLAT, TARGETS, 0.4))
    part = targets[:, 1, 1]  # of each batch
    assert np.allclose(targets[:, 1], np.stack([1 - part, part, 0 * part, 0 * part], 1))  # the next image is number 0
    assert np.allclose(images[:, 1, 0, 0, 0], part)  # part * 1 + (1 - part) * 0
    assert np.allclose(images[:, 0, 0, 0, 0], 3 * (1 - part), atol=1e-6)  # and number 0's is number 3
    # Beta(0.4, 0.4) has mean 1/2 and variance 1 / (4 * 1.8) = 0.139
    assert abs(part.mean() - 0.5) < 5 * np.sqrt(0.139 / 300)
    assert abs(part.var() - 0.139) < 0.03


def test_cutmix_replaces_a_rectangle_and_mixes_targets_by_what_area_is_left():
    images, targets = several(lambda key: cut_mixed(key, FLAT, TARGETS, 1.0))
    assert set(np.unique(images[:, 1])) == {0.0, 1.0}  # each pixel is either image's
    left = (images[:, 1] == 1).mean((1, 2, 3))
    assert np.allclose(targets[:, 1, 1], left)
    assert np.allclose(targets.sum(-1), 1)
    assert 0.3 < left.mean() < 0.8
    for image in images[:, 1, :, :, 0] == 0:
        if image.any():  # a full rectangle
            rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
            assert image.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_with_both_one_is_taken_for_each_batch_by_lot(key):
    images, _ = several(lambda key: mixed(key, FLAT, TARGETS, 1.0, 1.0))
    cut = np.array([set(np.unique(batch[1])) <= {0.0, 1.0} for batch in images])
    assert abs(cut.mean() - 0.5) < 5 * 0.5 / np.sqrt(300)
    assert mixed(key, FLAT, TARGETS, 0.0, 0.0) == (FLAT, TARGETS)

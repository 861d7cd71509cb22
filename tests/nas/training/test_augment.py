"""Images are moved, mirrored and mixed as their papers say."""

import numpy as np

from nas.training import moved


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

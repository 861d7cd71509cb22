"""Batches follow from the key and the step."""

import numpy as np

from nas.data.dataset import Split
from nas.training import batches


def test_an_epoch_sees_each_image_at_most_once(key):
    split = Split(images=np.arange(11, dtype=np.uint8).reshape(11, 1, 1, 1), labels=np.arange(11, dtype=np.int32))
    epochs = [list(batches(key, split, 3, epoch)) for epoch in (0, 0, 1)]
    orders = [np.concatenate([labels for _, labels in epoch]) for epoch in epochs]
    for epoch, order in zip(epochs, orders, strict=True):
        assert [len(labels) for _, labels in epoch] == [3, 3, 3]  # two images wait for the next epoch
        assert len(set(order.tolist())) == 9
        assert all(np.array_equal(images.ravel(), labels) for images, labels in epoch)
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])

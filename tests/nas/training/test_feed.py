"""Batches follow from the key and the step."""

import numpy as np
import pytest

from nas.data.dataset import Split
from nas.training import Feed, batches


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


@pytest.mark.parametrize("ahead", [0, 3])
def test_a_feed_begins_at_any_step_and_a_thread_changes_nothing(key, ahead):
    split = Split(images=np.arange(11, dtype=np.uint8).reshape(11, 1, 1, 1), labels=np.arange(11, dtype=np.int32))
    feed = Feed(key, split, 3)
    assert feed.per_epoch == 3
    expected = [labels for epoch in range(3) for _, labels in batches(key, split, 3, epoch)]
    found = [labels for _, labels in feed.steps(2, 9, ahead)]
    np.testing.assert_array_equal(found, expected[2:])


def test_a_process_brings_its_own_part_of_each_batch(key):
    split = Split(images=np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1), labels=np.arange(12, dtype=np.int32))
    whole, parts = Feed(key, split, 4), [Feed(key, split, 4, slice(2 * i, 2 * i + 2)) for i in range(2)]
    for step in range(6):
        np.testing.assert_array_equal(np.concatenate([part(step)[1] for part in parts]), whole(step)[1])

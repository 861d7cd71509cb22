"""Batches by their number: which images a step sees follows from the key and the step alone, so a run can go on."""

from collections.abc import Iterator
from functools import lru_cache

import jax
import numpy as np
from jaxtyping import Int, PRNGKeyArray, UInt8

from nas.data.dataset import Split

Batch = tuple[UInt8[np.ndarray, "batch height width channels"], Int[np.ndarray, " batch"]]


class Feed:
    """Gives the batch of any step: `feed(step)`."""

    def __init__(self, key: PRNGKeyArray, split: Split, batch: int, part: slice | None = None):
        """Copies nothing.

        Args:
          key: of the order of all epochs.
          split: the images.
          batch: how many at a time; what is left over at the end of an epoch waits for the next.
          part: of each batch, what this process trains on; None takes it whole.
        """
        self.split, self.batch, self.part = split, batch, part or slice(None)
        self.per_epoch = len(split.labels) // batch
        self.order = lru_cache(maxsize=2)(
            lambda epoch: np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), len(split.labels)))
        )

    def __call__(self, step: int) -> Batch:
        """The images and labels of one step, counted from 0."""
        epoch, i = divmod(step, self.per_epoch)
        at = self.order(epoch)[i * self.batch : (i + 1) * self.batch][self.part]
        return self.split.images[at], self.split.labels[at]

    def steps(self, first: int, last: int, ahead: int = 0) -> Iterator[Batch]:
        """The batches of the steps `first` to `last` (left out), `ahead` of them made ready by a thread meanwhile."""
        if not ahead:
            yield from map(self, range(first, last))
            return
        import grain  # half a second, for those who ask for it

        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=ahead)
        yield from grain.MapDataset.range(first, last).map(self).to_iter_dataset(options)


def batches(key: PRNGKeyArray, split: Split, batch: int, epoch: int) -> Iterator[Batch]:
    """One epoch of full batches."""
    feed = Feed(key, split, batch)
    return feed.steps(epoch * feed.per_epoch, (epoch + 1) * feed.per_epoch)

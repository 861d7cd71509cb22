"""How accurate architectures are with a supernet's weights, by where batch norm takes its statistics from."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from nas.data.dataset import Dataset
from nas.training import normalise
from search_spaces.reading import masked
from search_spaces.sliced import Sliced
from search_spaces.space import Space

MODES = {
    "recalibrated": "taken anew for each architecture, on training images (SPOS, arXiv:1904.00420)",
    "batch": "of each batch of validation images itself",
    "shared": "one set for all architectures: the mean over sampled ones, as running averages would be",
}


class Inherited:
    """Judges architectures on validation images, in equal batches, with as many training images to calibrate on.

    Each way of running compiles once for all supernets of the space.
    """

    def __init__(self, space: Space, data: Dataset, images: int, batch: int, sliced: bool, sampled: int = 40):
        """Chooses the images: the first ones of their splits, which are shuffled.

        Args:
          space: whose architectures.
          data: the images.
          images: validation images, a multiple of the batch.
          batch: images that share statistics in the mode `batch`, and number of training images to calibrate on.
          sliced: blocks one by one, at their true cost; else masked.
          sampled: architectures whose statistics are averaged in the mode `shared`.

        Raises:
          ValueError: when the images don't divide into batches, or there aren't so many.
        """
        if images % batch or not 0 < images <= len(data.val.labels) or batch > len(data.train.labels):
            raise ValueError(
                f"validation images ({images} of {len(data.val.labels)}) must be a multiple of the batch ({batch}), and"
                f" as many as that must be there to calibrate on (of {len(data.train.labels)})"
            )
        self.space, self.sampled = space, sampled
        part = lambda split, n: normalise(split.images[:n], data)  # noqa: E731
        self.calibration = part(data.train, batch)
        self.images = part(data.val, images).reshape(images // batch, batch, *data.val.images.shape[1:])
        self.labels = data.val.labels[:images]
        if sliced:
            self._forward: Any = Sliced(space).forward
        else:
            self._forward = jax.jit(lambda network, arch, x, stats: network(masked(space, arch), x, stats))

    def accuracy(
        self, network: Any, archs: Int[np.ndarray, "archs choices"], modes: Sequence[str] = tuple(MODES)
    ) -> dict[str, Float[np.ndarray, " archs"]]:
        """The fraction of the validation images that each architecture names rightly, by mode.

        Raises:
          ValueError: on an unknown mode, or too few architectures to share statistics.
        """
        if unknown := set(modes) - set(MODES):
            raise ValueError(f"batch-norm modes are {', '.join(MODES)}; got {', '.join(sorted(unknown))}")
        shared = self._shared(network, archs) if "shared" in modes else None
        found: dict[str, list[float]] = {mode: [] for mode in modes}
        for arch in archs:
            for mode in modes:
                stats = shared
                if mode != "shared":
                    stats = self._stats(network, arch) if mode == "recalibrated" else None
                answers = [self._forward(network, arch, x, stats)[0].argmax(-1) for x in self.images]
                found[mode].append(float((np.concatenate(answers) == self.labels).mean()))
        return {mode: np.array(values) for mode, values in found.items()}

    def _stats(self, network: Any, arch: Int[np.ndarray, " choices"]) -> Any:
        return self._forward(network, arch, self.calibration, None)[1]

    def _shared(self, network: Any, archs: Int[np.ndarray, "archs choices"]) -> Any:
        """The mean statistics over the first of the architectures, of each operation over those that use it."""
        each = [jax.device_get(self._stats(network, arch)) for arch in archs[: self.sampled]]
        return _mean(each)


def _mean(trees: Sequence[Any]) -> Any:
    """The mean of nested statistics, each over the trees that have it.

    Raises:
      ValueError: when none has.
    """
    there = [tree for tree in trees if tree is not None]
    if not there:
        raise ValueError("an operation is used by none of the architectures whose statistics are shared; take more")
    first = there[0]
    if isinstance(first, dict):
        names = dict.fromkeys(name for tree in there for name in tree)  # a block tells those of its own operation only
        return {name: _mean([tree.get(name) for tree in there]) for name in names}
    if isinstance(first, list | tuple):
        return [_mean([tree[i] for tree in there]) for i in range(len(first))]
    return np.mean(there, 0, dtype=np.float32)

"""The 1,797 handwritten digits that come with scikit-learn: 8x8 grey, ten classes, nothing to download."""

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits

from nas.data.dataset import Dataset, Pictures, assemble, check_settings, stratified


@dataclass(frozen=True, kw_only=True)
class Digits:
    """The smallest data set with a curve to learn: seconds, not hours.

    Native values 0 to 16 become 0 to 255, then 8x8 becomes `image_size` by bicubic.

    Attributes:
      image_size: side in pixels, at least 8.
      test_fraction: of all images of each class. The test images are the same whatever the seed, as a downloaded
        test set's are.
      val_fraction: of all images of each class.
      seed: of the split into train and val.
      limit: keeps only so many train images; None keeps all.

    References:
      Optical Recognition of Handwritten Digits (doi:10.24432/C50P49), the test part.
      Differs: a random split, so train and test share writers.
    """

    image_size: int = 32
    test_fraction: float = 0.1667
    val_fraction: float = 0.25
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        check_settings(image_size=self.image_size, val_fraction=self.val_fraction, seed=self.seed, limit=self.limit)
        if not 0 < self.test_fraction < 1 - self.val_fraction:
            raise ValueError(
                f"`test_fraction` must lie between 0 and 1 - `val_fraction` = {1 - self.val_fraction:g} (both left"
                f" out), got {self.test_fraction}; 0.1667 holds back a sixth"
            )

    @property
    def image_channels(self) -> int:
        """1: the digits are grey."""
        return 1

    @property
    def classes(self) -> int:
        """10: the digits 0 to 9."""
        return 10

    def load(self) -> Dataset:
        """The digits in three splits."""
        values, labels = load_digits(return_X_y=True)
        images = np.rint(values * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
        labels = labels.astype(np.int32)
        rest, test = stratified(labels, self.test_fraction, seed=0)

        def pictures(rows: np.ndarray) -> Pictures:
            return Pictures(labels=labels[rows], pixels=images[rows].__getitem__)

        return assemble(
            name="digits",
            class_names=tuple(str(digit) for digit in range(10)),
            train=pictures(rest),
            val=None,
            test=pictures(test),
            native_size=8,
            native_max=16,
            image_size=self.image_size,
            val_fraction=self.val_fraction / (1 - self.test_fraction),
            seed=self.seed,
            limit=self.limit,
        )

"""A labelled set of pictures in memory: three splits of bytes, and all it takes to prepare one more picture."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, Int32, UInt8
from PIL import Image

IMAGES_AT_ONCE = 256  # bounds the scratch memory of the histograms


@dataclass(frozen=True, kw_only=True)
class Split:
    """One of train, val and test, in shuffled order, so that a leading slice is a fair sample.

    Attributes:
      images: 0 to 255, as decoded: nothing is normalised.
      labels: positions in the data set's `class_names`.
    """

    images: UInt8[np.ndarray, "images height width channels"]
    labels: Int32[np.ndarray, " images"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Three splits that share no picture, and the preparation that a new picture needs to be like them.

    A new picture is converted to `image_channels` (grey as Pillow's mode L), its values multiplied by 255 /
    `native_max`, resized to a square of `image_size` by `resample`, divided by 255, then normalised by `mean`, `std`.

    Attributes:
      name: of the data set, e.g. `cifar10`.
      class_names: by label.
      train: what weights are trained on.
      val: what a search judges by.
      test: what is looked at once, at the end.
      mean: of each channel over the train images scaled to [0, 1].
      std: likewise; 1 for a channel that never varies, so that dividing by it is safe.
      native_size: side of the square pictures before they were resized, in pixels; None where they differ.
      native_max: the largest value a pixel has natively, which became 255.
      resample: `bicubic` (Pillow's, which averages when it shrinks) or `none` where all had the right size.
      fingerprint: 16 hex digits that change with any byte, label or order of the three splits.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    native_size: int | None
    native_max: int
    resample: str
    fingerprint: str

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return len(self.class_names)

    @property
    def image_size(self) -> int:
        """Side of the square pictures, in pixels."""
        return self.train.images.shape[1]

    @property
    def image_channels(self) -> int:
        """1 (grey) or 3 (red, green, blue)."""
        return self.train.images.shape[3]


@runtime_checkable
class Source(Protocol):
    """What the settings of a data set must say; a network can be sized before any picture is read."""

    @property
    def image_size(self) -> int:
        """Side of the square pictures, in pixels."""
        ...

    @property
    def image_channels(self) -> int:
        """1 (grey) or 3 (red, green, blue)."""
        ...

    @property
    def classes(self) -> int:
        """How many labels there are."""
        ...

    def load(self) -> Dataset:
        """The data set in memory; the same settings over the same files give the same bytes."""
        ...


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Labels that are known and pixels that are decoded only for the rows asked for.

    Attributes:
      labels: of all rows.
      pixels: gives the images of some rows, in that order.
    """

    labels: Int32[np.ndarray, " images"]
    pixels: Callable[[Int[np.ndarray, " rows"]], UInt8[np.ndarray, "rows height width channels"]]


def check_settings(*, image_size: int, val_fraction: float, seed: int, limit: int | None) -> None:
    """Refuses what no data set can be loaded with.

    Raises:
      ValueError: names the setting, its rule and a value that would do.
    """
    if not isinstance(image_size, int) or image_size < 8:
        raise ValueError(f"`image_size` must be a whole number of at least 8 pixels, got {image_size}; 32 is common")
    if not 0 < val_fraction < 1:
        raise ValueError(
            f"`val_fraction` must lie between 0 and 1 (both left out), got {val_fraction}; 0.1 holds back a tenth"
        )
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"`seed` must be a whole number of at least 0, got {seed}; 0 is the default")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise ValueError(
            f"`limit` must be a whole number of at least 1 training image, got {limit}; null (None) uses all"
        )


def stratified(
    labels: Int[np.ndarray, " images"], fraction: float, seed: int
) -> tuple[Int[np.ndarray, " rest"], Int[np.ndarray, " part"]]:
    """Rows split so that `fraction` of every class is set apart, both sides shuffled.

    Each class gives the nearest whole number of rows and at least one, but keeps at least one: a class of a single
    picture stays whole in the rest.
    """
    rng = np.random.default_rng(seed)
    rest: list[np.ndarray] = []
    part: list[np.ndarray] = []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        part.append(rows[:count])
        rest.append(rows[count:])
    return rng.permutation(np.concatenate(rest)), rng.permutation(np.concatenate(part))


def resize(
    images: UInt8[np.ndarray, "images height width channels"], image_size: int
) -> UInt8[np.ndarray, "images image_size image_size channels"]:
    """The images as squares of `image_size`, by Pillow's bicubic; those of that size are returned as they are."""
    count, height, width, channels = images.shape
    if height == width == image_size:
        return images
    resized = np.empty((count, image_size, image_size, channels), np.uint8)
    for source, target in zip(images, resized, strict=True):
        picture = Image.fromarray(source[..., 0] if channels == 1 else source)
        picture = picture.resize((image_size, image_size), Image.Resampling.BICUBIC)
        target[...] = np.asarray(picture).reshape(target.shape)
    return resized


def channel_statistics(
    images: UInt8[np.ndarray, "images height width channels"],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of values scaled to [0, 1].

    Exact and small: they are read off a histogram of the 256 levels, so no float copy of the images is made.
    """
    values = np.arange(256) / 255
    mean: list[float] = []
    std: list[float] = []
    for channel in range(images.shape[-1]):
        levels = np.zeros(256, np.int64)
        for start in range(0, len(images), IMAGES_AT_ONCE):
            levels += np.bincount(images[start : start + IMAGES_AT_ONCE, ..., channel].ravel(), minlength=256)
        weights = levels / levels.sum()
        mean.append(float(weights @ values))
        std.append(float(np.sqrt(weights @ (values - mean[-1]) ** 2)) if (levels > 0).sum() > 1 else 1.0)
    return tuple(mean), tuple(std)


def fingerprint(*splits: Split) -> str:
    """16 hex digits of a sha256 over the shapes, images and labels of the splits."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr(split.images.shape).encode())
        digest.update(np.ascontiguousarray(split.images).data)
        digest.update(split.labels.astype("<i4").tobytes())
    return digest.hexdigest()[:16]


def assemble(
    *,
    name: str,
    class_names: tuple[str, ...],
    train: Pictures,
    val: Pictures | None,
    test: Pictures,
    native_size: int | None,
    native_max: int = 255,
    image_size: int,
    val_fraction: float,
    seed: int,
    limit: int | None,
) -> Dataset:
    """The data set of some pictures; only those that are used are decoded.

    Args:
      name: of the data set.
      class_names: by label.
      train: gives train, and val too where there is none apart.
      val: as it came, or None to hold back `val_fraction` of every class of `train`.
      test: as it came.
      native_size: side of the pictures as `pixels` gives them, or None where each is resized as it is decoded.
      native_max: the value that became 255.
      image_size: side of the squares wanted.
      val_fraction: of each class of `train`; without effect where `val` is given.
      seed: of the split into train and val.
      limit: at most so many images are left in train: the leading ones, so a smaller limit is a slice of a larger one.
        Val and test don't depend on it.

    Raises:
      ValueError: when nothing is left for one of the splits.
    """
    if val is None:
        train_rows, val_rows = stratified(train.labels, val_fraction, seed)
        val = train
    else:
        train_rows = np.random.default_rng(seed).permutation(len(train.labels))
        val_rows = np.arange(len(val.labels))
    wanted = {"train": (train, train_rows[:limit]), "val": (val, val_rows), "test": (test, np.arange(len(test.labels)))}
    for split, (_, rows) in wanted.items():
        if not len(rows):
            raise ValueError(
                f"no pictures are left for the {split} split of {name} ({len(train.labels)} training pictures in"
                f" {len(class_names)} classes); add some: a class needs two or more to give one to val"
            )
    splits = {
        split: Split(images=resize(pictures.pixels(rows), image_size), labels=pictures.labels[rows])
        for split, (pictures, rows) in wanted.items()
    }
    mean, std = channel_statistics(splits["train"].images)
    return Dataset(
        name=name,
        class_names=class_names,
        **splits,
        mean=mean,
        std=std,
        native_size=native_size,
        native_max=native_max,
        resample="none" if native_size == image_size else "bicubic",
        fingerprint=fingerprint(*splits.values()),
    )

"""CIFAR-10 from whichever of its forms lies on disk: 32x32 colour pictures in ten classes."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int32, UInt8

from nas.data.dataset import Dataset, Pictures, assemble, check_settings
from nas.data.files import checked_labels, damaged, decode, missing, one_line, remedy
from nas.data.plain_pickle import ByteArray, read_plain

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
PIXEL_BYTES = 3 * SIDE * SIDE
WAY_OUT = remedy("CIFAR-10", "https://www.cs.toronto.edu/~kriz/cifar.html")


@dataclass(frozen=True, kw_only=True)
class Cifar10:
    """Ten kinds of animals and vehicles; val comes out of the train images.

    Attributes:
      root: a folder that holds one of these (the first complete one is taken), or the unpacked folder of the second or
        third:
          `train.npz`, `test.npz`: JPEG files end to end (`jpeg`, `offsets`, `labels`), no longer lossless;
          `data_batch_1` to `_5`, `test_batch`: the python version, whose pickles are read and never run;
          `data_batch_1.bin` to `_5.bin`, `test_batch.bin`: the binary version.
      image_size: side in pixels, at least 8.
      val_fraction: of the train images of each class.
      seed: of the split into train and val.
      limit: keeps only so many train images; None keeps all.

    References:
      Learning Multiple Layers of Features from Tiny Images (Krizhevsky 2009).
    """

    root: str | Path
    image_size: int = SIDE
    val_fraction: float = 0.1
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        check_settings(image_size=self.image_size, val_fraction=self.val_fraction, seed=self.seed, limit=self.limit)

    @property
    def image_channels(self) -> int:
        """3: red, green, blue."""
        return 3

    @property
    def classes(self) -> int:
        """10 kinds of animals and vehicles."""
        return len(CLASS_NAMES)

    def load(self) -> Dataset:
        """The pictures in three splits.

        Raises:
          FileNotFoundError: when no form is there, or a file of the one that is.
          ValueError: when a file is damaged, or a pickle holds anything but pictures and labels.
        """
        train, test = _find(Path(self.root).expanduser().resolve())
        return assemble(
            name="cifar10",
            class_names=CLASS_NAMES,
            train=train,
            val=None,
            test=test,
            native_size=SIDE,
            image_size=self.image_size,
            val_fraction=self.val_fraction,
            seed=self.seed,
            limit=self.limit,
        )


def read_npz(path: Path) -> Pictures:
    """JPEG files end to end in one array; decoded only when asked for."""
    data = path.read_bytes()
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            jpeg, offsets, labels = arrays["jpeg"], arrays["offsets"], arrays["labels"]
            names = tuple(arrays["class_names"].tolist()) if "class_names" in arrays else CLASS_NAMES
    except Exception as error:  # numpy, zipfile and zlib raise of every kind on broken bytes
        raise damaged(path, f"no npz of jpeg, offsets and labels ({one_line(error)})", WAY_OUT) from error
    if names != CLASS_NAMES:
        raise damaged(path, f"its classes are {names}, not {CLASS_NAMES}", WAY_OUT)
    if jpeg.dtype != np.uint8 or any(row.dtype.kind not in "ui" or row.ndim != 1 for row in (jpeg, offsets, labels)):
        raise damaged(path, "`jpeg` must be a row of bytes, `offsets` and `labels` of whole numbers", WAY_OUT)
    offsets = offsets.astype(np.int64)
    if len(offsets) != len(labels) + 1 or offsets[0] < 0 or offsets[-1] > len(jpeg) or (np.diff(offsets) < 0).any():
        what = f"its {len(offsets)} offsets do not cut {len(jpeg)} bytes into {len(labels)} JPEG files"
        raise damaged(path, what, WAY_OUT)

    def pixels(rows: Int[np.ndarray, " rows"]) -> UInt8[np.ndarray, "rows height width channels"]:
        images = np.empty((len(rows), SIDE, SIDE, 3), np.uint8)
        for image, row in zip(images, rows, strict=True):
            try:
                picture = decode(jpeg[offsets[row] : offsets[row + 1]].tobytes(), "RGB", ("JPEG",))
                if picture.size != (SIDE, SIDE):
                    raise ValueError(f"it has {picture.width}x{picture.height} pixels, not {SIDE}x{SIDE}")
            except ValueError as error:
                raise damaged(path, f"JPEG file {row} in it: {error}", WAY_OUT) from error
            image[...] = np.asarray(picture)
        return images

    return Pictures(labels=checked_labels(labels, len(CLASS_NAMES), path, WAY_OUT), pixels=pixels)


def read_python(path: Path) -> tuple[Int32[np.ndarray, " images"], UInt8[np.ndarray, "images bytes"]]:
    """Labels and pixels of a pickled batch, without unpickling it."""
    try:
        batch = read_plain(path.read_bytes())
    except ValueError as error:
        raise damaged(path, f"no plain pickle of a batch ({' '.join(str(error).split())})", WAY_OUT) from error
    data, labels = (batch.get("data"), batch.get("labels")) if isinstance(batch, dict) else (None, None)
    if not isinstance(data, ByteArray) or not isinstance(labels, list) or data.shape != (len(labels), PIXEL_BYTES):
        raise damaged(path, f"it must hold `labels`, a list, and `data`, {PIXEL_BYTES} bytes for each of them", WAY_OUT)
    if not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise damaged(path, f"its labels must be whole numbers of 0 to {len(CLASS_NAMES) - 1}", WAY_OUT)
    pixels = np.frombuffer(data.data, np.uint8).reshape(data.shape)
    return checked_labels(np.array(labels, np.int32), len(CLASS_NAMES), path, WAY_OUT), pixels


def read_binary(path: Path) -> tuple[Int32[np.ndarray, " images"], UInt8[np.ndarray, "images bytes"]]:
    """Labels and pixels of a binary batch: one byte of label, then 3,072 of pixels, again and again."""
    data = path.read_bytes()
    if len(data) % (1 + PIXEL_BYTES):
        raise damaged(path, f"its {len(data)} bytes are no multiple of {1 + PIXEL_BYTES}, a picture's", WAY_OUT)
    rows = np.frombuffer(data, np.uint8).reshape(-1, 1 + PIXEL_BYTES)
    return checked_labels(rows[:, 0], len(CLASS_NAMES), path, WAY_OUT), rows[:, 1:]


def _batches(paths: list[Path], read: Callable[[Path], tuple[np.ndarray, np.ndarray]]) -> Pictures:
    """Batches end to end; their pixels come plane after plane: red, green, blue."""
    labels, pixels = zip(*(read(path) for path in paths), strict=True)
    images = np.concatenate(pixels).reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return Pictures(labels=np.concatenate(labels), pixels=images.__getitem__)


@dataclass(frozen=True, kw_only=True)
class _Form:
    """One way in which CIFAR-10 is stored: its own folder's name, its files and how they are read."""

    folder: str
    train: tuple[str, ...]
    test: str
    read: Callable[[list[Path]], Pictures]


FORMS = (
    _Form(folder=".", train=("train.npz",), test="test.npz", read=lambda paths: read_npz(paths[0])),
    _Form(
        folder="cifar-10-batches-py",
        train=tuple(f"data_batch_{i}" for i in range(1, 6)),
        test="test_batch",
        read=lambda paths: _batches(paths, read_python),
    ),
    _Form(
        folder="cifar-10-batches-bin",
        train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        test="test_batch.bin",
        read=lambda paths: _batches(paths, read_binary),
    ),
)


def _find(root: Path) -> tuple[Pictures, Pictures]:
    """Train and test in the form that is most complete."""
    forms = [(form, folder) for form in FORMS for folder in (root, root / form.folder)]

    def complete(form_folder: tuple[_Form, Path]) -> float:
        form, folder = form_folder
        names = (*form.train, form.test)
        return sum((folder / name).is_file() for name in names) / len(names)

    form, folder = max(forms, key=complete)
    if not complete((form, folder)):
        expected = "train.npz and test.npz, or the unpacked python or binary version of CIFAR-10,"
        raise missing(root, expected, WAY_OUT)
    for name in (*form.train, form.test):
        if not (folder / name).is_file():
            raise missing(folder / name, f"a file of CIFAR-10 beside those found in {folder.name}", WAY_OUT)
    return form.read([folder / name for name in form.train]), form.read([folder / form.test])

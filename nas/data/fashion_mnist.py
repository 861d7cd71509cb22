"""Fashion-MNIST from its original idx files, gzipped or not: 70,000 pictures of clothes, 28x28 grey, ten classes."""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from nas.data.dataset import Dataset, Pictures, assemble, check_settings
from nas.data.files import checked_labels, damaged, missing, one_line, remedy

CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
SIDE = 28
WAY_OUT = remedy("Fashion-MNIST", "https://github.com/zalandoresearch/fashion-mnist")


@dataclass(frozen=True, kw_only=True)
class FashionMnist:
    """Ten kinds of clothes; val comes out of the 60,000 train images, test is the 10,000 called t10k.

    Attributes:
      root: folder of `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same of `t10k`, each with or
        without `.gz`.
      image_size: side in pixels, at least 8.
      val_fraction: of the train images of each class.
      seed: of the split into train and val.
      limit: keeps only so many train images; None keeps all.

    References:
      Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms (arXiv:1708.07747).
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
        """1: the pictures are grey."""
        return 1

    @property
    def classes(self) -> int:
        """10 kinds of clothes."""
        return len(CLASS_NAMES)

    def load(self) -> Dataset:
        """The clothes in three splits.

        Raises:
          FileNotFoundError: when one of the four files is missing.
          ValueError: when one is damaged.
        """
        root = Path(self.root).expanduser().resolve()
        return assemble(
            name="fashion_mnist",
            class_names=CLASS_NAMES,
            train=_pictures(root, "train"),
            val=None,
            test=_pictures(root, "t10k"),
            native_size=SIDE,
            image_size=self.image_size,
            val_fraction=self.val_fraction,
            seed=self.seed,
            limit=self.limit,
        )


def _pictures(root: Path, part: str) -> Pictures:
    """One part's two files, checked against each other."""
    images_path = _find(root, f"{part}-images-idx3-ubyte")
    labels_path = _find(root, f"{part}-labels-idx1-ubyte")
    images, labels = _read_idx(images_path, 3), _read_idx(labels_path, 1)
    if images.shape[1:] != (SIDE, SIDE):
        raise damaged(images_path, f"its images are {images.shape[1]}x{images.shape[2]}, not {SIDE}x{SIDE}", WAY_OUT)
    if len(images) != len(labels):
        raise damaged(labels_path, f"{len(labels)} labels for the {len(images)} images of {images_path.name}", WAY_OUT)
    labels = checked_labels(labels, len(CLASS_NAMES), labels_path, WAY_OUT)
    return Pictures(labels=labels, pixels=images[..., None].__getitem__)


def _find(root: Path, name: str) -> Path:
    for path in (root / name, root / f"{name}.gz"):
        if path.is_file():
            return path
    raise missing(root / f"{name}.gz", "an idx file (with or without .gz) of Fashion-MNIST", WAY_OUT)


def _read_idx(path: Path, axes: int) -> UInt8[np.ndarray, "..."]:
    """The bytes of an idx file: magic number 0x800 + axes, one big-endian int32 an axis, then the values."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise damaged(path, f"it does not unzip ({one_line(error)})", WAY_OUT) from error
    start = 4 * (1 + axes)
    if len(data) < start:
        raise damaged(path, f"its {len(data)} bytes are too few for an idx header of {start}", WAY_OUT)
    magic, *shape = (int(number) for number in np.frombuffer(data, ">u4", count=1 + axes))
    if magic != 0x800 + axes:
        raise damaged(path, f"it begins with 0x{magic:08x}, not with idx's 0x{0x800 + axes:08x}", WAY_OUT)
    values = np.frombuffer(data, np.uint8, offset=start)
    if len(values) != (promised := np.prod(shape, dtype=object)):
        raise damaged(path, f"it holds {len(values)} values where its header promises {promised}", WAY_OUT)
    return values.reshape(shape)

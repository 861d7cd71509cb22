"""Your own pictures, sorted into a folder for each class."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from nas.data.dataset import Dataset, Pictures, assemble, check_settings
from nas.data.files import damaged, decode, missing

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "PPM", "TIFF")
LAYOUT = "<root>/train/<class>/*.png and <root>/test/<class>/*.png (or .jpg, .bmp, ...)"
WAY_OUT = f"lay the pictures out as {LAYOUT} and name the folder with `data.root=<folder>`"


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """Pictures as root/{train,test}/<class>/<picture>; the classes are the folders of train, by name.

    Every picture is squeezed to a square (nothing is cropped) and kept in memory. Rotation tags of cameras are not
    applied. Files without a picture's suffix and names that begin with a dot are passed over.

    Attributes:
      root: the folder that holds `train` and `test`; with a `val` as well, val is that.
      image_size: side in pixels, at least 8.
      image_channels: 1 (pictures become grey) or 3.
      val_fraction: of the train images of each class; without effect where root holds `val`.
      seed: of the split into train and val.
      limit: keeps only so many train images; None keeps all.
    """

    root: str | Path
    image_size: int = 64
    image_channels: int = 3
    val_fraction: float = 0.1
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        check_settings(image_size=self.image_size, val_fraction=self.val_fraction, seed=self.seed, limit=self.limit)
        if self.image_channels not in (1, 3):
            raise ValueError(f"`image_channels` must be 1 (grey) or 3 (colour), got {self.image_channels}; 3 is common")

    @property
    def folder(self) -> Path:
        """The root as an absolute path."""
        return Path(self.root).expanduser().resolve()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The folders of train, by name.

        Raises:
          FileNotFoundError: when there is no train folder.
          ValueError: when it holds fewer than two classes.
        """
        names = _class_folders(self.folder / "train")
        if len(names) < 2:
            raise ValueError(f"{self.folder / 'train'} must hold two classes or more, got {names}; {WAY_OUT}")
        return names

    @property
    def classes(self) -> int:
        """How many folders train holds."""
        return len(self.class_names)

    def load(self) -> Dataset:
        """The pictures in three splits.

        Raises:
          FileNotFoundError: when train or test is missing.
          ValueError: when a class is empty or unknown, or a picture is damaged.
        """
        names = self.class_names
        train, test = self._pictures("train", names), self._pictures("test", names)
        val = self._pictures("val", names) if (self.folder / "val").is_dir() else None
        return assemble(
            name=self.folder.name,
            class_names=names,
            train=train,
            val=val,
            test=test,
            native_size=None,
            image_size=self.image_size,
            val_fraction=self.val_fraction,
            seed=self.seed,
            limit=self.limit,
        )

    def _pictures(self, part: str, names: tuple[str, ...]) -> Pictures:
        """The pictures of train, val or test: listed by name, then shuffled alike whatever the seed."""
        folder = self.folder / part
        paths: list[Path] = []
        labels: list[int] = []
        for name in _class_folders(folder):
            if name not in names:
                raise ValueError(f"{folder / name} is a class that train lacks ({', '.join(names)}); {WAY_OUT}")
            found = sorted(path for path in (folder / name).iterdir() if _is_picture(path))
            if not found:
                raise ValueError(f"{folder / name} holds no picture ({' '.join(SUFFIXES)}); add some or remove it")
            paths += found
            labels += [names.index(name)] * len(found)
        order = np.random.default_rng(0).permutation(len(paths))

        def pixels(rows: Int[np.ndarray, " rows"]) -> UInt8[np.ndarray, "rows height width channels"]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow lets other threads run while it decodes
                return np.stack(list(pool.map(self._picture, [paths[i] for i in order[rows]])))

        return Pictures(labels=np.array(labels, np.int32)[order], pixels=pixels)

    def _picture(self, path: Path) -> UInt8[np.ndarray, "height width channels"]:
        try:
            picture = decode(path.read_bytes(), "L" if self.image_channels == 1 else "RGB", FORMATS)
        except ValueError as error:
            raise damaged(path, str(error), "save it again as 8-bit PNG or JPEG, or remove it") from error
        picture = picture.resize((self.image_size, self.image_size), Image.Resampling.BICUBIC)
        return np.asarray(picture).reshape(self.image_size, self.image_size, self.image_channels)


def _class_folders(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise missing(folder, "a folder for each class", WAY_OUT)
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()

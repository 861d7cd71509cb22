"""Files of a data set, read whole or refused in one line that says what to do next."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Integer
from PIL import Image


def one_line(error: BaseException) -> str:
    """An error of a library as a phrase to put in brackets."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def remedy(title: str, home: str) -> str:
    """The way out for a data set that is downloaded."""
    return (
        f"get {title} from {home} and name its folder with `data.root=<folder>`,"
        " or the folder above it with the environment variable EDGENAS_DATA"
    )


def missing(path: Path, expected: str, way_out: str) -> FileNotFoundError:
    """The error for a file or folder that isn't there."""
    return FileNotFoundError(f"nothing found at {path}: {expected} should lie there; {way_out}")


def damaged(path: Path, what: str, way_out: str) -> ValueError:
    """The error for a file that is there and isn't what its name says."""
    return ValueError(f"{path} is damaged or of another kind: {what}; {way_out}")


def checked_labels(
    labels: Integer[np.ndarray, " images"], classes: int, path: Path, way_out: str
) -> Int32[np.ndarray, " images"]:
    """The labels as int32.

    Raises:
      ValueError: when there are none, or one of them is no class.
    """
    if not len(labels):
        raise damaged(path, "it holds no labels", way_out)
    if labels.min() < 0 or labels.max() >= classes:
        wrong = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
        raise damaged(path, f"label {labels[wrong]} of picture {wrong} is not 0 to {classes - 1}", way_out)
    return labels.astype(np.int32)


def decode(data: bytes, mode: str, formats: tuple[str, ...]) -> Image.Image:
    """The picture in some bytes, as mode L or RGB; transparency is dropped, rotation tags are not applied.

    Raises:
      ValueError: when it is cut off, broken, of another format or has more than 8 bits a channel.
    """
    try:
        with Image.open(io.BytesIO(data), formats=formats) as picture:
            picture.load()
            deep = picture.mode[0] in "IF"
            named = picture.convert("RGBA") if picture.mode == "P" else picture  # a palette may hide transparency
            converted = named.convert(mode)
    except Exception as error:  # Pillow's plug-ins raise of every kind on broken bytes
        raise ValueError(f"it is cut off, broken or none of {', '.join(formats)}") from error
    if deep:
        raise ValueError("it has more than 8 bits a channel")
    return converted

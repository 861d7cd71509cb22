"""Files of published tables: found by their folder, known by their checksum, read without unpickling, or refused."""

import csv
import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def content_of(root: str | Path, name: str, sha256: str, title: str, verify: bool) -> tuple[Path, bytes]:
    """A table's file, whole.

    Args:
      root: the folder it lies in.
      name: of the file.
      sha256: that of the copy the units and notes were written for.
      title: whose table it is.
      verify: whether another checksum is refused.

    Raises:
      FileNotFoundError: when it isn't there.
      ValueError: when its checksum is another.
    """
    path = Path(root).expanduser() / name
    if not path.is_file():
        raise FileNotFoundError(
            f"nothing found at {path}: {title} should lie there; name its folder with `table.root=<folder>`, or the"
            " folder above it with the environment variable EDGENAS_DATA"
        )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if verify and found != sha256:
        raise ValueError(
            f"{path} is not the copy of {title} that is known here: its SHA-256 is {found}, not {sha256}; restore it,"
            " or trust it with `table.verify=false`"
        )
    return path, content


def arrays_of(path: Path, content: bytes, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of an npz file, by name.

    Raises:
      ValueError: when the file is damaged, or lacks one.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            missing = [name for name in names if name not in arrays]
            if missing:
                raise ValueError(f"it has no array `{missing[0]}`, only {', '.join(sorted(arrays.files))}")
            return {name: arrays[name] for name in names}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, OSError) as error:
        raise damaged(path, error) from error


def rows_of(path: Path, content: bytes, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of a CSV file with a header, as text, by name; packed by gzip where its name says so.

    Raises:
      ValueError: when the file is damaged, or lacks one.
    """
    try:
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        header, *rows = [row for row in csv.reader(io.StringIO(text)) if row]
        missing = [name for name in names if name not in header]
        if missing:
            raise ValueError(f"it has no column `{missing[0]}`, only {', '.join(header)}")
        short = [number for number, row in enumerate(rows, 2) if len(row) != len(header)]
        if short:
            raise ValueError(f"row {short[0]} has not {len(header)} values")
    except (ValueError, EOFError, zlib.error, OSError, csv.Error) as error:
        raise damaged(path, error) from error
    return {name: np.array([row[header.index(name)] for row in rows]) for name in names}


def numbers_of(path: Path, texts: np.ndarray) -> np.ndarray:
    """Text as numbers; NaN where there is none.

    Raises:
      ValueError: when one is no number.
    """
    try:
        return np.array([float(text) if text else np.nan for text in texts.tolist()])
    except ValueError as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: BaseException | str) -> ValueError:
    """The error for a file that is not what its name says, in one line."""
    said = " ".join(str(error).split()) or type(error).__name__
    return ValueError(f"{path} is damaged or of another kind: {said}; restore it, or name another folder")

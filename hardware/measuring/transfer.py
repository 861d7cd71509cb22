"""Measurements as a table that other programs read: CSV or Parquet, a row each, all of a store or a part of it.

Texts stand as the store has them: `layers`, `settings` and `conditions` are JSON, as are `samples` in CSV.
"""

import csv
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from hardware.costs.precision import WIDTHS
from hardware.measuring.layers_json import canonical_json, digest, layers_from_json
from hardware.measuring.measurement import Measurement, MeasurementKey
from hardware.runtimes.missing import need

_TEXTS = ("network", "target", "precision", "metric", "unit", "runtime", "protocol", "host", "campaign", "created")
COLUMNS = (*_TEXTS, "threads", "value", "std", "samples", "layers", "settings", "conditions")
_LONGEST = 2**27  # characters of a CSV field: the layers of a large network
_MOST_THREADS = 2**31 - 1  # more than any machine has, and SQLite keeps it


def write_table(rows: Iterable[Measurement], path: Path) -> None:
    """Writes rows to a file, whole or not at all.

    Raises:
      ValueError: when the name ends in neither `.csv` nor `.parquet`, or Parquet's library is missing.
      OSError: when the file cannot be written.
    """
    writer = {".csv": _write_csv, ".parquet": _write_parquet}[_ending(path)]
    said = [_said(row) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:  # it names a file that nobody asked for
        raise OSError(error.errno, error.strerror, str(path)) from error
    os.close(handle)
    temporary = Path(name)
    try:
        writer(said, temporary)
        temporary.chmod(0o644)  # mkstemp makes it private
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_table(path: Path) -> list[Measurement]:
    """The rows of a file that `write_table` wrote, each checked.

    Raises:
      ValueError: in one line, when the file is damaged, has other columns, or a row makes no sense.
      OSError: when the file cannot be read.
    """
    said = {".csv": _read_csv, ".parquet": _read_parquet}[_ending(path)](path)
    rows = []
    for number, each in enumerate(said, 1):
        try:
            rows.append(_row(each))
        except ValueError as error:
            raise ValueError(f"{path}, row {number}: {error}; nothing was taken from it") from error
    return rows


def _ending(path: Path) -> str:
    if path.suffix not in (".csv", ".parquet"):
        meant = f"{path.stem or 'measurements'}.csv"
        raise ValueError(f"a table's name must end in .csv or .parquet, got `{path}`; did you mean `{meant}`?")
    return path.suffix


def _said(row: Measurement) -> dict[str, Any]:
    key = {name: getattr(row.key, name) for name in MeasurementKey.__dataclass_fields__}
    rest = {name: getattr(row, name) for name in COLUMNS if name not in key}
    return {**key, **rest, "samples": list(row.samples), "conditions": canonical_json(dict(row.conditions))}


def _write_csv(said: Sequence[Mapping[str, Any]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for each in said:
            texts = {**each, "samples": json.dumps(each["samples"])}
            writer.writerow([texts[name] for name in COLUMNS])


def _write_parquet(said: Sequence[Mapping[str, Any]], path: Path) -> None:
    arrow, parquet = need("pyarrow", "parquet"), need("pyarrow.parquet", "parquet")
    kinds = {"threads": arrow.int64(), "value": arrow.float64(), "std": arrow.float64()}
    kinds["samples"] = arrow.list_(arrow.float64())
    schema = arrow.schema([(name, kinds.get(name, arrow.string())) for name in COLUMNS])
    parquet.write_table(arrow.Table.from_pylist(list(said), schema=schema), path)


def _read_csv(path: Path) -> list[dict[str, Any]]:
    longest = csv.field_size_limit(_LONGEST)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # some programs put a mark before the first name
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            _check_columns(path, header)
            found = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no CSV, or damaged ({error})") from error
    finally:
        csv.field_size_limit(longest)
    rows = []
    for number, cells in enumerate(found, 1):
        if len(cells) != len(COLUMNS):
            raise ValueError(f"{path}, row {number}: {len(cells)} of {len(COLUMNS)} columns; the file is damaged")
        said: dict[str, Any] = dict(zip(header, cells, strict=True))
        said |= {name: said[name] or None for name in ("layers", "settings")}
        said |= {name: _read(kind, said[name]) for name, kind in _OF_TEXT.items()}
        rows.append(said)
    return rows


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    arrow, parquet = need("pyarrow", "parquet"), need("pyarrow.parquet", "parquet")
    with path.open("rb") as file:  # an error of the system names the file
        try:
            table = parquet.read_table(file)
        except (arrow.ArrowException, OSError) as error:
            raise ValueError(f"{path} is no Parquet file, or damaged ({error})") from error
    _check_columns(path, table.column_names)
    return table.to_pylist()


def _check_columns(path: Path, names: Sequence[str]) -> None:
    wrong = [f"`{name}` is missing" for name in COLUMNS if name not in names]
    wrong += [f"`{name}` is unknown" for name in names if name not in COLUMNS]
    if wrong or len(names) != len(COLUMNS):
        raise ValueError(
            f"{path} is no table of measurements: of its columns {', '.join(wrong[:3]) or 'one stands twice'};"
            " write one with `edgenas measurements export`"
        )


_OF_TEXT: Mapping[str, Callable[[str], Any]] = {"threads": int, "value": float, "std": float, "samples": json.loads}


def _read(kind: Callable[[str], Any], text: str) -> Any:
    """A cell as what it should be; as it stands where it is none, which the row's check then refuses."""
    try:
        return kind(text)
    except (ValueError, RecursionError):
        return text


def _row(said: Mapping[str, Any]) -> Measurement:
    for name in _TEXTS:
        if not isinstance(said[name], str) or not said[name]:
            raise ValueError(f"`{name}` must be a text, got {said[name]!r}")
    for name in ("value", "std"):
        if not _is_number(said[name]):
            raise ValueError(f"`{name}` must be a number, got {said[name]!r}")
    threads, samples = said["threads"], said["samples"]
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= _MOST_THREADS:
        raise ValueError(f"`threads` must be a whole number from 1 to {_MOST_THREADS}, got {str(threads)[:60]}")
    if not isinstance(samples, list) or not samples or not all(map(_is_number, samples)):
        raise ValueError(f"`samples` must be a list of numbers, got {str(samples)[:60]}")
    if said["precision"] not in WIDTHS:
        raise ValueError(f"`precision` must be one of {', '.join(WIDTHS)}, got `{said['precision']}`")
    _check_time(said["created"])
    for text, name in (("layers", "network"), ("settings", "protocol")):
        if said[text] is not None and (not isinstance(said[text], str) or digest(said[text]) != said[name]):
            raise ValueError(f"`{name}` must be the SHA-256 of `{text}`; one of them was changed")
    if said["layers"] is not None:
        _check_layers(said["layers"])
    conditions = _object("conditions", said["conditions"])
    row = Measurement(
        key=MeasurementKey(**{name: said[name] for name in MeasurementKey.__dataclass_fields__}),
        samples=tuple(map(float, samples)),
        conditions=conditions,
        value=float(said["value"]),
        std=float(said["std"]),
        **{name: said[name] for name in ("campaign", "layers", "settings", "created")},
    )
    if said["settings"] is not None:
        _object("settings", said["settings"])
    if said["unit"] != row.unit:
        raise ValueError(f"the unit of `{row.metric}` must be {row.unit}, got `{said['unit']}`")
    return row


@lru_cache(maxsize=4096)
def _check_layers(text: str) -> None:
    layers_from_json(text)  # once for each network, however often it was measured


def _object(name: str, text: Any) -> dict[str, Any]:
    value = _read(json.loads, text) if isinstance(text, str) else None
    try:
        canonical_json(value)  # Python reads NaN and infinity, which JSON has not
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"`{name}` must be a JSON object, got {str(text)[:60]}")
    return value


def _check_time(text: str) -> None:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"`created` must be a time, as 2026-01-02T03:04:05+00:00, got `{text[:60]}`") from None


def _is_number(value: Any) -> bool:
    """Whether it is a number that a float can be; how large it may be is another matter."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) <= sys.float_info.max

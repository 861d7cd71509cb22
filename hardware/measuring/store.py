"""Measurements kept across runs, in one SQLite file.

A row is found again by what was measured and how: the network's layers, the target, the runtime and its version, the
protocol, the machine and the threads. Several processes may share the file, and killing any of them at any moment loses
only what it had not yet put.
"""

import dataclasses
import hashlib
import json
import math
import os
import platform
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from search_spaces.layers import Layer

VERSION = 1
_WITH_DEFAULTS = ("inputs", "stride", "class_token")  # stand in keys even at their defaults, as in the first stores
_KEY = ("network", "target", "precision", "runtime", "protocol", "host", "threads")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS measurements (
  network TEXT NOT NULL, target TEXT NOT NULL, precision TEXT NOT NULL, runtime TEXT NOT NULL, protocol TEXT NOT NULL,
  host TEXT NOT NULL, threads INTEGER NOT NULL, campaign TEXT NOT NULL,
  unit TEXT NOT NULL, value REAL NOT NULL, std REAL NOT NULL, samples TEXT NOT NULL, created TEXT NOT NULL,
  UNIQUE (network, target, precision, runtime, protocol, host, threads, campaign)
)
"""


def network_key(layers: Sequence[Layer]) -> str:
    """SHA-256 of the layers written as canonical JSON.

    Parameter paths are left out: what a network costs does not hang on what its weights are called. An attribute that
    came after the first stores counts only where it is not at its default, so that their rows are found again.
    """
    return _digest([{"layer": type(layer).__name__, **_counting(layer)} for layer in layers])


def _counting(layer: Layer) -> dict[str, Any]:
    """The fields that make a layer another one."""
    values = {field: getattr(layer, field.name) for field in dataclasses.fields(layer) if field.name != "path"}
    return {
        field.name: value for field, value in values.items() if field.name in _WITH_DEFAULTS or value != field.default
    }


def protocol_key(settings: Mapping[str, Any]) -> str:
    """SHA-256 of a protocol's settings written as canonical JSON."""
    return _digest(dict(settings))


def host() -> str:
    """This machine as far as times hang on it: processor, cores, system."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


@dataclass(frozen=True, kw_only=True)
class MeasurementKey:
    """What was measured, and how.

    Attributes:
      network: `network_key` of the layers.
      target: name of the target.
      precision: `fp32` or `int8`.
      runtime: name and version of the runtime.
      protocol: `protocol_key` of the protocol's settings.
      host: `host()` of the machine that measured.
      threads: threads the runtime used.
    """

    network: str
    target: str
    precision: str
    runtime: str
    protocol: str
    host: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One row.

    Attributes:
      key: what was measured, and how.
      campaign: which go at measuring this was; the same key may be measured once in each.
      value: the result, in `unit`.
      std: its spread over the rounds, in `unit`.
      samples: the rounds' values, in `unit`.
      unit: `ms`.
      created: when the row was put, UTC, ISO 8601; filled in by `put`.

    Raises:
      ValueError: when the value is not above 0 or the spread below 0, or either is not finite.
    """

    key: MeasurementKey
    campaign: str
    value: float
    std: float
    samples: tuple[float, ...]
    unit: str = "ms"
    created: str = ""

    def __post_init__(self) -> None:
        if not (0 < self.value < math.inf and 0 <= self.std < math.inf):
            raise ValueError(f"a measurement must be above 0 with a std of 0 or more, got {self.value} and {self.std}")


@dataclass(frozen=True, kw_only=True)
class MeasurementStore:
    """The file; it and its folder are made when first used.

    Must lie on a disk of this machine: SQLite's write-ahead log is not safe on network file systems.

    Raises (every method):
      ValueError: when the file is not a measurement store, or one of another version.
      OSError: when the file or its folder cannot be written.
    """

    path: Path

    def get(self, key: MeasurementKey, campaign: str | None = None) -> Measurement | None:
        """The row of a key: of one campaign, or (None) the first ever put. None when there is none."""
        where = " AND ".join(f"{name} = ?" for name in _KEY)
        values: list[Any] = [getattr(key, name) for name in _KEY]
        if campaign is not None:
            where, values = f"{where} AND campaign = ?", [*values, campaign]
        columns = "campaign, value, std, samples, unit, created"
        with self._open() as db:
            row = db.execute(
                f"SELECT {columns} FROM measurements WHERE {where} ORDER BY rowid LIMIT 1", values
            ).fetchone()
        if row is None:
            return None
        found, value, std, samples, unit, created = row
        return Measurement(
            key=key,
            campaign=found,
            value=value,
            std=std,
            samples=tuple(json.loads(samples)),
            unit=unit,
            created=created,
        )

    def put(self, rows: Iterable[Measurement]) -> None:
        """Adds rows, all or none; a row whose key and campaign are there already is left as it was."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        values = [
            (
                *(getattr(row.key, name) for name in _KEY),
                *(row.campaign, row.unit, row.value, row.std, json.dumps(row.samples), row.created or now),
            )
            for row in rows
        ]
        with self._open() as db, db:
            db.executemany(
                f"INSERT INTO measurements VALUES ({', '.join('?' * 13)})"
                f" ON CONFLICT ({', '.join(_KEY)}, campaign) DO NOTHING",
                values,
            )

    def count(self) -> int:
        """How many rows there are."""
        with self._open() as db:
            return int(db.execute("SELECT count(*) FROM measurements").fetchone()[0])

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, timeout=60)
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._create(db)
            elif version != VERSION:
                raise ValueError(
                    f"{self.path} is a measurement store of version {version}, this program reads version {VERSION};"
                    " give another path, and what is needed will be measured again"
                )
            yield db
        except sqlite3.OperationalError as error:
            raise OSError(
                f"cannot use the measurement store {self.path}: {error}; give a path on a local disk that you may write"
            ) from error
        except sqlite3.DatabaseError as error:
            raise ValueError(
                f"{self.path} is not a measurement store ({error});"
                " move it away, and what is needed will be measured again"
            ) from error
        except OSError as error:
            raise OSError(
                f"cannot use the measurement store {self.path}: {error.strerror or error};"
                " give a path on a local disk that you may write"
            ) from error
        finally:
            if db is not None:
                db.close()

    def _create(self, db: sqlite3.Connection) -> None:
        tables = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name != 'measurements'"
        if db.execute(tables).fetchone()[0]:
            raise ValueError(f"{self.path} is some other database; give another path")
        db.execute("PRAGMA journal_mode = WAL")
        with db:
            db.execute(_SCHEMA)
            db.execute(f"PRAGMA user_version = {VERSION}")


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor()

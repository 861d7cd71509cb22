"""Measurements, kept across runs in one SQLite file: what was measured once need not be measured again.

A row is known by all that a result depends on: the network's layers, the target with its precision, what was measured,
the runtime and its version, the protocol, the machine and the threads. Several processes may share the file, and
killing any of them at any moment loses only what it had not yet put.
"""

import json
import os
import platform
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hardware.measuring.layers_json import canonical_json
from hardware.measuring.measurement import Measurement, MeasurementKey
from hardware.measuring.schema import WAIT_S, prepare, writing

_KEY = ("network", "target", "precision", "runtime", "protocol", "host", "threads", "metric")
_COLUMNS = (*_KEY, "campaign", "unit", "value", "std", "samples", "conditions", "created")
_PUT = (
    f"INSERT INTO measurements ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
    f" ON CONFLICT ({', '.join(_KEY)}, campaign) DO NOTHING"
)
_ROWS = f"SELECT {', '.join(_COLUMNS)}, layers, settings FROM measurements JOIN networks USING (network)" + (
    " JOIN protocols USING (protocol)"
)


def host() -> str:
    """This machine as far as times hang on it: processor, cores, system."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What a store holds of one target, measured in one way.

    Attributes:
      rows: measurements.
      networks: different ones.
      campaigns: goes at measuring.
      first: when the first row was put, UTC, ISO 8601.
      last: when the last was.
    """

    target: str
    metric: str
    precision: str
    runtime: str
    host: str
    threads: int
    rows: int
    networks: int
    campaigns: int
    first: str
    last: str


@dataclass(frozen=True, kw_only=True)
class MeasurementStore:
    """The file; it and its folder are made when first used, and one of the first version is brought to this one.

    Must lie on a disk of this machine: SQLite's write-ahead log is not safe on network file systems.

    Raises (every method):
      ValueError: when the file is not a measurement store, or one of a later version.
      OSError: when the file or its folder cannot be written, or another process holds it for more than a minute.
    """

    path: Path

    def get(self, key: MeasurementKey, campaign: str | None = None) -> Measurement | None:
        """The row of a key: of one campaign, or (None) the first ever put. None when there is none."""
        asked: dict[str, Any] = {name: getattr(key, name) for name in _KEY}
        found = self._select(asked if campaign is None else {**asked, "campaign": campaign}, "LIMIT 1")
        return found[0] if found else None

    def rows(
        self, target: str | None = None, metric: str | None = None, campaign: str | None = None
    ) -> list[Measurement]:
        """All rows, or those of a target, a metric or a campaign, in the order in which they were put."""
        asked = {"target": target, "metric": metric, "campaign": campaign}
        return self._select({name: value for name, value in asked.items() if value is not None})

    def put(self, rows: Iterable[Measurement]) -> int:
        """Adds rows, all or none; a row whose key and campaign are there already is left as it was.

        Returns:
          How many were added.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = list(rows)
        values = [
            (
                *(getattr(row.key, name) for name in _KEY),
                *(row.campaign, row.unit, row.value, row.std, json.dumps(row.samples)),
                *(canonical_json(dict(row.conditions)), row.created or now),
            )
            for row in rows
        ]
        known = {
            ("networks", "network", "layers"): {(row.key.network, row.layers) for row in rows},
            ("protocols", "protocol", "settings"): {(row.key.protocol, row.settings) for row in rows},
        }
        with self._open() as db, writing(db):
            for (table, name, text), pairs in known.items():
                db.executemany(
                    f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT ({name})"
                    f" DO UPDATE SET {text} = excluded.{text} WHERE {text} IS NULL AND excluded.{text} IS NOT NULL",
                    list(pairs),
                )
            before = db.total_changes
            db.executemany(_PUT, values)
            return db.total_changes - before

    def count(self) -> int:
        """How many rows there are."""
        with self._open() as db:
            return int(db.execute("SELECT count(*) FROM measurements").fetchone()[0])

    def holdings(self) -> list[Holding]:
        """What there is, by target, metric, precision, runtime, host and threads."""
        by = "target, metric, precision, runtime, host, threads"
        columns = f"{by}, count(*), count(DISTINCT network), count(DISTINCT campaign), min(created), max(created)"
        with self._open() as db:
            found = db.execute(f"SELECT {columns} FROM measurements GROUP BY {by} ORDER BY {by}").fetchall()
        return [Holding(**dict(zip(Holding.__dataclass_fields__, each, strict=True))) for each in found]

    def _select(self, asked: Mapping[str, Any], limit: str = "") -> list[Measurement]:
        where = " AND ".join(f"{name} = ?" for name in asked) or "true"
        with self._open() as db:
            found = db.execute(f"{_ROWS} WHERE {where} ORDER BY id {limit}", list(asked.values())).fetchall()
        return [_measurement(dict(zip((*_COLUMNS, "layers", "settings"), each, strict=True))) for each in found]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None)
            prepare(db, self.path)
            yield db
        except sqlite3.OperationalError as error:
            raise OSError(
                f"cannot use the measurement store {self.path}: {error}; "
                + (
                    f"another process has been writing for {WAIT_S} s: wait for it, or end it"
                    if error.sqlite_errorcode == sqlite3.SQLITE_BUSY
                    else "give a path on a local disk that you may write"
                )
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


def _measurement(said: Mapping[str, Any]) -> Measurement:
    return Measurement(
        key=MeasurementKey(**{name: said[name] for name in _KEY}),
        samples=tuple(json.loads(said["samples"])),
        conditions=json.loads(said["conditions"]),
        **{name: said[name] for name in ("campaign", "value", "std", "layers", "settings", "created")},
    )


def _processor() -> str:
    with suppress(OSError):  # a board of an Arm chip says here what it is; /proc/cpuinfo knows its cores at the most
        return Path("/proc/device-tree/model").read_text().strip("\0\n ")
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor()

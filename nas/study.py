"""The study: every architecture a run judged, and where each of its searches stands, in one SQLite file.

A generation's rows and the search's state are committed in one transaction, so that they cannot disagree.
"""

import io
import json
import sqlite3
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardware.costs.cost import Cost
from nas.objective import Judged

TABLES = """
CREATE TABLE IF NOT EXISTS judged (
  id INTEGER PRIMARY KEY, search TEXT NOT NULL, generation INTEGER NOT NULL, arch TEXT NOT NULL,
  UNIQUE (search, arch)
);
CREATE TABLE IF NOT EXISTS costs (
  judged INTEGER NOT NULL REFERENCES judged (id), label TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL,
  std REAL, unit TEXT NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL, source TEXT NOT NULL,
  PRIMARY KEY (judged, label)
);
CREATE TABLE IF NOT EXISTS searches (
  search TEXT PRIMARY KEY, generation INTEGER NOT NULL, finished INTEGER NOT NULL, state BLOB NOT NULL
);
"""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a search stands.

    Attributes:
      generation: generations told.
      last_new: the last of them that judged a new network; 0 before the first.
      finished: whether it has had all its evaluations.
      state: the arrays of its state by name.
      judged: what it has judged, in order.
    """

    generation: int
    last_new: int
    finished: bool
    state: dict[str, np.ndarray]
    judged: list[Judged]


class Study:
    """Opens or makes the file; `sources` says by what each kind of cost was made (which predictor, which model)."""

    def __init__(self, path: Path, sources: Mapping[str, str] | None = None):
        """Opens the study.

        Raises:
          ValueError: when the file is not a study.
        """
        self.path, self.sources = path, dict(sources or {})
        with self._open() as connection:
            connection.executescript(TABLES)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=30)) as connection, connection:  # commits, or rolls back
                yield connection
        except sqlite3.OperationalError as error:  # locked, full, not to be written
            raise OSError(f"`{self.path}` cannot be written ({error}); make room, or stop what else uses it") from error
        except sqlite3.Error as error:
            raise ValueError(
                f"`{self.path}` cannot be used as a study ({error}); remove it or name another folder"
            ) from error

    def commit(
        self, search: str, generation: int, rows: Sequence[Judged], state: Any, *, finished: bool = False
    ) -> None:
        """Stores a generation's newly judged rows and the state after it, all or nothing.

        Args:
          search: the search's name.
          generation: how many generations it has been told.
          rows: architectures it had not judged before.
          state: a `NamedTuple` of arrays.
          finished: whether this was the last.
        """
        packed = io.BytesIO()
        arrays: Any = {name: np.asarray(value) for name, value in state._asdict().items()}
        np.savez(packed, **arrays)
        with self._open() as connection:
            for row in rows:
                cursor = connection.execute(
                    "INSERT INTO judged (search, generation, arch) VALUES (?, ?, ?)",
                    (search, generation, json.dumps(row.arch)),
                )
                connection.executemany(
                    "INSERT INTO costs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        (cursor.lastrowid, label, c.name, c.value, c.std, c.unit, c.kind, c.target, self._source(c))
                        for label, c in row.costs.items()
                    ],
                )
            connection.execute(
                "INSERT OR REPLACE INTO searches VALUES (?, ?, ?, ?)",
                (search, generation, int(finished), packed.getvalue()),
            )

    def _source(self, cost: Cost) -> str:
        return self.sources.get(cost.kind, "")

    def standing(self, search: str) -> Standing | None:
        """Where the search stands; None when it has not begun."""
        with self._open() as connection:
            row = connection.execute(
                "SELECT generation, finished, state FROM searches WHERE search = ?", (search,)
            ).fetchone()
            if row is None:
                return None
            judged = self._judged(connection, search)
            (last_new,) = connection.execute(
                "SELECT COALESCE(MAX(generation), 0) FROM judged WHERE search = ?", (search,)
            ).fetchone()
        try:
            with np.load(io.BytesIO(row[2]), allow_pickle=False) as arrays:
                state = {name: arrays[name] for name in arrays.files}
        except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
            raise ValueError(f"`{self.path}`: the state of `{search}` is damaged ({error}); start a new run") from error
        return Standing(generation=row[0], last_new=last_new, finished=bool(row[1]), state=state, judged=judged)

    def judged(self, search: str) -> list[Judged]:
        """What a search has judged, in order."""
        with self._open() as connection:
            return self._judged(connection, search)

    @staticmethod
    def _judged(connection: sqlite3.Connection, search: str) -> list[Judged]:
        archs: dict[int, str] = dict(
            connection.execute("SELECT id, arch FROM judged WHERE search = ? ORDER BY id", (search,))
        )
        costs: dict[int, dict[str, Cost]] = {number: {} for number in archs}
        for number, label, name, value, std, unit, kind, target in connection.execute(
            "SELECT c.judged, label, name, value, std, unit, kind, target FROM costs c"
            " JOIN judged j ON j.id = c.judged WHERE j.search = ? ORDER BY c.rowid",
            (search,),
        ):
            costs[number][label] = Cost(name=name, value=value, std=std, unit=unit, kind=kind, target=target)
        return [Judged(arch=tuple(json.loads(archs[number])), costs=costs[number]) for number in archs]

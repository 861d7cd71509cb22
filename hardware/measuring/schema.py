"""The tables of the measurement store, and how a file of the first version becomes one of the second."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VERSION = 2
WAIT_S = 60
"""How long one process waits for another that writes."""

_TABLES = """
CREATE TABLE networks (network TEXT PRIMARY KEY, layers TEXT);
CREATE TABLE protocols (protocol TEXT PRIMARY KEY, settings TEXT);
CREATE TABLE measurements (
  id INTEGER PRIMARY KEY,
  network TEXT NOT NULL REFERENCES networks, target TEXT NOT NULL, precision TEXT NOT NULL, runtime TEXT NOT NULL,
  protocol TEXT NOT NULL REFERENCES protocols, host TEXT NOT NULL, threads INTEGER NOT NULL, metric TEXT NOT NULL,
  campaign TEXT NOT NULL, unit TEXT NOT NULL, value REAL NOT NULL, std REAL NOT NULL, samples TEXT NOT NULL,
  conditions TEXT NOT NULL, created TEXT NOT NULL,
  UNIQUE (network, target, precision, runtime, protocol, host, threads, metric, campaign)
)
"""
_FROM_FIRST = """
ALTER TABLE measurements RENAME TO first;
{tables};
INSERT INTO networks SELECT DISTINCT network, NULL FROM first;
INSERT INTO protocols SELECT DISTINCT protocol, NULL FROM first;
INSERT INTO measurements
  SELECT rowid, network, target, precision, runtime, protocol, host, threads, 'latency_ms', campaign, unit, value, std,
    samples, '{{}}', created FROM first ORDER BY rowid;
DROP TABLE first
"""


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Makes a new file a store, and a store of the first version one of this; others at the same time wait.

    Of a store of the first version all rows stay; their layers and settings are not known, only what stands for them.

    Raises:
      ValueError: when the file is some other database, or a store of a later version.
    """
    if _version(db) == VERSION:
        return
    _use_wal(db)
    with writing(db):
        version = _version(db)  # another process may have been here meanwhile
        if version == VERSION:
            return
        if version > VERSION:
            raise ValueError(
                f"{path} is a measurement store of version {version}, this program reads version {VERSION};"
                " give another path, and what is needed will be measured again"
            )
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables != ({"measurements"} if version else set()):
            raise ValueError(f"{path} is some other database; give another path")
        for statement in (_FROM_FIRST.format(tables=_TABLES) if version else _TABLES).split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")


@contextmanager
def writing(db: sqlite3.Connection) -> Iterator[None]:
    """A transaction that may write from its start: all or nothing, after whoever else is writing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _use_wal(db: sqlite3.Connection) -> None:
    """Turns the write-ahead log on; SQLite itself does not wait for others here."""
    give_up = time.monotonic() + WAIT_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)

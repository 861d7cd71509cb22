"""`edgenas measurements`: what was ever measured, and the same as a table to take elsewhere, or taken from one."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from experiments.build import nearest
from experiments.options import CONFIGS
from hardware.measuring.store import MeasurementStore
from hardware.measuring.transfer import read_table, write_table

USAGE = """\
edgenas measurements                  what the store holds: targets, runtimes, networks, rows, campaigns
edgenas measurements export <file>    its rows as a table: .csv, or .parquet (pip install 'edgenas[parquet]')
edgenas measurements import <file>    puts the rows of such a table into the store, all or none; what it has already
                                      is left as it was

  store=<file>      another store than {store}
  target=<name>     of one target only"""

WORDS = ("store", "target")
HEADER = (
    *("target", "metric", "precision", "runtime", "threads", "networks", "rows", "campaigns"),
    *("first", "last", "measured by"),
)


def measurements_command(arguments: Sequence[str]) -> None:
    """Lists, exports or imports measurements.

    Args:
      arguments: what stands behind `measurements`; `--help` says what may.

    Raises:
      ValueError: when a word is unknown, there is no store, or a file is no table of measurements.
      OSError: when a file cannot be read or written.
    """
    default = Path(OmegaConf.load(CONFIGS / "edgenas.yaml").measuring.store)
    if {"--help", "-h"} & set(arguments):
        print(USAGE.format(store=default))
        return
    given, words = {}, []
    for word in arguments:
        name, assigned, value = word.partition("=")
        if not assigned:
            words.append(word)
        elif name not in WORDS:
            raise ValueError(f"`measurements` has no setting `{name}`{nearest(name, WORDS)}")
        elif not value:
            raise ValueError(f"`{name}` must not be empty")
        else:
            given[name] = value
    store, target = MeasurementStore(path=Path(given.get("store", default))), given.get("target")
    match words:
        case []:
            _list(_existing(store), target)
        case ["export", file]:
            rows = _existing(store).rows(target)
            if not rows:
                raise ValueError(f"{store.path} has nothing to export{_of(target, store)}")
            write_table(rows, Path(file))
            print(f"{len(rows)} measurements written to {file}")
        case ["import", file]:
            found = read_table(Path(file))
            rows = [row for row in found if target in (None, row.key.target)]
            if target is not None and not rows:
                known = sorted({row.key.target for row in found})
                raise ValueError(f"{file} has nothing of the target `{target}`{nearest(target, known)}")
            added = store.put(rows)
            print(f"{added} measurements added to {store.path}; {len(rows) - added} were there already")
        case ["export" | "import" as verb]:
            raise ValueError(f"`measurements {verb}` needs a file: edgenas measurements {verb} measurements.csv")
        case ["export" | "import", _, word, *_]:
            raise ValueError(f"one file is exported or imported at a time, got `{word}` too")
        case [word, *_]:
            raise ValueError(f"`measurements` cannot `{word}`{nearest(word, ['export', 'import'])}")


def _existing(store: MeasurementStore) -> MeasurementStore:
    if not store.path.is_file():
        raise ValueError(
            f"there is no store of measurements at {store.path}: measure something (`edgenas profile`), or say where it"
            " is with store=<file>"
        )
    return store


def _of(target: str | None, store: MeasurementStore) -> str:
    """What to say of a target that a store has nothing of."""
    if target is None:
        return ": it is empty"
    known = sorted({each.target for each in store.holdings()})
    return f" of the target `{target}`{nearest(target, known)}"


def _list(store: MeasurementStore, target: str | None) -> None:
    found = [each for each in store.holdings() if target in (None, each.target)]
    if not found:
        said = f"{store.path} has nothing{_of(target, store)}"
        if target is not None:  # a name that was mistyped
            raise ValueError(said)
        print(said)
        return
    print(f"{store.path}: {sum(each.rows for each in found)} measurements\n")
    table: list[tuple[str, ...]] = [HEADER]
    for h in found:
        days = h.first[:10], h.last[:10]
        numbers = (str(n) for n in (h.threads, h.networks, h.rows, h.campaigns))
        table.append((h.target, h.metric, h.precision, h.runtime, *numbers, *days, h.host))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())

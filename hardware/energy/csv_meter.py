"""An external power meter whose program writes a CSV file while networks run."""

import csv
import difflib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep, time

import numpy as np

from hardware.energy.meter import REMAINS, Recording
from hardware.energy.sampling import GAP_PERIODS, joules_between, widest_gap

POLL_S = 0.05
PAST_BYTES = 1 << 18
"""So much of what was there before a window begins is read again, to find the row before it."""
FEWEST_ROWS = 5


@dataclass(frozen=True, kw_only=True)
class CsvMeter:
    """Reads what was drawn from the rows of a file, by the time each row says.

    The file has a line of column names. A row is of the moment it names: power between two rows goes straight from one
    to the other. A last line that does not end yet is still being written, and waited for.

    Attributes:
      path: the file.
      time: the column of times: seconds since 1970, or ISO 8601 (without a zone: this machine's).
      time_scale: what to multiply times that are numbers with to get seconds, e.g. 0.001.
      power: the column of powers; None where there are volts and amperes.
      power_scale: what to multiply powers, or volts times amperes, with to get W.
      volts: the column of voltages.
      amps: the column of currents.
      offset_s: what to add to the file's times to have this machine's: by how much the meter's clock is behind.
      timeout_s: how long to wait for the rows of a window that is over.
      delimiter: between columns.

    Raises:
      ValueError: when columns don't make a power, or a setting cannot be.
    """

    path: str
    time: str = "time"
    time_scale: float = 1.0
    power: str | None = "power_w"
    power_scale: float = 1.0
    volts: str | None = None
    amps: str | None = None
    offset_s: float = 0.0
    timeout_s: float = 10.0
    delimiter: str = ","

    def __post_init__(self) -> None:
        if (self.volts is None) != (self.amps is None) or (self.power is None) == (self.volts is None):
            raise ValueError(
                "name a column of `power`, or with `power` null those of `volts` and `amps`; got"
                f" power={self.power}, volts={self.volts}, amps={self.amps}"
            )
        for name in ("time_scale", "power_scale", "timeout_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be above 0, got {getattr(self, name)}")
        if len(self.delimiter) != 1:
            raise ValueError(f"`delimiter` must be one character, got `{self.delimiter}`")

    @property
    def name(self) -> str:
        """See `Meter`."""
        return f"external meter, {Path(self.path).name}"

    def check(self) -> None:
        """See `Meter`."""
        self._columns()

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        """See `Meter`; waits for the rows when the block is left."""
        columns, size = self._columns(), Path(self.path).stat().st_size
        rows = _Rows(meter=self, columns=columns, position=max(0, size - PAST_BYTES), aligned=size <= PAST_BYTES)
        recording = Recording()
        begin = time()
        yield recording
        end = time()
        deadline = monotonic() + self.timeout_s
        while not rows.reach(begin, end):
            if monotonic() > deadline:
                last = f"its last row is {end - rows.seconds[-1]:.3g} s before that" if rows.seconds else "it has none"
                raise ValueError(
                    f"`{self.path}` has no row of the window's end or later after {self.timeout_s:g} s ({last}); does"
                    f" the meter still write, and is its clock right (`offset_s`)?"
                )
            sleep(POLL_S)
        if rows.seconds[0] > begin:
            raise ValueError(
                f"`{self.path}` begins {rows.seconds[0] - begin:.3g} s after the window; start the meter earlier, or"
                f" set `offset_s` if its clock is ahead"
            )
        recording.joules = joules_between(rows.seconds, rows.watts, begin, end)
        recording.seconds = end - begin
        recording.flaws = _flaws(rows.seconds, begin, end)

    def _columns(self) -> tuple[int, ...]:
        """Where the time and the parts of the power stand in a row."""
        try:
            with Path(self.path).open(encoding="utf-8-sig", errors="replace") as file:
                names = [name.strip() for name in next(csv.reader(file, delimiter=self.delimiter), [])]
        except OSError as error:
            raise ValueError(
                f"`{self.path}` cannot be read ({error.strerror}); start the meter's log first, or name another file;"
                f" {REMAINS}"
            ) from error
        wanted = [self.time, *(name for name in (self.power, self.volts, self.amps) if name is not None)]
        for name in wanted:
            if name not in names:
                near = difflib.get_close_matches(name, names, 1, 0.0)
                hint = f"; did you mean `{near[0]}`?" if near and near[0] else " at all"
                raise ValueError(f"`{self.path}` has no column `{name}` among {names}{hint}")
        return tuple(names.index(name) for name in wanted)

    def row(self, line: str, columns: tuple[int, ...]) -> tuple[float, float]:
        """Time on this machine's clock, and power in W, of a line.

        Raises:
          ValueError: when it cannot be read.
        """
        cells = next(csv.reader([line], delimiter=self.delimiter), [])
        if len(cells) <= max(columns):
            raise ValueError(f"it has {len(cells)} columns")
        when, *parts = (cells[column].strip() for column in columns)
        try:
            seconds = float(when) * self.time_scale
        except ValueError:
            seconds = datetime.fromisoformat(when).timestamp()
        watts = math.prod(float(part) for part in parts) * self.power_scale
        if not (math.isfinite(seconds) and math.isfinite(watts)):
            raise ValueError("it has a number that is not finite")
        return seconds + self.offset_s, watts


@dataclass(kw_only=True)
class _Rows:
    """Rows as they are appended, from some place in the file on."""

    meter: CsvMeter
    columns: tuple[int, ...]
    position: int
    aligned: bool
    """Whether the next line begins at `position`; else the rest of one comes first."""
    rest: bytes = b""
    header: bool = True
    damaged: str = ""
    """A row that could not be read and may lie in the window."""
    seconds: list[float] = field(default_factory=list)
    watts: list[float] = field(default_factory=list)

    def reach(self, begin: float, end: float) -> bool:
        """Reads what is new; whether it covers the window up to `end`.

        Raises:
          ValueError: on a row of the window that cannot be read.
        """
        with Path(self.meter.path).open("rb") as file:
            file.seek(self.position)
            new = file.read()
        self.position += len(new)
        *lines, self.rest = (self.rest + new).split(b"\n")
        for raw in lines:
            line = raw.decode("utf-8", "replace").strip()
            if not self.aligned or self.header:  # the rest of a line, or the names of the columns
                self.aligned, self.header = True, False
            elif line and self._take(line, begin, end):
                return True
        return False

    def _take(self, line: str, begin: float, end: float) -> bool:
        try:
            seconds, watts = self.meter.row(line, self.columns)
            if self.seconds and seconds <= self.seconds[-1]:
                raise ValueError("its time is not after that of the row before it")
        except ValueError as error:
            self.damaged = self.damaged or f"row `{line[:80]}` of `{self.meter.path}` cannot be read: {error}"
            return False
        if seconds <= begin:  # only the last of these counts, and no damage before it
            self.seconds, self.watts, self.damaged = [], [], ""
        if self.damaged:
            raise ValueError(f"{self.damaged}; repair the file, or measure again")
        self.seconds.append(seconds)
        self.watts.append(watts)
        return seconds >= end


def _flaws(seconds: list[float], begin: float, end: float) -> tuple[str, ...]:
    inside = [t for t in seconds if begin < t < end]
    if len(inside) < FEWEST_ROWS:
        return (f"only {len(inside)} rows within {end - begin:.3g} s",)
    period_s = float(np.median(np.diff(inside)))
    gap = widest_gap(seconds, begin, end)
    if gap > GAP_PERIODS * period_s:
        return (f"no row for {gap:.3g} s, where one comes every {period_s:.3g} s",)
    return ()

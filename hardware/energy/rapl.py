"""Energy counters of Intel and AMD processors, as Linux shows them (powercap, RAPL)."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from hardware.energy.meter import REMAINS, Recording

WITHIN = {"core": "package", "uncore": "package", "package": "psys", "dram": "psys"}
"""By kind of zone, the kind that counts it too."""
MOST_W = 1000.0
"""No zone draws more: a recording so long that one could have wrapped twice at this power is refused."""


class _Zone(NamedTuple):
    name: str
    counter: Path
    range_uj: int

    @property
    def kind(self) -> str:
        return self.name.split("-")[0]


@dataclass(frozen=True, kw_only=True)
class Rapl:
    """Counts the energy of a processor and its memory; what else the board draws is not in it.

    A counter is brought up to date about every millisecond, so windows of seconds are needed.

    Attributes:
      root: where Linux shows the counters.
      zones: which to add up, by the names they have there (`package-0`, `core`, `uncore`, `dram`, `psys`), of every
        socket; empty for all packages and, where there is a counter, their memory.

    Raises:
      ValueError: when zones are named of which one counts the other too.

    References:
      Power Capping Framework, Linux documentation (power/powercap).
    """

    root: str = "/sys/class/powercap"
    zones: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kinds = {zone.split("-")[0]: zone for zone in self.zones}
        for kind, zone in kinds.items():
            outer: str | None = WITHIN.get(kind)
            while outer is not None:
                if outer in kinds:
                    raise ValueError(f"`{zone}` is counted in `{kinds[outer]}` already; leave one of the two out")
                outer = WITHIN.get(outer)

    @property
    def name(self) -> str:
        """See `Meter`."""
        return f"RAPL {'+'.join(self.zones) or 'packages and their memory'} (processor only, not the board)"

    def check(self) -> None:
        """See `Meter`."""
        for zone in self._zones():
            _read(zone)

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        """See `Meter`."""
        zones, recording = self._zones(), Recording()
        before = [_read(zone) for zone in zones]
        begin = perf_counter()
        yield recording
        after = [_read(zone) for zone in zones]
        recording.seconds = perf_counter() - begin
        for zone in zones:
            if recording.seconds * MOST_W * 1e6 > zone.range_uj:
                raise ValueError(
                    f"`{zone.name}` counts to {zone.range_uj / 1e6:g} J and may have wrapped twice within"
                    f" {recording.seconds:.0f} s; record windows below {zone.range_uj / 1e6 / MOST_W:.0f} s"
                )
        drawn_uj = [
            now - then if now >= then else now - then + zone.range_uj
            for zone, then, now in zip(zones, before, after, strict=True)
        ]
        recording.joules = sum(drawn_uj) / 1e6

    def _zones(self) -> list[_Zone]:
        found = []
        for folder in sorted(Path(self.root).glob("intel-rapl:*")):
            try:
                name = (folder / "name").read_text().strip()
                found.append(_Zone(name, folder / "energy_uj", int((folder / "max_energy_range_uj").read_text())))
            except (OSError, ValueError):  # a zone that has no counter
                continue
        if not found:
            raise ValueError(
                f"no RAPL counter is at `{self.root}/intel-rapl:*/energy_uj`: Linux shows them on Intel and AMD"
                f" processors, seldom in virtual machines or containers; {REMAINS}"
            )
        for name in self.zones:
            if name not in (names := sorted({zone.name for zone in found})):
                near = difflib.get_close_matches(name, names, 1, 0.0)[0]
                raise ValueError(f"RAPL has no zone `{name}` here, but {names}; did you mean `{near}`?")
        return [z for z in found if (z.name in self.zones if self.zones else z.kind in ("package", "dram"))]


def _read(zone: _Zone) -> int:
    """The counter, in microjoules."""
    try:
        return int(zone.counter.read_text())
    except PermissionError as error:
        raise ValueError(
            f"only root may read `{zone.counter}` (so since Linux 5.10); run `sudo chmod a+r {zone.counter}` after each"
            f" start of the system; else {REMAINS}"
        ) from error
    except (OSError, ValueError) as error:
        raise ValueError(f"`{zone.counter}` cannot be read ({error}); {REMAINS}") from error

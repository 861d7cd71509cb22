"""Power sensors of Jetson boards: INA3221 chips, as Linux shows them in sysfs."""

import difflib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from hardware.energy.meter import REMAINS, Recording
from hardware.energy.sampling import sampled

INPUTS = ("VDD_IN", "POM_5V_IN")
"""Rails through which all that the board draws comes, by board."""


@dataclass(frozen=True, kw_only=True)
class _Rail:
    """Files of one rail: its power in mW, or its voltage in mV and its current in mA."""

    name: str
    files: tuple[Path, ...]

    def watts(self) -> float:
        values = [int(file.read_text()) for file in self.files]
        return values[0] * 1e-3 if len(values) == 1 else values[0] * values[1] * 1e-6


@dataclass(frozen=True, kw_only=True)
class JetsonIna:
    """Samples the rails of a Jetson board in a thread.

    Written from the drivers' documentation and tried on trees of files made after it, never on a board.

    Attributes:
      root: where Linux shows the drivers of I2C chips: `ina3221` with hwmon files (JetPack 5 and later) or `ina3221x`
        with iio files (JetPack 4).
      rails: which to add up, by the names they have there; empty for the one through which all power comes (`VDD_IN`
        or `POM_5V_IN`), where the board has it.
      period_s: from one sample to the next.

    Raises:
      ValueError: when the period is not above 0, or rails are named beside the one that all power comes through.

    References:
      Kernel driver ina3221, Linux documentation (hwmon/ina3221).
    """

    root: str = "/sys/bus/i2c/drivers"
    rails: tuple[str, ...] = ()
    period_s: float = 0.02

    def __post_init__(self) -> None:
        if not self.period_s > 0:
            raise ValueError(f"`period_s` must be above 0, got {self.period_s}")
        whole = [rail for rail in self.rails if rail in INPUTS]
        if whole and len(self.rails) > 1:
            raise ValueError(f"all power comes through `{whole[0]}`: leave the other rails out, got {self.rails}")

    @property
    def name(self) -> str:
        """See `Meter`."""
        if self.rails and self.rails[0] not in INPUTS:
            return f"Jetson INA3221 {'+'.join(self.rails)} (these rails only, not the board)"
        return "Jetson INA3221 board input"

    def check(self) -> None:
        """See `Meter`."""
        for rail in self._chosen():
            try:
                rail.watts()
            except (OSError, ValueError) as error:
                raise ValueError(
                    f"rail `{rail.name}` cannot be read ({' '.join(str(error).split())}); is its channel enabled?"
                    f" {REMAINS}"
                ) from error

    def recording(self) -> AbstractContextManager[Recording]:
        """See `Meter`."""
        self.check()
        rails = self._chosen()
        return sampled(self.name, lambda: sum(rail.watts() for rail in rails), self.period_s)

    def _chosen(self) -> list[_Rail]:
        found = {rail.name: rail for rail in _rails(Path(self.root))}
        if not found:
            raise ValueError(
                f"no INA3221 sensor is at `{self.root}/ina3221*/`: they are on Jetson boards, not on this machine;"
                f" {REMAINS}"
            )
        for name in self.rails:
            if name not in found:
                near = difflib.get_close_matches(name, found, 1, 0.0)[0]
                raise ValueError(f"this board has no rail `{name}`, but {sorted(found)}; did you mean `{near}`?")
        chosen = [found[name] for name in self.rails or [name for name in INPUTS if name in found][:1]]
        if not chosen:
            raise ValueError(
                f"this board has no rail {' or '.join(f'`{name}`' for name in INPUTS)} that all power comes through;"
                f" say which to add up: rails=[{','.join(sorted(found))}]"
            )
        return chosen


def _rails(root: Path) -> list[_Rail]:
    """All rails below a folder of drivers, in either layout."""
    rails = []
    for label in sorted(root.glob("ina3221*/*/hwmon/hwmon*/in[123]_label")):
        channel = label.name[2]
        files = (label.with_name(f"in{channel}_input"), label.with_name(f"curr{channel}_input"))
        rails.append(_Rail(name=label.read_text().strip(), files=files))
    for label in sorted(root.glob("ina3221*/*/iio*device*/rail_name_*")):
        channel = label.name.rpartition("_")[2]
        power = label.with_name(f"in_power{channel}_input")
        halves = tuple(label.with_name(f"in_{what}{channel}_input") for what in ("voltage", "current"))
        rails.append(_Rail(name=label.read_text().strip(), files=(power,) if power.exists() else halves))
    return rails

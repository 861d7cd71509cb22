"""Currents and voltages that the power chip of a Raspberry Pi 5 shows of its own rails."""

import difflib
import re
import subprocess
from contextlib import AbstractContextManager
from dataclasses import dataclass

from hardware.energy.meter import REMAINS, Recording
from hardware.energy.sampling import sampled

LINE = re.compile(r"\s*(\w+)_([AV])\s+\w+\(\d+\)=(-?\d+(?:\.\d+)?)[AV]\s*")
"""As in `VDD_CORE_A current(7)=0.73740000A`."""
TIMEOUT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Pi5Pmic:
    """Samples the rails of a Raspberry Pi 5 in a thread: current times voltage, added up.

    Not the board's power: what the chip itself loses, and what USB and the 5 V pins draw, is in no rail. Tried on
    outputs written after published ones, never on a board.

    Attributes:
      command: prints the lines; on another machine's behalf e.g. `ssh`, `pi5`, `vcgencmd`, `pmic_read_adc`.
      rails: which to add up, without the endings `_A` and `_V`; empty for all of which both are shown.
      period_s: from one sample to the next.

    Raises:
      ValueError: when the period is not above 0, or there is no command.
    """

    command: tuple[str, ...] = ("vcgencmd", "pmic_read_adc")
    rails: tuple[str, ...] = ()
    period_s: float = 0.1

    def __post_init__(self) -> None:
        if not self.period_s > 0:
            raise ValueError(f"`period_s` must be above 0, got {self.period_s}")
        if not self.command:
            raise ValueError("`command` must name a program, as ('vcgencmd', 'pmic_read_adc')")

    @property
    def name(self) -> str:
        """See `Meter`."""
        return f"Raspberry Pi 5 PMIC {'+'.join(self.rails) or 'all rails'} (rails only, not the board)"

    def check(self) -> None:
        """See `Meter`."""
        self._watts()

    def recording(self) -> AbstractContextManager[Recording]:
        """See `Meter`."""
        self.check()
        return sampled(self.name, self._watts, self.period_s)

    def _watts(self) -> float:
        """The power of the chosen rails now."""
        shown = self._output()
        powers = rail_watts(shown)
        if not powers:
            first = (shown.strip().splitlines() or ["nothing"])[0]
            raise ValueError(
                f"`{' '.join(self.command)}` shows no rail's current and voltage, but `{first[:80]}`: only the"
                f" Raspberry Pi 5 has them; {REMAINS}"
            )
        for name in self.rails:
            if name not in powers:
                near = difflib.get_close_matches(name, powers, 1, 0.0)[0]
                raise ValueError(f"this board has no rail `{name}`, but {sorted(powers)}; did you mean `{near}`?")
        return sum(powers[name] for name in self.rails or powers)

    def _output(self) -> str:
        said = " ".join(self.command)
        try:
            done = subprocess.run(self.command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except OSError as error:
            raise ValueError(
                f"`{self.command[0]}` cannot be run ({error.strerror}): it is on Raspberry Pi OS, of a Raspberry Pi 5;"
                f" {REMAINS}"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise ValueError(f"`{said}` took more than {TIMEOUT_S:g} s; {REMAINS}") from error
        if done.returncode:
            why = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
            raise ValueError(f"`{said}` failed ({why}); {REMAINS}")
        return done.stdout


def rail_watts(shown: str) -> dict[str, float]:
    """The power of each rail of which a current and a voltage are shown, in W.

    Args:
      shown: lines as `VDD_CORE_A current(7)=0.73740000A` and `VDD_CORE_V volt(15)=0.72096460V`; others are passed by.
    """
    values = {(m[1], m[2]): float(m[3]) for line in shown.splitlines() if (m := LINE.fullmatch(line))}
    return {
        rail: amps * values[rail, "V"] for (rail, unit), amps in values.items() if unit == "A" and (rail, "V") in values
    }

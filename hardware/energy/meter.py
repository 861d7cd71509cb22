"""What a meter of energy must offer."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

REMAINS = "`energy_mj` remains, modelled and labelled so, of targets that name a device"
"""How an error ends that says energy cannot be read."""


@dataclass(kw_only=True)
class Recording:
    """What was drawn while something ran.

    Attributes:
      joules: all of it, what the board draws at rest included; NaN until the recording is over.
      seconds: how long it was.
      flaws: what makes the number less sure, each in words; empty where nothing is known to.
    """

    joules: float = float("nan")
    seconds: float = float("nan")
    flaws: tuple[str, ...] = ()


@runtime_checkable
class Meter(Protocol):
    """Reads energy from what a board offers."""

    @property
    def name(self) -> str:
        """What is read, and what it covers, e.g. `RAPL package-0`: energies of different meters do not compare."""
        ...

    def check(self) -> None:
        """Raises unless it can be read here.

        Raises:
          ValueError: saying what is missing and what to do; the modelled energy remains, labelled as such.
        """
        ...

    def recording(self) -> AbstractContextManager[Recording]:
        """Records while its block runs; the numbers are there when the block is left.

        Raises:
          ValueError: when it cannot be read.
        """
        ...

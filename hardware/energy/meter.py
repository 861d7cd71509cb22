"""What a meter of energy must offer."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(kw_only=True)
class Recording:
    """What was drawn while something ran.

    Attributes:
      joules: all of it, what the board draws at rest included; NaN until the recording is over.
      seconds: how long it was.
    """

    joules: float = float("nan")
    seconds: float = float("nan")


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

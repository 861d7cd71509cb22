"""Which of the meters that boards bring along can be read on this machine."""

from collections.abc import Sequence

from hardware.energy.jetson import JetsonIna
from hardware.energy.meter import REMAINS, Meter
from hardware.energy.pi5 import Pi5Pmic
from hardware.energy.rapl import Rapl

BUILT_IN: tuple[Meter, ...] = (Rapl(), JetsonIna(), Pi5Pmic())
"""Tried in this order; an external meter has to be named (`csv_meter.py`)."""


def meter_here(candidates: Sequence[Meter] = BUILT_IN) -> Meter:
    """The first meter that can be read.

    Raises:
      ValueError: when none can, with what was looked for and why it is not there.
    """
    reasons = []
    for meter in candidates:
        try:
            meter.check()
        except ValueError as error:
            reasons.append(str(error).removesuffix(f"; {REMAINS}"))
        else:
            return meter
    raise ValueError(f"no energy can be read on this machine: {'; '.join(reasons)}; {REMAINS}")

"""How energies are taken, and how they are stored: those of other meters or windows do not compare."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hardware.energy.meter import Meter
from hardware.energy.per_run import energy_per_run
from hardware.measuring.layers_json import canonical_json, digest
from hardware.measuring.measurement import Measurement, MeasurementKey
from hardware.measuring.protocol import Failure
from hardware.measuring.turns import conditions, quiet


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The settings of a measurement of energy, as `energy_per_run` explains them.

    Attributes:
      idle_s: how long each rest is.
      window_s: how long a network runs in each window at least.
      repeats: how many windows.
      warm_up: runs beforehand that are not counted.
      net: whether what the board draws at rest is subtracted; modelled energies have it in them.
    """

    idle_s: float = 2.0
    window_s: float = 2.0
    repeats: int = 5
    warm_up: int = 3
    net: bool = False


def energy_settings(meter: Meter, windows: Windows) -> str:
    """All that an energy hangs on beside the network and the machine, as canonical JSON."""
    return canonical_json({"meter": meter.name, **dataclasses.asdict(windows)})


def energy_key(of_time: MeasurementKey, meter: Meter, windows: Windows) -> MeasurementKey:
    """The key under which the energy of a network is stored, from that of its time."""
    return dataclasses.replace(of_time, metric="energy_mj", protocol=digest(energy_settings(meter, windows)))


def measured_energy(
    key: MeasurementKey, call: Callable[[], Any], meter: Meter, windows: Windows, *, campaign: str, layers: str
) -> Measurement | Failure:
    """The energy of one run, as a row; or why there is none.

    Args:
      key: as `energy_key` gives it.
      call: runs the network once and returns when it is done.
      meter: reads the energy.
      windows: how it is taken.
      campaign: the name of this go.
      layers: of the network, as `layers_json` writes them.
    """
    try:
        with quiet(pin=False):  # a meter may sample in a thread beside it, which had the one core too
            energy = energy_per_run(meter, call, **dataclasses.asdict(windows))
    except ValueError as error:
        return Failure(reason=str(error))
    if not energy.value_mj > 0:
        return Failure(reason=f"{energy.value_mj:.3g} mJ were drawn: {'; '.join(energy.flaws)}")
    said = ("gross_mj", "net_mj", "idle_w", "runs", "flaws")
    return Measurement(
        key=key,
        campaign=campaign,
        value=energy.value_mj,
        std=energy.std_mj,
        samples=energy.samples_mj,
        layers=layers,
        settings=energy_settings(meter, windows),
        conditions={**conditions(), **{name: getattr(energy, name) for name in said}},
    )

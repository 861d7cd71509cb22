"""Energy of one run of a network, from windows of many runs between windows of rest."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, sleep
from typing import Any

import numpy as np
from jaxtyping import Float

from hardware.energy.meter import Meter


@dataclass(frozen=True, kw_only=True)
class EnergyTiming:
    """Energy of one run, in mJ.

    Attributes:
      value_mj: the median over the windows, net or gross as `net` says.
      std_mj: their spread, 1.4826 times the median absolute deviation.
      samples_mj: that of each window.
      net: whether what the board draws at rest is subtracted.
      gross_mj: the median with what the board draws at rest.
      net_mj: the median without it.
      idle_w: what it draws at rest, the median of all windows of rest.
      runs: how often the network ran in each window.
      meter: what was read, and what it covers: energies of different meters do not compare.
      flaws: what makes the numbers less sure, each in words.
    """

    value_mj: float
    std_mj: float
    samples_mj: tuple[float, ...]
    net: bool
    gross_mj: float
    net_mj: float
    idle_w: float
    runs: tuple[int, ...]
    meter: str
    flaws: tuple[str, ...]


def energy_per_run(
    meter: Meter,
    call: Callable[[], Any],
    *,
    idle_s: float = 2.0,
    window_s: float = 2.0,
    repeats: int = 5,
    warm_up: int = 3,
    net: bool = False,
) -> EnergyTiming:
    """Measures by turns what the board draws at rest and while a network runs again and again.

    The rest before and after a window gives what is subtracted from that window, so that a board that warms up does
    not count its warmth as the network's work.

    Args:
      meter: reads the energy.
      call: runs the network once and returns when it is done.
      idle_s: how long each rest is.
      window_s: how long a network runs in each window at least; the last run is finished. Windows of two seconds
        keep meters of a hundred samples a second within some per cent.
      repeats: how many windows.
      warm_up: runs beforehand that are not counted.
      net: which of the two energies is `value_mj`; gross is what `energy_mj` is where it is modelled.

    Raises:
      ValueError: when the meter cannot be read, nothing was drawn, or a setting leaves nothing to measure.

    References:
      HW-NAS-Bench-360 (github.com/roldebijvank/HW-NAS-Bench-360) for windows, and for subtracting what rest draws.
      Differs: rest is measured around each window, not once, and both energies are kept.
    """
    least = {"idle_s": idle_s, "window_s": window_s, "repeats": repeats, "warm_up": warm_up}
    for name, value in least.items():
        if not (value >= 0 if name == "warm_up" else value > 0):
            raise ValueError(f"`{name}` must be {'0 or more' if name == 'warm_up' else 'above 0'}, got {value}")
    meter.check()
    for _ in range(warm_up):
        call()
    flaws: list[str] = []

    def rest() -> float:
        with meter.recording() as recording:
            sleep(idle_s)
        flaws.extend(recording.flaws)
        return recording.joules / recording.seconds

    idle, gross, seconds, runs = [rest()], [], [], []
    for _ in range(repeats):
        with meter.recording() as recording:
            done, until = 0, perf_counter() + window_s
            while not done or perf_counter() < until:
                call()
                done += 1
        flaws.extend(recording.flaws)
        gross.append(recording.joules * 1e3 / done)
        seconds.append(recording.seconds / done)
        runs.append(done)
        idle.append(rest())
    around = (np.array(idle[:-1]) + np.array(idle[1:])) / 2
    gross_mj = np.array(gross)
    net_mj = gross_mj - around * np.array(seconds) * 1e3
    if not float(np.median(gross_mj)) > 0:
        raise ValueError(f"{meter.name} saw no energy drawn while the network ran; is it the board's meter?")
    if not float(np.median(net_mj)) > 0:
        flaws.append("running drew no more than resting: the net energy is lost in the noise")
    chosen = net_mj if net else gross_mj
    return EnergyTiming(
        value_mj=float(np.median(chosen)),
        std_mj=_spread(chosen),
        samples_mj=tuple(chosen.tolist()),
        net=net,
        gross_mj=float(np.median(gross_mj)),
        net_mj=float(np.median(net_mj)),
        idle_w=float(np.median(idle)),
        runs=tuple(runs),
        meter=meter.name,
        flaws=tuple(dict.fromkeys(flaws)),
    )


def _spread(samples: Float[np.ndarray, " windows"]) -> float:
    return float(1.4826 * np.median(np.abs(samples - np.median(samples))))

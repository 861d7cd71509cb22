"""Calls timed in turns, on any machine: standard library only, for it also runs on boards, where nothing of ours is.

Everything goes in and comes out as plain values that JSON has. Runs on Python 3.9 and later.
"""

from __future__ import annotations

import gc
import math
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Any


def take_turns(
    calls: Mapping[str, Callable[[], Any]],
    settings: Mapping[str, Any],
    *,
    reference: str,
    progress: Callable[[int, int], None] | None = None,
    root: str = "/",
) -> dict[str, Any]:
    """Times calls against each other: each takes its turn once a round, in an order drawn anew.

    A turn is one run to bring the caches back and then several timed ones, of which the least counts. Once all rounds
    are done, the one whose reference took longest is taken again, if that is more than allowed: above the reference's
    low quantile, or above what it is known to take; and so on. A call that fails, or takes no time, drops out and
    leaves the others alone.

    Args:
      calls: what to run, by name; each returns when its work is done.
      settings: `warm_up`, `rounds`, `quantile`, `runs_per_round`, `min_sample_ms`, `redo`, `redo_above`, `pin` and
        `seed`, as `protocol.py` explains them; `reference_ms`, what the reference is known to take, or none; others are
        ignored.
      reference: the name of the call that stands for the state of the machine.
      progress: called with (rounds kept, rounds to do).
      root: where `proc` and `sys` lie.

    Returns:
      `samples_ms`: by name, the time of each round that was kept; `order`: of each of those, the names in turn;
      `runs`: by name, timed runs of a turn; `redone_ms`: what the reference took in rounds that were taken again;
      `conditions`: what `conditions` saw after each round that was kept; `failures`: by name, why others have no times.

    Raises:
      ValueError: when the reference is no call, or cannot be timed.
    """
    if reference not in calls:
        raise ValueError(f"the reference `{reference}` must be one of the candidates {list(calls)[:5]}")
    failures: dict[str, str] = {}
    runs: dict[str, int] = {}
    chance = random.Random(settings["seed"])

    def guarded(name: str, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except Exception as error:  # what runs on a board may raise anything, and concerns this network alone
            failures[name] = _reason(error)
            if name == reference:
                raise ValueError(f"the reference network cannot be timed: {failures[name]}") from error
            return None

    def one_round() -> dict[str, Any]:
        order = [name for name in calls if name not in failures]
        chance.shuffle(order)
        times = {name: guarded(name, lambda name=name: _turn_ms(calls[name], runs[name])) for name in order}
        return {"order": order, "times": times, "conditions": conditions(root, core)}

    with quiet(settings["pin"]) as core:
        for name, call in calls.items():
            counted = guarded(name, lambda call=call: _runs(call, settings))
            if counted is not None:
                runs[name] = counted
        kept: list[dict[str, Any]] = []
        redone: list[float] = []
        while True:
            while len(kept) < settings["rounds"]:
                kept.append(one_round())
                if progress:
                    progress(len(kept), settings["rounds"])
            references = [each["times"][reference] for each in kept]
            worst = max(range(len(kept)), key=references.__getitem__)
            usual = min(quantile(references, settings["quantile"]), settings.get("reference_ms") or math.inf)
            allowed = settings["redo_above"] * usual
            if len(redone) == settings["redo"] or references[worst] <= allowed:
                break
            redone.append(references[worst])
            del kept[worst]
    fine = [name for name in calls if name not in failures]
    return {
        "samples_ms": {name: [each["times"][name] for each in kept] for name in fine},
        "order": [each["order"] for each in kept],
        "runs": {name: runs[name] for name in fine},
        "redone_ms": redone,
        "conditions": [each["conditions"] for each in kept],
        "failures": failures,
    }


def quantile(values: list[float], share: float) -> float:
    """The value below which so large a share lies, between neighbours in proportion (as numpy's default)."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def conditions(root: str = "/", core: int | None = None) -> dict[str, Any]:
    """The state of the machine, as far as its system shows it; what it doesn't show is left out.

    Args:
      root: where `proc` and `sys` lie.
      core: whose clock and governor; None for the first.

    Returns:
      `mhz` and `governor` of the core, `celsius` of each thermal zone by its name, and `load`, the mean number of
      processes that were ready to run during the last minute.
    """
    found: dict[str, Any] = {}
    frequency = Path(root, f"sys/devices/system/cpu/cpu{core or 0}/cpufreq")
    mhz = _number(_text(frequency / "scaling_cur_freq"), 1e-3)
    mhz = _mhz_of_cpuinfo(_text(Path(root, "proc/cpuinfo")), core or 0) if mhz is None else mhz
    celsius: dict[str, float] = {}
    for zone in sorted(Path(root, "sys/class/thermal").glob("thermal_zone*")):
        degrees = _number(_text(zone / "temp"), 1e-3)
        if degrees is not None:
            name = _text(zone / "type").strip() or zone.name
            celsius[f"{name} {zone.name[12:]}" if name in celsius else name] = degrees
    for name, value in (
        ("mhz", mhz),
        ("governor", _text(frequency / "scaling_governor").strip() or None),
        ("celsius", celsius or None),
        ("load", _number(_text(Path(root, "proc/loadavg")).partition(" ")[0])),
    ):
        if value is not None:
            found[name] = value
    return found


@contextmanager
def quiet(pin: bool) -> Iterator[int | None]:
    """No garbage collection, and this thread on one core; both are as before afterwards. Gives the core, if any."""
    collecting = gc.isenabled()
    cores = os.sched_getaffinity(0) if pin and hasattr(os, "sched_setaffinity") else None
    gc.disable()
    try:
        if cores:
            os.sched_setaffinity(0, {max(cores)})
        yield max(cores) if cores else None
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
        if collecting:
            gc.enable()


def _runs(call: Callable[[], Any], settings: Mapping[str, Any]) -> int:
    """Warms a call up and says how many runs fill a turn."""
    for _ in range(settings["warm_up"]):
        call()
    once = min(_time_ms(call) for _ in range(2))
    return max(settings["runs_per_round"], math.ceil(settings["min_sample_ms"] / once))


def _turn_ms(call: Callable[[], Any], runs: int) -> float:
    call()
    return min(_time_ms(call) for _ in range(runs))


def _time_ms(call: Callable[[], Any]) -> float:
    begin = perf_counter_ns()
    call()
    elapsed = (perf_counter_ns() - begin) / 1e6
    if not elapsed > 0:
        raise ValueError(f"it took {elapsed} ms by the system's clock; is there anything to run in it?")
    return elapsed


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # absent, or a sensor that is asleep
        return ""


def _number(text: str, unit: float = 1.0) -> float | None:
    try:
        value = float(text) * unit
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _mhz_of_cpuinfo(text: str, core: int) -> float | None:
    clocks = [line.partition(":")[2] for line in text.splitlines() if line.lower().startswith("cpu mhz")]
    return _number(clocks[core]) if core < len(clocks) else None

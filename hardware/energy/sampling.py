"""Energy from samples of power, and a thread that takes them beside what runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from threading import Event, Thread
from time import perf_counter

import numpy as np

from hardware.energy.meter import REMAINS, Recording

GAP_PERIODS = 5
"""Samples further apart than so many periods leave a gap that is said."""


def joules_between(seconds: Sequence[float], watts: Sequence[float], begin: float, end: float) -> float:
    """The integral of sampled power by trapezoids; before the first and after the last sample it is taken as theirs.

    Args:
      seconds: when the samples were taken, increasing, at least one.
      watts: the samples.
      begin: where to integrate from, on the clock of the samples.
      end: where to.
    """
    inside = [t for t in seconds if begin < t < end]
    times = [begin, *inside, end]
    return float(np.trapezoid(np.interp(times, seconds, watts), times))


def widest_gap(seconds: Sequence[float], begin: float, end: float) -> float:
    """The longest stretch from `begin` to `end` without a sample, in seconds; samples outside bound it too."""
    before = [t for t in seconds if t <= begin][-1:]
    after = [t for t in seconds if t >= end][:1]
    times = [*(before or [begin]), *(t for t in seconds if begin < t < end), *(after or [end])]
    return max(b - a for a, b in pairwise(times))


class Sampler:
    """Takes samples of power, one a call, and turns them into a recording."""

    def __init__(self, name: str, read: Callable[[], float]):
        """A sample is what `read` returns, in W; where it raises OSError or ValueError one is missing."""
        self.name, self.read = name, read
        self.seconds: list[float] = []
        self.watts: list[float] = []
        self.missing: list[str] = []

    def sample(self) -> None:
        """Takes one sample; its time is the middle of what reading took."""
        begin = perf_counter()
        try:
            watts = self.read()
        except (OSError, ValueError) as error:
            self.missing.append(" ".join(str(error).split()) or type(error).__name__)
            return
        self.seconds.append((begin + perf_counter()) / 2)
        self.watts.append(watts)

    def fill(self, recording: Recording, begin: float, end: float, period_s: float) -> None:
        """Puts what was drawn from `begin` to `end` into a recording.

        Raises:
          ValueError: when fewer than two samples, or less than half of them, could be read.
        """
        taken, missing = len(self.watts), len(self.missing)
        if taken < 2 or missing > taken:
            why = f": {self.missing[-1]}" if self.missing else ""
            raise ValueError(f"{self.name} gave {taken} of {taken + missing} samples{why}; {REMAINS}")
        flaws = [f"{missing} of {taken + missing} samples could not be read"] if missing else []
        gap = widest_gap(self.seconds, begin, end)
        if gap > GAP_PERIODS * period_s:
            flaws.append(f"no sample for {gap:.3g} s, where one is due every {period_s:g} s")
        recording.joules = joules_between(self.seconds, self.watts, begin, end)
        recording.seconds = end - begin
        recording.flaws = tuple(flaws)


@contextmanager
def sampled(name: str, read: Callable[[], float], period_s: float) -> Iterator[Recording]:
    """Records by sampling power in a thread while the block runs.

    Args:
      name: of the meter, for messages.
      read: the power now, in W; OSError or ValueError where there is no sample.
      period_s: from one sample to the next.

    Raises:
      ValueError: when too few samples could be read.
    """
    recording, sampler, stop = Recording(), Sampler(name, read), Event()

    def keep_sampling() -> None:
        due = perf_counter() + period_s
        while not stop.wait(max(0.0, due - perf_counter())):
            sampler.sample()
            due = max(due + period_s, perf_counter())

    thread = Thread(target=keep_sampling, daemon=True)
    sampler.sample()
    begin = perf_counter()
    thread.start()
    try:
        yield recording
    finally:
        end = perf_counter()
        stop.set()
        thread.join()
    sampler.sample()
    sampler.fill(recording, begin, end, period_s)

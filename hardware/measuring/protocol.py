"""How times are taken: many candidates in turn, in random order, round after round, beside one reference.

Clocks on shared machines drift (1.1-1.9x within minutes) and other processes get in between. So candidates are
interleaved instead of timed one after the other; a turn counts its least run, and a candidate's result is a low
quantile over the rounds (what disturbs a run only ever lengthens it); and the whole batch is brought to one scale by
the reference network.

Chosen by measurement: campaigns of 40 networks of 0.07-0.6 ms, in two batches of 20, one thread pinned to one of two
AMD EPYC cores, onnxruntime 1.32.0, 30 rounds of the least of 5 runs. One campaign on a quiet machine against one beside
two processes that never rest: the median of the signed differences, the largest, and Kendall's tau between the two.

    statistic over the rounds                median     largest   tau
    median                                   +31 %      72 %      0.723
    median, each round over its reference    +65 %      78 %      0.987
    median, each batch over its reference    +65 %      80 %      0.969
    0.25 quantile, batch over reference      +2.2 %     18 %      0.969
    0.1 quantile                             +0.9 %     3.2 %     0.990
    0.1 quantile, round over reference       -5.4 %     13 %      0.956
    0.1 quantile, batch over reference       +1.1 %     3.2 %     0.985    (this protocol)

Beside one such process it gives +0.2 %, 1.2 % and 0.995; on a machine in ordinary use, for 80 networks, +0.5 %, 1.6 %
and 0.990. The reference gained nothing here; it is kept for clocks that change for good, as between a run and its going
on later. Redoing disturbed rounds is needless with a low quantile.
"""

import dataclasses
import gc
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What one candidate took.

    Attributes:
      value_ms: the result: a low quantile of the samples.
      std_ms: the samples' robust spread, `1.4826 * MAD`: the standard deviation where they are normal. It says how
        disturbed the machine was from round to round; two campaigns' results lie nearer to each other.
      samples_ms: one number a round, the least of its runs, on the reference's scale.
    """

    value_ms: float
    std_ms: float
    samples_ms: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The settings of a measurement; two times compare only if all of these are equal.

    Attributes:
      warm_up: runs before the first round, not timed.
      rounds: how often each candidate gets its turn.
      quantile: of the rounds, which is the result: 0 the least, 0.5 the median.
      runs_per_round: the least number of timed runs in a turn; one untimed run brings the caches back before them.
      min_sample_ms: a turn takes at least this long: short networks run more often.
      batch: how many candidates take turns together; more of them are measured batch by batch, on the same scale.
      drift_correction: whether a batch's times are scaled by what the reference took when the scale was set, over what
        it takes now.
      pin: whether the measuring thread is held on one core (the last it may use) meanwhile. Right for runtimes of one
        thread; without effect where the system cannot.
      seed: of the order.

    Raises:
      ValueError: on a setting that leaves nothing to measure.
    """

    warm_up: int = 3
    rounds: int = 30
    quantile: float = 0.1
    runs_per_round: int = 5
    min_sample_ms: float = 1.0
    batch: int = 20
    drift_correction: bool = True
    pin: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"warm_up": 1, "rounds": 1, "runs_per_round": 1, "min_sample_ms": 0, "batch": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"`{name}` must be {bound} or more, got {getattr(self, name)}")
        if not 0 <= self.quantile <= 1:
            raise ValueError(f"`quantile` must be 0 (the least) to 1, got {self.quantile}")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values: part of the key under which a time is stored."""
        return dataclasses.asdict(self)

    def measure(
        self,
        candidates: Mapping[str, Callable[[], Any]],
        *,
        reference: str,
        reference_ms: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Timing]:
        """Times the candidates against each other.

        Args:
          candidates: what to run, by name; a call runs the network once and returns when it is done.
          reference: the name of the candidate that stands for the state of the machine. Its own timing is never
            corrected.
          reference_ms: what the reference took when the scale was set; None sets the scale here.
          progress: called with (rounds done, rounds to do).

        Returns:
          A timing for each candidate, the reference too.

        Raises:
          ValueError: when the reference is no candidate, or the clock sees no time pass.
        """
        if reference not in candidates:
            raise ValueError(f"the reference `{reference}` must be one of the candidates {list(candidates)[:5]}")
        if reference_ms is not None and not (math.isfinite(reference_ms) and reference_ms > 0):
            raise ValueError(f"`reference_ms` must be above 0, got {reference_ms}")
        names = list(candidates)
        calls = [candidates[name] for name in names]
        rng = np.random.default_rng(self.seed)
        with _quiet(self.pin):
            runs = [self._runs(name, call) for name, call in candidates.items()]

            def one_round() -> Float[np.ndarray, " candidates"]:
                times = np.empty(len(calls))
                for i in rng.permutation(len(calls)):
                    calls[i]()
                    times[i] = min(_time_ms(names[i], calls[i]) for _ in range(runs[i]))
                return times

            rows = []
            for done in range(1, self.rounds + 1):
                rows.append(one_round())
                if progress:
                    progress(done, self.rounds)
        times = dict(zip(names, np.stack(rows, 1), strict=True))
        scale = 1.0
        if self.drift_correction and reference_ms is not None:
            scale = reference_ms / float(np.quantile(times[reference], self.quantile))
        return {name: self._timing(row * (1.0 if name == reference else scale)) for name, row in times.items()}

    def _runs(self, name: str, call: Callable[[], Any]) -> int:
        """Warms a candidate up and says how many runs fill a turn."""
        for _ in range(self.warm_up):
            call()
        once = min(_time_ms(name, call) for _ in range(2))
        return max(self.runs_per_round, math.ceil(self.min_sample_ms / once))

    def _timing(self, samples: Float[np.ndarray, " rounds"]) -> Timing:
        spread = 1.4826 * np.median(np.abs(samples - np.median(samples)))
        return Timing(
            value_ms=float(np.quantile(samples, self.quantile)),
            std_ms=float(spread),
            samples_ms=tuple(samples.tolist()),
        )


def _time_ms(name: str, call: Callable[[], Any]) -> float:
    begin = perf_counter_ns()
    call()
    elapsed = (perf_counter_ns() - begin) / 1e6
    if not elapsed > 0:
        raise ValueError(f"`{name}` took {elapsed} ms by the system's clock; is there anything to run in it?")
    return elapsed


@contextmanager
def _quiet(pin: bool) -> Iterator[None]:
    """No garbage collection, and this thread on one core; both are as before afterwards."""
    collecting = gc.isenabled()
    cores = os.sched_getaffinity(0) if pin and hasattr(os, "sched_setaffinity") else None
    gc.disable()
    try:
        if cores:
            os.sched_setaffinity(0, {max(cores)})
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
        if collecting:
            gc.enable()

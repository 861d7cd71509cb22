"""How times are taken: many candidates in turn, in random order, round after round, beside one reference.

Clocks on shared machines drift (1.1-1.9x within minutes) and other processes get in between. So candidates are
interleaved instead of timed one after the other; a turn counts its least run, and a candidate's result is a low
quantile over the rounds (what disturbs a run only ever lengthens it); rounds that were disturbed as a whole are taken
again; and the batch is brought to one scale by the reference network.

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
    0.1 quantile, batch over reference       +1.1 %     3.2 %     0.985    (this protocol, no round redone)

Beside one such process it gives +0.2 %, 1.2 % and 0.995; on a machine in ordinary use, for 80 networks, +0.5 %, 1.6 %
and 0.990. The reference gained nothing here; it is kept for clocks that change for good, as between a run and its going
on later.

Rounds in which the reference stands out are taken again since then. A shared core has phases of seconds in which all
takes 1.2 to 1.6 times as long, each network by a factor of its own, so that no scaling mends them; a batch may lie
within one whole, and only what the reference took before tells. Of 40 pairs of campaigns of 40 networks of 0.04-0.1 ms,
otherwise alone on the machine, 8 had a tau below 0.95 (least 0.68) with ten rounds redone that were 1.5 times the
batch's own best; 1 (0.74) with the settings here, minutes later. `python -m experiments.benchmarks.measurement`
measures it again.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from hardware.measuring.turns import take_turns


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why one network has no number; the others of its campaign have theirs.

    Attributes:
      reason: in one line, with the way out.
    """

    reason: str


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What one candidate took.

    Attributes:
      value_ms: the result: a low quantile of the samples.
      std_ms: the samples' robust spread, `1.4826 * MAD`: the standard deviation where they are normal. It says how
        disturbed the machine was from round to round; two campaigns' results lie nearer to each other.
      samples_ms: one number a round, the least of its runs, on the reference's scale.
      conditions: of the machine meanwhile, as far as its system shows them: `mhz`, `load` and each zone's `celsius` as
        [least, greatest], the `governor`; and how many rounds were `redone`.
    """

    value_ms: float
    std_ms: float
    samples_ms: tuple[float, ...]
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def median_ms(self) -> float:
        """The median of the samples: what is to be expected on the machine as it was, disturbances and all."""
        return float(np.median(self.samples_ms))


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The settings of a measurement; two times compare only if all of these are equal.

    Attributes:
      warm_up: runs before the first round, not timed.
      rounds: how often each candidate gets its turn.
      quantile: of the rounds, which is the result: 0 the least, 0.5 the median.
      runs_per_round: the least number of timed runs in a turn; one untimed run brings the caches back before them.
      min_sample_ms: a turn takes at least this long: short networks run more often.
      redo: how many rounds may be taken again, the most disturbed ones first.
      redo_above: a round is disturbed when the reference took this many times its own low quantile over the rounds, or
        what it took when the scale was set, if that was less.
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
    redo: int = 60
    redo_above: float = 1.1
    batch: int = 20
    drift_correction: bool = True
    pin: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"warm_up": 1, "rounds": 1, "runs_per_round": 1, "min_sample_ms": 0, "redo": 0, "batch": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"`{name}` must be {bound} or more, got {getattr(self, name)}")
        if not 0 <= self.quantile <= 1:
            raise ValueError(f"`quantile` must be 0 (the least) to 1, got {self.quantile}")
        if not self.redo_above > 1:
            raise ValueError(f"`redo_above` must be above 1, got {self.redo_above}; to redo no round, set `redo` to 0")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values: part of the key under which a time is stored."""
        return dataclasses.asdict(self)

    def job(self, reference_ms: float | None) -> dict[str, Any]:
        """The settings as `take_turns` takes them, here or on a board."""
        return {**self.to_dict(), "reference_ms": reference_ms}

    def measure(
        self,
        candidates: Mapping[str, Callable[[], Any]],
        *,
        reference: str,
        reference_ms: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Timing | Failure]:
        """Times the candidates against each other, on this machine.

        Args:
          candidates: what to run, by name; a call runs the network once and returns when it is done.
          reference: the name of the candidate that stands for the state of the machine. Its own timing is never
            corrected.
          reference_ms: what the reference took when the scale was set; None sets the scale here.
          progress: called with (rounds done, rounds to do).

        Returns:
          A timing for each candidate, the reference too; or why there is none.

        Raises:
          ValueError: when the reference is no candidate, or it cannot be timed.
        """
        _check_scale(reference_ms)
        raw = take_turns(candidates, self.job(reference_ms), reference=reference, progress=progress)
        return self.timings(raw, reference=reference, reference_ms=reference_ms)

    def timings(
        self, raw: Mapping[str, Any], *, reference: str, reference_ms: float | None = None
    ) -> dict[str, Timing | Failure]:
        """What `take_turns` returned, here or on a board, as timings; arguments as of `measure`.

        Raises:
          ValueError: when it is nothing that `take_turns` returns, or the reference has no times.
        """
        _check_scale(reference_ms)
        if not isinstance(raw.get("samples_ms"), Mapping) or not isinstance(raw.get("failures", {}), Mapping):
            raise ValueError(f"times came back without `samples_ms` by network, with {sorted(raw)[:5]}")
        times: dict[str, Float[np.ndarray, " rounds"]] = {}
        found: dict[str, Timing | Failure] = {
            name: Failure(reason=str(reason)) for name, reason in raw.get("failures", {}).items()
        }
        for name, samples in raw["samples_ms"].items():
            wrong = self._wrong(samples)
            if wrong is None:
                times[name] = np.array(samples, float)
            else:
                found[name] = Failure(reason=wrong)
        if reference not in times:
            why = found.get(reference)
            raise ValueError(
                f"the reference network has no times: {why.reason if isinstance(why, Failure) else 'it was not run'}"
            )
        scale = 1.0
        if self.drift_correction and reference_ms is not None:
            scale = reference_ms / float(np.quantile(times[reference], self.quantile))
        seen = _seen(raw)
        for name, row in times.items():
            found[name] = self._timing(row * (1.0 if name == reference else scale), seen)
        return found

    def _wrong(self, samples: Any) -> str | None:
        """Why samples are none; None where they are."""
        if not isinstance(samples, Sequence) or len(samples) != self.rounds:
            return f"a time for each of {self.rounds} rounds is needed, got {str(samples)[:60]}"
        bad = [t for t in samples if isinstance(t, bool) or not isinstance(t, int | float) or not 0 < t < math.inf]
        return f"a time must be finite and above 0 ms, got {bad[0]}; measure it again" if bad else None

    def _timing(self, samples: Float[np.ndarray, " rounds"], conditions: Mapping[str, Any]) -> Timing:
        spread = 1.4826 * np.median(np.abs(samples - np.median(samples)))
        return Timing(
            value_ms=float(np.quantile(samples, self.quantile)),
            std_ms=float(spread),
            samples_ms=tuple(samples.tolist()),
            conditions=conditions,
        )


def _check_scale(reference_ms: float | None) -> None:
    if reference_ms is not None and not (math.isfinite(reference_ms) and reference_ms > 0):
        raise ValueError(f"`reference_ms` must be above 0, got {reference_ms}")


def _seen(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The conditions of all rounds in a few words: of numbers the least and the greatest, of words all there were."""
    rounds = [each for each in raw.get("conditions", []) if isinstance(each, Mapping)]
    merged: dict[str, Any] = {}
    for name in ("mhz", "load"):
        values = [each[name] for each in rounds if name in each]
        merged |= {name: [min(values), max(values)]} if values else {}
    zones = dict.fromkeys(zone for each in rounds for zone in each.get("celsius", {}))
    hot = {zone: [each["celsius"][zone] for each in rounds if zone in each.get("celsius", {})] for zone in zones}
    merged |= {"celsius": {zone: [min(values), max(values)] for zone, values in hot.items()}} if hot else {}
    governors = sorted({each["governor"] for each in rounds if "governor" in each})
    merged |= {"governor": ", ".join(governors)} if governors else {}
    return {**merged, "redone": len(raw.get("redone_ms", []))}

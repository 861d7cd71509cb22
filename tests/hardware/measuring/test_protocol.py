"""The protocol on a clock we turn ourselves: what drifts, what is disturbed, what is random."""

import gc
import json
import os

import pytest

from hardware.measuring.protocol import Failure, Protocol
from hardware.measuring.turns import take_turns


class Clock:
    """Time passes only while a candidate runs; the machine's pace may change."""

    def __init__(self):
        self.now_ns, self.pace, self.calls = 0, lambda clock: 1.0, 0
        self.order = []

    def __call__(self):
        return self.now_ns

    def candidate(self, name, ms):
        def run():
            self.calls += 1
            self.order.append(name)
            self.now_ns += round(ms * 1e6 * self.pace(self))

        return run


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("hardware.measuring.turns.perf_counter_ns", clock)
    return clock


def test_a_steady_machine_gives_back_what_the_candidates_take(clock):
    timings = Protocol(rounds=3).measure(
        {"ref": clock.candidate("ref", 1.0), "a": clock.candidate("a", 2.0)}, reference="ref"
    )
    assert timings["a"].value_ms == pytest.approx(2.0)
    assert timings["a"].std_ms == pytest.approx(0.0)
    assert len(timings["a"].samples_ms) == 3


def test_candidates_that_take_turns_drift_together(clock):
    clock.pace = lambda clock: 1 + clock.calls / 1000  # slower and slower
    candidates = {"ref": clock.candidate("ref", 1.0), "a": clock.candidate("a", 2.0)}
    timings = Protocol(rounds=20).measure(candidates, reference="ref")
    # 250 calls: the pace falls by a quarter, but the two stand only a turn (6 calls) apart.
    assert timings["a"].samples_ms[-1] > 1.2 * timings["a"].samples_ms[0]
    assert timings["a"].value_ms / timings["ref"].value_ms == pytest.approx(2.0, rel=0.012)


def test_the_scale_can_be_set_from_outside(clock):
    candidates = {"ref": clock.candidate("ref", 2.0), "a": clock.candidate("a", 4.0)}  # a machine at half its pace
    timings = Protocol(rounds=3).measure(candidates, reference="ref", reference_ms=1.0)
    assert timings["a"].value_ms == pytest.approx(2.0)
    assert timings["ref"].value_ms == pytest.approx(2.0)  # the reference itself is told as it was
    raw = Protocol(rounds=3, drift_correction=False).measure(candidates, reference="ref", reference_ms=1.0)
    assert raw["a"].value_ms == pytest.approx(4.0)


def test_disturbed_runs_and_rounds_do_not_count(clock):
    # Every third run of all and most rounds (after the first 60 calls) are disturbed; the result is not.
    clock.pace = lambda clock: (3.0 if clock.calls % 3 == 0 else 1.0) * (5.0 if clock.calls > 60 else 1.0)
    candidates = {"ref": clock.candidate("ref", 1.0), "a": clock.candidate("a", 2.0)}
    timing = Protocol(rounds=20).measure(candidates, reference="ref")["a"]
    assert timing.value_ms == pytest.approx(2.0)
    assert max(timing.samples_ms) == pytest.approx(10.0)
    clock.calls = 0
    median = Protocol(rounds=20, quantile=0.5).measure(candidates, reference="ref")["a"]
    assert median.value_ms == pytest.approx(10.0)


def test_short_networks_run_more_often(clock):
    candidates = {"ref": clock.candidate("ref", 1.0), "short": clock.candidate("short", 0.05)}
    Protocol(rounds=1, warm_up=1, runs_per_round=5, min_sample_ms=1.0).measure(candidates, reference="ref")
    # warm-up 1, counting 2, one to bring the caches back, then 5 for the reference and 1 / 0.05 = 20 for the short one
    assert clock.order.count("ref") == 4 + 5
    assert clock.order.count("short") == 4 + 20


def test_the_order_is_random_and_the_seed_gives_it_again(clock):
    def order(seed):
        clock.order.clear()
        candidates = {name: clock.candidate(name, 1.0) for name in "abcdefgh"}
        Protocol(rounds=2, warm_up=1, runs_per_round=1, seed=seed).measure(candidates, reference="a")
        return "".join(clock.order)

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_the_process_is_left_as_it_was(clock):
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    seen = []

    def run():
        clock.now_ns += 1000
        seen.append((gc.isenabled(), cores and len(os.sched_getaffinity(0))))

    Protocol(rounds=1).measure({"ref": run}, reference="ref")
    assert set(seen) == {(False, cores and 1)}
    assert gc.isenabled()
    assert cores is None or os.sched_getaffinity(0) == cores


def test_nothing_to_measure_is_refused(clock):
    with pytest.raises(ValueError, match=r"took 0\.0 ms"):
        Protocol().measure({"ref": lambda: None}, reference="ref")
    with pytest.raises(ValueError, match="reference `b` must be one of"):
        Protocol().measure({"a": clock.candidate("a", 1.0)}, reference="b")
    with pytest.raises(ValueError, match="`reference_ms` must be above 0"):
        Protocol().measure({"a": clock.candidate("a", 1.0)}, reference="a", reference_ms=0.0)
    for setting in ({"rounds": 0}, {"warm_up": 0}, {"batch": 0}, {"quantile": 1.5}):
        with pytest.raises(ValueError, match=f"`{next(iter(setting))}` must be"):
            Protocol(**setting)


def test_times_that_a_board_sends_are_read_as_those_taken_here(clock):
    candidates = {"ref": clock.candidate("ref", 1.0), "a": clock.candidate("a", 2.0)}
    protocol = Protocol(rounds=4)
    raw = take_turns(candidates, protocol.to_dict(), reference="ref")
    sent = json.loads(json.dumps(raw))
    there = protocol.timings(sent, reference="ref", reference_ms=0.5)
    assert there["a"].value_ms == pytest.approx(1.0)
    here = protocol.measure(candidates, reference="ref", reference_ms=0.5)
    assert there["a"].samples_ms == here["a"].samples_ms


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([1.0, float("nan"), 1.0], "a time must be finite and above 0 ms, got nan"),
        ([1.0, 0.0, 1.0], "got 0.0"),
        ([1.0, -1.0, 1.0], "got -1.0"),
        ([1.0, float("inf"), 1.0], "got inf"),
        ([1.0, True, 1.0], "got True"),
        ([1.0, "2", 1.0], "got 2"),
        ([1.0, 1.0], "a time for each of 3 rounds is needed"),
        (None, "a time for each of 3 rounds is needed, got None"),
    ],
)
def test_times_that_are_none_are_refused_network_by_network(samples, said):
    raw = {"samples_ms": {"ref": [1.0, 1.0, 1.0], "a": samples, "b": [2, 2, 2]}, "failures": {"c": "it broke"}}
    found = Protocol(rounds=3).timings(raw, reference="ref")
    assert said in found["a"].reason
    assert "\n" not in found["a"].reason
    assert found["c"] == Failure(reason="it broke")
    assert found["b"].value_ms == 2.0
    with pytest.raises(ValueError, match="the reference network has no times: a time"):
        Protocol(rounds=3).timings(raw, reference="a")
    with pytest.raises(ValueError, match="the reference network has no times: it was not run"):
        Protocol(rounds=3).timings(raw, reference="d")
    with pytest.raises(ValueError, match="without `samples_ms` by network, with \\['error'\\]"):
        Protocol(rounds=3).timings({"error": 1}, reference="ref")


def test_a_timing_tells_median_spread_and_what_the_machine_was_like():
    raw = {
        "samples_ms": {"ref": [1.0, 2.0, 3.0, 4.0, 10.0]},
        "redone_ms": [20.0],
        "conditions": [
            {"mhz": 1800.0, "load": 0.5, "celsius": {"cpu": 50.0}, "governor": "ondemand"},
            {"mhz": 1500.0, "load": 0.7, "celsius": {"cpu": 61.0, "gpu": 40.0}, "governor": "performance"},
            {},
        ],
    }
    timing = Protocol(rounds=5, quantile=0.25).timings(raw, reference="ref")["ref"]
    assert (timing.value_ms, timing.median_ms) == (2.0, 3.0)
    assert timing.std_ms == pytest.approx(1.4826)  # deviations from 3: 2, 1, 0, 1, 7; their median is 1
    assert timing.conditions == {
        "mhz": [1500.0, 1800.0],
        "load": [0.5, 0.7],
        "celsius": {"cpu": [50.0, 61.0], "gpu": [40.0, 40.0]},
        "governor": "ondemand, performance",
        "redone": 1,
    }


def test_only_rounds_that_stand_out_can_be_redone():
    with pytest.raises(ValueError, match=r"`redo_above` must be above 1, got 1\.0; to redo no round, set `redo` to 0"):
        Protocol(redo_above=1.0)
    with pytest.raises(ValueError, match="`redo` must be 0 or more"):
        Protocol(redo=-1)

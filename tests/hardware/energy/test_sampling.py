"""Energy from samples: the integral is that of straight lines, gaps and missing samples are said."""

import time

import pytest

from hardware.energy.meter import Recording
from hardware.energy.sampling import Sampler, joules_between, sampled, widest_gap


def test_power_between_samples_goes_straight():
    # 1 W at 0 s, 3 W at 2 s, 3 W at 4 s. From 1 to 3 s: 2 W rises to 3 W within a second, 2.5 J; then 3 J
    assert joules_between([0.0, 2.0, 4.0], [1.0, 3.0, 3.0], 1.0, 3.0) == pytest.approx(5.5)
    # Beyond the samples it stays as at the ends: 1 W for 1 s, 4 J + 6 J, 3 W for 2 s
    assert joules_between([0.0, 2.0, 4.0], [1.0, 3.0, 3.0], -1.0, 6.0) == pytest.approx(17.0)


def test_the_widest_gap_reaches_over_the_ends():
    assert widest_gap([0.0, 1.0, 4.0], 0.5, 2.0) == 3.0  # nothing between 1 and 4, though the window ends at 2
    assert widest_gap([1.0, 2.0], 0.0, 4.5) == 2.5  # none from 2 to the end


def test_samples_and_gaps(clock):
    powers = iter([2.0, 4.0, 6.0])
    sampler, recording = Sampler("meter", lambda: next(powers)), Recording()
    for wait in (0.1, 0.1, 0.8):
        sampler.sample()
        clock.sleep(wait)
    sampler.fill(recording, begin=100.0, end=101.0, period_s=0.1)
    # 2 to 4 W and 4 to 6 W in 0.1 s each: 0.3 + 0.5 J; 6 W for the 0.8 s without samples: 4.8 J
    assert recording.joules == pytest.approx(5.6)
    assert recording.seconds == pytest.approx(1.0)
    assert recording.flaws == ("no sample for 0.8 s, where one is due every 0.1 s",)


def test_missing_samples_are_said_and_too_many_are_refused(clock):
    answers = iter([1.0, ValueError("an empty file"), 3.0, *[OSError("I2C is busy")] * 2])

    def read():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    sampler, recording = Sampler("meter", read), Recording()
    for _ in range(3):
        sampler.sample()
        clock.sleep(0.1)
    sampler.fill(recording, begin=100.0, end=100.2, period_s=0.1)
    assert recording.joules == pytest.approx(0.4)  # from 1 W at 0 s to 3 W at 0.2 s
    assert recording.flaws == ("1 of 3 samples could not be read",)
    sampler.sample()
    sampler.sample()
    with pytest.raises(ValueError, match="meter gave 2 of 5 samples: I2C is busy; `energy_mj` remains, modelled"):
        sampler.fill(recording, begin=100.0, end=100.2, period_s=0.1)


def test_a_thread_samples_while_the_block_runs():
    count = 0

    def read():
        nonlocal count
        count += 1
        return 5.0

    with sampled("meter", read, 0.001) as recording:
        until = time.monotonic() + 30
        while count < 3 and time.monotonic() < until:
            time.sleep(0.001)
    assert recording.joules == pytest.approx(5.0 * recording.seconds)  # whenever the samples came
    assert count > 3  # one before, two and more within, one after
    assert recording.seconds > 0
    stopped = count
    time.sleep(0.01)
    assert count == stopped


def test_the_thread_ends_with_a_block_that_fails():
    count = 0

    def read():
        nonlocal count
        count += 1
        return 5.0

    with pytest.raises(RuntimeError, match="network"), sampled("meter", read, 0.001):
        raise RuntimeError("the network failed")
    stopped = count
    time.sleep(0.01)
    assert count == stopped

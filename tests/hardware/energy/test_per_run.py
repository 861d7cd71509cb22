"""Energy of one run from windows, by the clock of the tests and a meter whose power is known."""

from contextlib import contextmanager
from typing import Any

import pytest

from hardware.energy.meter import Meter, Recording
from hardware.energy.per_run import energy_per_run


class Bench:
    """A board that draws `rest_w`, more while a network runs, and ever more as it warms up."""

    name = "bench"

    def __init__(self, clock, rest_w=2.0, run_w=5.0, run_s=0.03, warming_w_per_s=0.0, flaws=()):
        self.clock, self.rest_w, self.run_w, self.run_s = clock, rest_w, run_w, run_s
        self.warming, self.flaws, self.extra, self.calls = warming_w_per_s, flaws, 0.0, 0

    def check(self):
        pass

    def call(self):
        self.calls += 1
        self.extra += (self.run_w - self.rest_w) * self.run_s
        self.clock.sleep(self.run_s)

    @contextmanager
    def recording(self):
        recording, begin, self.extra = Recording(), self.clock(), 0.0
        yield recording
        recording.seconds = self.clock() - begin
        middle = (begin + self.clock()) / 2 - 100.0
        recording.joules = (self.rest_w + self.warming * middle) * recording.seconds + self.extra
        recording.flaws = tuple(self.flaws)


def test_gross_and_net(clock):
    bench = Bench(clock)
    assert isinstance(bench, Meter)
    energy = energy_per_run(bench, bench.call, idle_s=1.0, window_s=0.3, repeats=3, warm_up=2)
    # 5 W for 0.03 s are 150 mJ; without the 2 W at rest 90 mJ
    assert energy.value_mj == energy.gross_mj == pytest.approx(150.0)
    assert energy.net_mj == pytest.approx(90.0)
    assert energy.idle_w == pytest.approx(2.0)
    assert energy.std_mj == pytest.approx(0.0, abs=1e-9)
    assert (energy.net, energy.meter, energy.flaws) == (False, "bench", ())
    assert len(energy.samples_mj) == 3
    assert all(0.3 <= runs * 0.03 < 0.3 + 2 * 0.03 for runs in energy.runs)  # the last run is finished
    assert bench.calls == 2 + sum(energy.runs)
    net = energy_per_run(bench, bench.call, idle_s=1.0, window_s=0.3, repeats=3, net=True)
    assert (net.value_mj, net.net) == (pytest.approx(90.0), True)


def test_a_network_longer_than_its_window_runs_once(clock):
    bench = Bench(clock, run_s=2.0)
    energy = energy_per_run(bench, bench.call, window_s=0.5, repeats=1, warm_up=0)
    assert energy.runs == (1,)
    assert energy.value_mj == pytest.approx(10_000.0)


def test_a_board_that_warms_up_does_not_count_as_work(clock):
    # 0.5 W more each second: rest before and after a window average to what the window draws besides
    bench = Bench(clock, warming_w_per_s=0.5)
    energy = energy_per_run(bench, bench.call, idle_s=1.0, window_s=0.3, repeats=5, net=True)
    assert energy.samples_mj == pytest.approx([90.0] * 5)
    assert energy.gross_mj > 150.0


def test_the_spread_is_that_of_the_windows(clock):
    energies = iter([1.0, 100.0, 1.0, 110.0, 1.0, 160.0, 1.0])  # J in windows of 10 runs, between rests of 1 J

    class Varying(Bench):
        @contextmanager
        def recording(self):
            recording, begin = Recording(), self.clock()
            yield recording
            recording.seconds, recording.joules = self.clock() - begin, next(energies)

    bench = Varying(clock, run_s=0.1)
    energy = energy_per_run(bench, bench.call, idle_s=1.0, window_s=0.95, repeats=3)
    assert energy.samples_mj == pytest.approx([10_000.0, 11_000.0, 16_000.0])
    assert energy.value_mj == pytest.approx(11_000.0)
    assert energy.std_mj == pytest.approx(1482.6)  # deviations 1000, 0, 5000: their median, 1.4826 times


def test_flaws_are_handed_on_once(clock):
    bench = Bench(clock, run_w=2.0, flaws=["a gap"])
    energy = energy_per_run(bench, bench.call, window_s=0.1, repeats=2)
    assert energy.flaws == ("a gap", "running drew no more than resting: the net energy is lost in the noise")


def test_what_cannot_be_measured_is_refused(clock):
    dead = Bench(clock, rest_w=0.0, run_w=0.0)
    with pytest.raises(ValueError, match="bench saw no energy drawn"):
        energy_per_run(dead, dead.call, window_s=0.1, repeats=1)
    for name, value in {"idle_s": 0.0, "window_s": -1.0, "repeats": 0, "warm_up": -1}.items():
        settings: dict[str, Any] = {name: value}
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            energy_per_run(dead, dead.call, **settings)

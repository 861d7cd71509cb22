"""The timing loop, as boards run it: what is disturbed is taken again, what fails drops out, what is seen is told."""

import ast
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hardware.measuring import turns
from hardware.measuring.turns import conditions, quantile, take_turns

SETTINGS = {
    **{"warm_up": 1, "rounds": 5, "quantile": 0.1, "runs_per_round": 1, "min_sample_ms": 0.0},
    **{"redo": 2, "redo_above": 1.5, "pin": False, "seed": 0},
}
BEFORE = 1 + 2  # calls of each before the first round: warm-up, and two that count how many runs fill a turn


class Machine:
    """Time passes only while a call runs: the turns of `ref` take 1 ms, or what `slow` says for a round."""

    def __init__(self, slow=()):
        self.now_ns, self.refs, self.slow = 0, 0, dict(slow)

    def ref(self):
        rounds = (self.refs - BEFORE) // 2  # a turn is two calls: one for the caches, one timed
        self.refs += 1
        self.now_ns += round(1e6 * self.slow.get(rounds, 1.0))

    def other(self):
        self.now_ns += 2_000_000


@pytest.fixture
def machine(monkeypatch):
    def make(slow=()):
        machine = Machine(slow)
        monkeypatch.setattr(turns, "perf_counter_ns", lambda: machine.now_ns)
        return machine

    return make


def test_a_disturbed_round_is_taken_again_by_all(machine):
    here = machine({1: 3.0, 3: 1.4})
    raw = take_turns({"ref": here.ref, "other": here.other}, SETTINGS, reference="ref")
    assert raw["redone_ms"] == [3.0]
    assert raw["samples_ms"]["ref"] == [1.0, 1.0, 1.4, 1.0, 1.0]  # 1.4 is within 1.5 times the low quantile
    assert raw["samples_ms"]["other"] == [2.0] * 5
    assert here.refs == BEFORE + 2 * 6


def test_rounds_are_taken_again_the_worst_first_and_not_for_ever(machine):
    here = machine({0: 2.0, 1: 4.0, 2: 3.0, 3: 5.0})
    raw = take_turns({"ref": here.ref}, SETTINGS, reference="ref")
    assert raw["redone_ms"] == [5.0, 4.0]  # `redo` is 2; then 2.0 and 3.0 stay
    assert raw["samples_ms"]["ref"] == [2.0, 3.0, 1.0, 1.0, 1.0]
    here = machine(dict.fromkeys(range(3, 100), 2.0))  # slower for good: no round is odd for long
    raw = take_turns({"ref": here.ref}, {**SETTINGS, "redo": 4}, reference="ref")
    assert len(raw["redone_ms"]) == 4
    assert raw["samples_ms"]["ref"] == [1.0, 1.0, 1.0, 2.0, 2.0]
    assert take_turns({"ref": machine({1: 9.0}).ref}, {**SETTINGS, "redo": 0}, reference="ref")["redone_ms"] == []


def test_a_batch_that_is_disturbed_from_its_first_round_on_is_known_by_what_the_reference_takes(machine):
    slow = dict.fromkeys(range(6), 1.3)  # all five rounds and one more: nothing stands out among them
    settings = {**SETTINGS, "redo": 9, "redo_above": 1.1}
    raw = take_turns({"ref": machine(slow).ref}, settings, reference="ref")
    assert (raw["redone_ms"], raw["samples_ms"]["ref"]) == ([], [1.3] * 5)
    raw = take_turns({"ref": machine(slow).ref}, {**settings, "reference_ms": 1.0}, reference="ref")
    assert (raw["redone_ms"], raw["samples_ms"]["ref"]) == ([1.3] * 6, [1.0] * 5)
    raw = take_turns({"ref": machine(slow).ref}, {**settings, "reference_ms": None}, reference="ref")
    assert raw["redone_ms"] == []


def test_each_round_has_an_order_of_its_own_that_the_seed_gives_again(machine):
    def orders(seed):
        here = machine()
        calls = {"ref": here.ref, **dict.fromkeys("abcdefg", here.other)}
        return take_turns(calls, {**SETTINGS, "seed": seed}, reference="ref")["order"]

    assert orders(0) == orders(0) != orders(1)
    assert len(set(map(tuple, orders(0)))) == 5
    assert all(sorted(order) == ["a", "b", "c", "d", "e", "f", "g", "ref"] for order in orders(0))


def test_what_fails_drops_out_and_the_others_go_on(machine):
    here = machine()
    calls = {"ref": here.ref, "other": here.other, "still": lambda: None, "early": lambda: 1 / 0}
    left = [9]

    def late():
        here.now_ns += 1
        left[0] -= 1
        if not left[0]:
            raise MemoryError("no room\nleft")

    raw = take_turns({**calls, "late": late}, SETTINGS, reference="ref")
    assert set(raw["samples_ms"]) == {"ref", "other"}
    assert raw["failures"] == {
        "still": "it took 0.0 ms by the system's clock; is there anything to run in it?",
        "early": "ZeroDivisionError: division by zero",
        "late": "MemoryError: no room left",
    }
    assert set(raw["order"][0]) == {"ref", "other", "late"}
    assert set(raw["order"][-1]) == {"ref", "other"}
    with pytest.raises(ValueError, match="the reference network cannot be timed: ZeroDivisionError"):
        take_turns(calls, SETTINGS, reference="early")


def test_all_of_it_goes_through_json(machine):
    here, seen = machine({2: 4.0}), []
    raw = take_turns(
        {"ref": here.ref, "other": here.other}, SETTINGS, reference="ref", progress=lambda *done: seen.append(done)
    )
    assert json.loads(json.dumps(raw, allow_nan=False)) == raw
    assert len(raw["conditions"]) == 5
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5), (5, 5)]  # the last is the one taken again


def test_the_quantile_is_numpys():
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 10, 30):
        values = rng.normal(size=size).tolist()
        for share in (0.0, 0.1, 0.25, 0.5, 1.0):
            assert quantile(values, share) == pytest.approx(np.quantile(values, share), rel=1e-12)


def put(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def test_a_raspberry_pi_shows_clock_governor_temperature_and_load(tmp_path):
    root = put(
        tmp_path,
        {
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
            "sys/devices/system/cpu/cpu3/cpufreq/scaling_cur_freq": "1800000\n",
            "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor": "ondemand\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "48312\n",
            "proc/loadavg": "0.52 0.58 0.59 1/389 2047\n",
            "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\n",
        },
    )
    assert conditions(root, core=3) == {
        "mhz": pytest.approx(1800.0),
        "governor": "ondemand",
        "celsius": {"cpu-thermal": pytest.approx(48.312)},
        "load": 0.52,
    }
    assert conditions(root)["mhz"] == pytest.approx(1500.0)


def test_a_virtual_machine_shows_less_and_an_unreadable_sensor_nothing(tmp_path):
    root = put(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\ncpu MHz\t\t: 2596.150\nprocessor\t: 1\ncpu MHz\t\t: 3000.5\n",
            "proc/loadavg": "spoilt\n",
            "sys/class/thermal/thermal_zone0/temp": "",  # a sensor that is asleep
            "sys/class/thermal/thermal_zone1/temp": "50000",
            "sys/class/thermal/thermal_zone1/type": "soc",
            "sys/class/thermal/thermal_zone2/temp": "60000",
            "sys/class/thermal/thermal_zone2/type": "soc",  # two of a name
        },
    )
    assert conditions(root, core=1) == {"mhz": 3000.5, "celsius": {"soc": 50.0, "soc 2": 60.0}}
    assert conditions(str(tmp_path / "nothing")) == {}


def test_it_needs_nothing_but_python():
    tree = ast.parse(Path(turns.__file__).read_text(), feature_version=(3, 9))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names

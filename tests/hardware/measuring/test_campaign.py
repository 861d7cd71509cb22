"""Campaigns on boards that go away and come back, and beside meters: what came is kept, what didn't says why."""

import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from hardware.energy import per_run
from hardware.energy.meter import Recording
from hardware.export.weights import random_weights
from hardware.measuring.campaign import measure_networks, reference_network
from hardware.measuring.energies import Windows
from hardware.measuring.layers_json import layers_from_json, network_key
from hardware.measuring.protocol import Failure, Protocol
from hardware.measuring.store import MeasurementStore
from hardware.runtimes.artifact import Artifact
from hardware.target import Target
from search_spaces.graph import Graph
from search_spaces.layers import total_macs

PROTOCOL = Protocol(rounds=2, batch=2)


@dataclass(frozen=True, kw_only=True)
class Writer:
    """A runtime whose files say how long their network runs: a millisecond for a thousand multiplications."""

    threads: int = 1
    version: str = "writer 1"
    precisions: tuple[str, ...] = ("fp32",)
    clock: list = field(default_factory=lambda: [0.0])

    def prepare(self, layers, weights, precision="fp32", calibration=None):
        ms = total_macs(layers) / 1000
        return Artifact(content=str(ms).encode(), format="txt", precision=precision, input_shape=layers[0].shape)

    def run(self, artifact, images):
        return np.zeros((1, 1))

    def ready(self, artifact):
        def call():
            self.clock[0] += float(artifact.content) / 1e3

        return call


class Board:
    """Answers batch by batch: True measures, a text says why the batch was lost, `gone` fails it as boards may."""

    threads = 1

    def __init__(self, *answers, gone=()):
        self.answers, self.gone, self.seen = list(answers), gone, []

    def host(self):
        return "a board"

    def version(self):
        return "writer 2"

    def measure(self, artifacts, protocol, *, reference, reference_ms=None, progress=None):
        self.seen.append(len(artifacts) - 1)
        answer = self.answers.pop(0) if self.answers else True
        if answer in self.gone:
            return dict.fromkeys(artifacts, Failure(reason=answer))
        if answer is not True:
            raise ValueError(answer)
        raw = {"samples_ms": {name: [float(a.content)] * protocol.rounds for name, a in artifacts.items()}}
        return protocol.timings(json.loads(json.dumps(raw)), reference=reference, reference_ms=reference_ms)


def target(board):
    return Target(name="far", precision="fp32", runtime=Writer(), board=board, protocol=PROTOCOL)


def network(width):
    graph = Graph((10, 10, 1))
    graph.conv(0, width, "a", kernel=1)
    layers = tuple(graph.layers)
    return layers, random_weights(layers)  # 100 * width multiplications: 0.1 ms for each of its width


NETWORKS = {f"n{width}": network(width) for width in range(1, 9)}


@pytest.fixture
def store(tmp_path):
    return MeasurementStore(path=tmp_path / "m.sqlite")


@pytest.mark.parametrize("gone", [(), ("the cable is out",)])
def test_a_board_that_goes_away_is_tried_twice_and_what_came_is_kept(store, gone):
    board, seen = Board(True, "the cable is out", "the cable is out", gone=gone), []
    found = measure_networks(target(board), NETWORKS, store, campaign="a", progress=lambda *done: seen.append(done))
    assert board.seen == [2, 2, 2]  # of four batches
    assert {name: cost.value for name, cost in found.costs.items()} == pytest.approx({"n1": 0.1, "n2": 0.2})
    assert set(found.failures) == {"n3", "n4", "n5", "n6", "n7", "n8"}
    assert "the cable is out" in found.failures["n3"].reason
    assert found.failures["n8"].reason == (
        "not measured, as 2 batches before it were lost (the cable is out); run it again to go on"
    )
    assert seen == [(0, 8), (2, 8), (4, 8), (6, 8), (8, 8)]
    # and when it is back, what is missing is measured
    again = Board()
    found = measure_networks(target(again), NETWORKS, store, campaign="a")
    assert again.seen == [2, 2, 2]
    assert not found.failures
    assert found.costs["n8"].value == pytest.approx(0.8)


def test_one_lost_batch_does_not_end_a_campaign(store):
    found = measure_networks(target(Board("a hiccup")), NETWORKS, store, campaign="a")
    assert set(found.failures) == {"n1", "n2"}
    assert found.failures["n1"].reason == "not measured: a hiccup"


def test_where_nothing_at_all_came_the_reason_is_an_error(store):
    board = Board("no route to it", "no route to it")
    with pytest.raises(ValueError, match="no route to it"):
        measure_networks(target(board), NETWORKS, store, campaign="a")
    assert board.seen == [2, 2]
    assert store.count() == 0


def test_rows_say_all_that_they_hang_on(store):
    measure_networks(target(Board()), {"n3": network(3)}, store, campaign="a")
    reference, row = store.rows()
    assert {reference.key.network, row.key.network} == {network_key(reference_network()), network_key(network(3)[0])}
    row = store.rows(campaign="a")[1 if row.key.network == network_key(network(3)[0]) else 0]
    assert (row.key.host, row.key.runtime, row.key.target) == ("a board", "writer 2", "far")
    assert layers_from_json(row.layers)[1].shape == (10, 10, 3)
    assert Protocol(**json.loads(row.settings)) == PROTOCOL
    assert row.conditions == {"redone": 0}


@dataclass(kw_only=True)
class Watts:
    """A meter of a machine that draws 2 W at rest and 5 W while it runs; its clock is turned by what runs."""

    clock: list
    name: str = "watts"
    broken: str = ""
    after: int = 10**6

    def check(self):
        if self.broken:
            raise ValueError(self.broken)

    @contextmanager
    def recording(self):
        begin, recording = self.clock[0], Recording()
        resting = self.clock[1]
        yield recording
        recording.seconds = self.clock[0] - begin
        rested = self.clock[1] - resting
        recording.joules = 5.0 * (recording.seconds - rested) + 2.0 * rested
        self.after -= 1
        if self.after < 0:
            raise ValueError("the meter fell off")


@pytest.fixture
def metered(monkeypatch):
    """A target on this machine whose networks turn the clock, and its meter."""
    clock = [0.0, 0.0]  # all the time, and that spent resting

    def sleep(seconds):
        clock[0] += seconds
        clock[1] += seconds

    monkeypatch.setattr(per_run, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(per_run, "sleep", sleep)
    monkeypatch.setattr("hardware.measuring.turns.perf_counter_ns", lambda: round(clock[0] * 1e9))
    runtime = Writer(clock=clock)
    return Target(name="near", precision="fp32", runtime=runtime, protocol=PROTOCOL, meter=Watts(clock=clock))


def test_energies_are_measured_beside_times_and_kept(store, metered):
    seen = []
    networks = {"n5": network(5), "n8": network(8), "twin": network(5)}
    found = measure_networks(metered, networks, store, campaign="a", progress=lambda *done: seen.append(done))
    # 0.5 ms at 5 W are 2.5 mJ, what is drawn at rest included
    assert {n: cost.value for n, cost in found.energies.items()} == pytest.approx({"n5": 2.5, "n8": 4.0, "twin": 2.5})
    assert {(c.name, c.unit, c.kind, c.target) for c in found.energies.values()} == {
        ("energy_mj", "mJ", "measured", "near")
    }
    assert found.costs["n5"].value == pytest.approx(0.5)
    assert seen == [(0, 6), (3, 6), (5, 6), (6, 6)]
    row = store.rows(metric="energy_mj")[0]
    assert json.loads(row.settings)["meter"] == "watts"
    assert row.conditions["idle_w"] == pytest.approx(2.0)
    assert row.conditions["net_mj"] == pytest.approx(1.5)  # 0.5 ms at 3 W more than at rest
    assert layers_from_json(row.layers)[1].shape == (10, 10, 5)

    before, metered.runtime.clock[0] = store.rows(), 0.0
    assert measure_networks(metered, networks, store, campaign="b") == found  # from the store
    assert metered.runtime.clock[0] == 0.0
    assert store.rows() == before


def test_energies_of_other_windows_or_meters_are_other_rows(store, metered):
    networks = {"n5": network(5)}
    measure_networks(metered, networks, store, campaign="a")
    found = measure_networks(metered, networks, store, campaign="a", windows=Windows(net=True))
    assert found.energies["n5"].value == pytest.approx(1.5)
    other = replace(metered, meter=Watts(clock=metered.runtime.clock, name="volts"))
    measure_networks(other, networks, store, campaign="a")
    assert len(store.rows(metric="energy_mj")) == 3
    assert len(store.rows(metric="latency_ms")) == 2  # the network and the reference, once


def test_a_meter_that_cannot_be_read_is_said_before_anything_is_measured(store, metered):
    broken = replace(metered, meter=Watts(clock=metered.runtime.clock, broken="no counter is there"))
    with pytest.raises(ValueError, match="no counter is there"):
        measure_networks(broken, {"n5": network(5)}, store, campaign="a")
    assert store.count() == 0


def test_a_meter_that_fails_leaves_the_times(store, metered):
    failing = replace(metered, meter=Watts(clock=metered.runtime.clock, after=15))  # 11 recordings an energy
    found = measure_networks(failing, {"n5": network(5), "n8": network(8)}, store, campaign="a")
    assert set(found.costs) == {"n5", "n8"}
    assert set(found.energies) == {"n5"}
    assert found.energy_failures == {"n8": Failure(reason="the meter fell off")}
    found = measure_networks(metered, {"n5": network(5), "n8": network(8)}, store, campaign="a")
    assert found.energies["n8"].value == pytest.approx(4.0)


def test_without_a_meter_energy_is_modelled_and_none_is_measured(store):
    found = measure_networks(target(Board()), {"n5": network(5)}, store, campaign="a")
    assert (found.energies, found.energy_failures) == ({}, {})


def test_a_meter_here_says_nothing_of_a_board_there(metered):
    with pytest.raises(ValueError, match="a meter reads what this machine draws, but the board would run the networks"):
        replace(metered, board=Board())

"""Targets in whole: what they model, what they measure, and what they take from the store."""

import dataclasses

import pytest

from experiments.build import build
from experiments.options import tree
from hardware.costs.memory import flash_bytes, peak_bytes
from hardware.export.weights import random_weights
from hardware.measuring.campaign import measure_networks, reference_network
from hardware.measuring.protocol import Protocol
from hardware.measuring.store import MeasurementStore
from hardware.runtimes.onnx_runtime import OnnxRuntime
from hardware.target import Target
from search_spaces.graph import Graph

HOST = Target(
    name="host_cpu",
    precision="fp32",
    runtime=OnnxRuntime(),
    protocol=Protocol(rounds=2, warm_up=1, runs_per_round=1, min_sample_ms=0.01, batch=2),
)
BOARD = Target(name="board", precision="int8", sram_bytes=1000)


def network(width):
    graph = Graph((8, 8, 3))
    x = graph.activation(graph.norm(graph.conv(0, width, "a", kernel=3), "a_norm", 1e-5), "relu")
    graph.dense(graph.global_pool(x), 2, "head")
    layers = tuple(graph.layers)
    return layers, random_weights(layers)


@pytest.fixture
def store(tmp_path):
    return MeasurementStore(path=tmp_path / "m.sqlite")


@pytest.fixture
def timed(monkeypatch):
    """The candidates of each batch that was really timed, the reference left out."""
    batches = []
    measure = Protocol.measure

    def counted(self, candidates, **settings):
        batches.append(len(candidates) - 1)
        return measure(self, candidates, **settings)

    monkeypatch.setattr(Protocol, "measure", counted)
    return batches


def test_bytes_are_counted_for_every_target():
    layers, _ = network(4)
    for target, size in ((HOST, "fp32"), (BOARD, "int8")):
        costs = target.modelled(layers)
        assert set(costs) == {"peak_bytes", "flash_bytes"}
        assert costs["peak_bytes"].value == peak_bytes(layers, size)
        assert costs["flash_bytes"].value == flash_bytes(layers, size)
        assert {(c.kind, c.target, c.std, c.unit) for c in costs.values()} == {("modelled", target.name, None, "bytes")}
    assert (HOST.limits, BOARD.limits) == ({}, {"peak_bytes": 1000})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slope:
    """A latency model that knows how wrong it is."""

    relative_std: float | None = 0.25

    def latency_ms(self, device, layers, precision, threads):
        return 8.0


def test_what_a_model_knows_of_its_error_is_the_costs_spread():
    layers, _ = network(4)
    pi = build(tree("target", "raspberry_pi_4"))
    costs = dataclasses.replace(pi, latency_model=Slope()).modelled(layers)
    assert (costs["latency_ms"].value, costs["latency_ms"].std) == (8.0, 2.0)
    assert costs["energy_mj"].std is None  # how wrong the powers are besides, nobody knows
    assert costs["peak_bytes"].std is None
    for unsure in (build(tree("target", "stm32h743")), dataclasses.replace(pi, latency_model=Slope(relative_std=None))):
        costs = unsure.modelled(layers)
        assert (costs["latency_ms"].std, costs["energy_mj"].std) == (None, None)


def test_networks_are_measured_once_batch_by_batch(store, timed):
    networks = {f"n{width}": network(width) for width in (2, 3, 4)} | {"twin": network(2)}
    seen = []
    costs = measure_networks(HOST, networks, store, campaign="a", progress=lambda *done: seen.append(done)).costs
    assert timed == [2, 1]  # the twin is not measured
    assert seen == [(0, 4), (3, 4), (4, 4)]
    assert costs["twin"].value == costs["n2"].value > 0
    assert {(c.name, c.unit, c.kind, c.target) for c in costs.values()} == {
        ("latency_ms", "ms", "measured", "host_cpu")
    }
    assert store.count() == 3 + 1  # and the reference

    assert measure_networks(HOST, networks, store, campaign="b").costs == costs  # any campaign's row will do
    assert timed == [2, 1]


def test_a_repeat_measures_again_and_leaves_the_first_alone(store, timed):
    networks = {"n": network(2)}
    first = measure_networks(HOST, networks, store, campaign="a", reuse=False)
    measure_networks(HOST, networks, store, campaign="b", reuse=False)
    assert timed == [1, 1]
    assert measure_networks(HOST, networks, store, campaign="a", reuse=False) == first
    assert measure_networks(HOST, networks, store, campaign="c", reuse=True) == first
    assert timed == [1, 1]


def test_a_killed_run_goes_on_where_it_stood(store, timed):
    networks = {f"n{width}": network(width) for width in (2, 3, 4, 5)}

    class KilledError(Exception):
        pass

    def kill(done, asked):
        if done >= 2:
            raise KilledError

    with pytest.raises(KilledError):
        measure_networks(HOST, networks, store, campaign="a", progress=kill)
    scale = store.get(HOST.key(reference_network()))
    measure_networks(HOST, networks, store, campaign="a")
    assert timed == [2, 2]
    assert store.get(HOST.key(reference_network())) == scale  # later batches are brought to the first one's scale


def test_later_batches_are_on_the_scale_of_the_first(store, monkeypatch):
    scales = []
    measure = Protocol.measure

    def spy(self, candidates, **settings):
        scales.append(settings["reference_ms"])
        return measure(self, candidates, **settings)

    monkeypatch.setattr(Protocol, "measure", spy)
    measure_networks(HOST, {f"n{w}": network(w) for w in (2, 3, 4)}, store, campaign="a")
    stored = store.get(HOST.key(reference_network())).value
    assert scales == [None, stored]


def test_what_cannot_be_measured_says_why(store):
    with pytest.raises(ValueError, match="target `board` has no runtime"):
        measure_networks(BOARD, {"n": network(2)}, store, campaign="a")
    layers, weights = network(2)
    del weights["head.bias"]
    found = measure_networks(HOST, {"n": (layers, weights), "whole": network(3)}, store, campaign="a")
    assert "1 missing ['head.bias']" in found.failures["n"].reason
    assert set(found.costs) == {"whole"}  # the others of the campaign have theirs
    assert not BOARD.measurable
    assert HOST.measurable


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": None}, "go together"),
        ({"precision": "w4a8"}, "`precision` must be one of"),
        ({"threads": 2}, "`threads` must be the target's 2"),
    ],
)
def test_targets_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(HOST, **changes)

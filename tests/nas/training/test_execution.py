"""`auto` takes what is sooner done, and says on what grounds."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import nas.training.execution as execution
from nas.training import Trainer, train
from nas.training.bands import bands
from nas.training.execution import SAMPLES, blocks_of, settle, share_of_largest
from search_spaces.layers import total_macs
from search_spaces.ofa_mobilenet import OfaMobileNet, OfaStage
from search_spaces.space import largest, smallest


@pytest.fixture
def auto(space, settings, data):
    return Trainer(space, replace(settings, execution="auto"), data)


def settled(monkeypatch, trainer, whole, seconds):
    """The decision where each way takes so many seconds: (to compile for the steps that are timed, a step)."""
    monkeypatch.setattr(execution, "_timed", lambda trainer, way, *given: seconds[way])
    return settle(trainer, whole[0][0], jax.random.key(0))


def test_where_compiles_cost_more_than_can_be_won_nothing_sliced_is_tried(monkeypatch, auto, whole):
    # 40 steps of 1 ms: 40 ms at the most to win; a masked compile of 4 s is 1 s a block
    decision = settled(monkeypatch, auto, whole, {"masked": (4.0, 0.001)})
    assert decision.execution == "masked"
    assert "sliced could win 0 s at the most" in decision.reason
    assert decision.sliced_step_s is None
    assert decision.steps == 40


@pytest.mark.parametrize(("sliced", "chosen"), [(0.5, "sliced"), (1.5, "masked")])
def test_the_way_that_is_sooner_done_is_taken(monkeypatch, auto, whole, sliced, chosen):
    # 40 steps of 1 s masked, after a compile of 4 s; the sliced way's compiles take no time here
    decision = settled(monkeypatch, auto, whole, {"masked": (4.0, 1.0), "sliced": (0.0, sliced)})
    assert decision.execution == chosen
    assert (decision.masked_step_s, decision.masked_compile_s, decision.sliced_step_s) == (1.0, 4.0, sliced)
    assert decision.to_dict()["reason"].startswith("40 steps would take 40 s masked,")


RESOLVING = OfaMobileNet(
    image_channels=1,
    classes=10,
    resolutions=(6, 7, 8),
    stem_channels=8,
    first_channels=8,
    stages=(OfaStage(width=8),),
    depths=(1,),
    kernels=(3,),
    expansions=(2, 3),
    head_channels=8,
    mix_channels=8,
)


@pytest.fixture
def resolving(settings, data):
    """A trainer, and a key of which the steps that are timed meet two of three resolutions."""
    trainer = Trainer(RESOLVING, replace(settings, execution="auto"), data)
    key = jax.random.key(0)
    archs, _ = trainer.draw(key, key, 0, SAMPLES)
    assert len(set(archs[:, 0, 0].tolist())) == 2
    return trainer, trainer.init(jax.random.key(0)), key


@pytest.mark.slow  # two compiles
def test_masked_steps_of_several_resolutions_are_timed_when_each_is_compiled(resolving, monkeypatch):
    trainer, state, key = resolving
    step, traces = trainer.step, []

    def counted(*given):
        done = step(*given)
        traces.append(trainer.traces)
        return done

    monkeypatch.setattr(trainer, "step", counted)
    monkeypatch.setattr(execution, "share_of_largest", lambda *given: 1.0)  # nothing to win by less to compute
    decision = settle(trainer, state, key)
    assert traces[SAMPLES - 1 :] == [2] * (SAMPLES + 1)  # the second time around nothing is compiled
    assert len(traces) == 2 * SAMPLES
    assert decision.masked_programs == 1
    assert decision.masked_step_s > 0


@pytest.mark.parametrize(("sliced", "chosen"), [(1.2, "sliced"), (1.3, "masked")])
def test_resolutions_that_are_yet_to_be_compiled_count(resolving, monkeypatch, sliced, chosen):
    # 40 steps of 1 s, and 10 s for the third resolution, as for each of the two that were met: 50 s. 40 x 1.2 s = 48 s
    trainer, state, key = resolving
    monkeypatch.setattr(execution, "share_of_largest", lambda *given: -1e9)  # as if all could be won
    seconds = {"masked": (20.0, 1.0), "sliced": (0.0, sliced)}
    monkeypatch.setattr(execution, "_timed", lambda trainer, way, *given: seconds[way])
    decision = settle(trainer, state, key)
    assert decision.execution == chosen
    assert (decision.masked_compile_s, decision.masked_programs) == (10.0, 1)
    assert decision.reason.startswith("40 steps would take 50 s masked,")


def test_what_sliced_cannot_do_is_masked_unmeasured(space, settings, data, whole):
    decision = settle(
        Trainer(space, replace(settings, execution="auto", remat=True), data), whole[0][0], jax.random.key(0)
    )
    assert (decision.execution, decision.reason) == ("masked", "remat run masked")
    decision = settle(Trainer(space, replace(settings, execution="sliced"), data), whole[0][0], jax.random.key(0))
    assert (decision.execution, decision.reason) == ("sliced", "as set")


def test_a_few_steps_are_not_worth_measuring(space, settings, data, whole):
    trainer = Trainer(space, replace(settings, execution="auto", epochs=4), data)
    late = whole[0][0]._replace(step=np.int32(36))
    assert settle(trainer, late, jax.random.key(0)).reason == "too few steps to measure anything"


@pytest.mark.slow
def test_both_ways_are_measured_and_train_alike(space, settings, data, whole, monkeypatch):
    monkeypatch.setattr(execution, "share_of_largest", lambda *given: -1e9)  # as if all could be won
    trainer = Trainer(space, replace(settings, execution="auto"), data)
    start = trainer.place(whole[0][0])
    decision = settle(trainer, start, jax.random.key(0))
    assert decision.execution in ("masked", "sliced")
    assert decision.sliced_step_s > 0
    assert decision.masked_step_s > 0
    blocks, _ = blocks_of(space, (8, 8, 1))
    assert 0 <= decision.sliced_blocks <= blocks
    np.testing.assert_array_equal(start.step, 0)  # what was timed was a copy
    trainer.execution = "sliced"
    losses = []
    train(trainer, start, jax.random.key(1), after_epoch=lambda epoch, loss, state: losses.append(loss))
    np.testing.assert_allclose(losses[0], whole[1][0], atol=1e-3)  # the two ways round differently, and drift
    assert losses[-1] < losses[0] - 0.1
    assert trainer.engines["sliced"].sliced.compiles["gradient"] <= blocks


def test_a_networks_share_is_that_of_its_macs(space):
    both = np.stack([smallest(space), largest(space)])
    small, large = (total_macs(space.layers(arch)) for arch in both)
    assert np.isclose(share_of_largest(space, both), (small / large + 1) / 2)


def test_bands_are_the_ends_and_what_is_between(space):
    class Judgement:
        def __init__(self, arch):
            self.val_error, self.val_loss = float(arch.sum()), 2.0 * float(arch.sum())

    seen = []

    def judge(network, arch):
        seen.append(arch)
        return Judgement(arch)

    found = bands(judge, None, space, jax.random.key(0))
    assert found["smallest/val_error"] == 0
    assert found["largest/val_error"] == largest(space).sum()
    between = [arch.sum() for arch in seen[1:-1]]
    assert np.isclose(found["sampled/val_error"], np.mean(between))
    assert np.isclose(found["sampled/val_loss"], 2 * np.mean(between))
    assert len(between) == 4

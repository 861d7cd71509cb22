"""A training is its key: it can be repeated, stopped and resumed bit for bit; a loss that is not finite ends it."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas.training import NotFiniteError, Trainer, fine_tune, train
from nas.training.loop import LATE


def nothing(epoch, loss, state):
    pass


def test_one_key_gives_one_training(trainer, whole, same):
    start = trainer.init(jax.random.key(0))
    assert same(start, whole[0][0])
    again = train(trainer, start, jax.random.key(1), after_epoch=nothing)
    assert same(again, whole[0][4])
    assert int(again.step) == 4 * 10  # 200 images in batches of 20
    assert trainer.traces == 1


def test_another_key_gives_another_training(trainer, whole, same):
    other = train(trainer, whole[0][0], jax.random.key(2), after_epoch=nothing)
    assert not same(other.params, whole[0][4].params)


def test_the_loss_falls(whole):
    losses = whole[1]
    assert losses[0] < 2.8  # ten classes begin near ln 10 = 2.30 nats
    assert losses[-1] < losses[0] - 0.1


def test_a_loss_that_is_not_finite_ends_the_training_at_that_step(trainer, whole):
    broken = whole[0][2]._replace(params=jax.tree.map(lambda x: x * np.nan, whole[0][2].params))
    saved = []
    with pytest.raises(NotFiniteError) as error:
        train(trainer, broken, jax.random.key(1), after_epoch=lambda *given: saved.append(given))
    # two epochs of ten steps are done
    assert re.fullmatch(
        r"the loss is nan at step 21 \(epoch 3\), training \[[0-9, ]+\]; lower training.learning_rate \(now 0.02\)",
        str(error.value),
    )
    assert error.value.step == 20
    assert not saved


def test_a_loss_that_is_not_finite_in_fine_tuning_says_what_and_names_its_own_setting(trainer, whole):
    broken = jax.tree.map(lambda x: x * np.nan, whole[0][4].params)
    with pytest.raises(NotFiniteError) as error:
        fine_tune(trainer, broken, jax.random.key(0), np.zeros(6, np.int32), 1, 0.03)
    assert str(error.value) == (
        "the loss is nan at step 1 (epoch 1), fine-tuning [0, 0, 0, 0, 0, 0]; lower fine_tune.learning_rate (now 0.03)"
    )


def test_the_bad_step_is_named_exactly(trainer, whole, monkeypatch):
    """A loss is looked at some steps late, but the step that is named is the first bad one."""
    step, taken = trainer.step, []

    def poisoned(state, *given):
        state, loss = step(state, *given)
        taken.append(len(taken))
        if len(taken) == 5:
            state = state._replace(params=jax.tree.map(lambda x: x * np.inf, state.params))
        return state, loss

    monkeypatch.setattr(trainer, "step", poisoned)
    with pytest.raises(NotFiniteError, match=r"at step 6 \(epoch 1\)"):
        train(trainer, trainer.init(jax.random.key(0)), jax.random.key(1), after_epoch=nothing)
    assert len(taken) == 6 + LATE
    assert trainer.traces == 1


def test_a_gradient_that_is_not_finite_is_a_bad_loss(trainer, whole):
    """Here the loss itself is sound: the square root of a batch variance of 0 is, its derivative is not."""
    gradients = jax.tree.map(np.zeros_like, whole[0][1].params)
    gradients = jax.tree.map(lambda x: np.full_like(x, np.inf), gradients)
    update = jax.jit(trainer._updated)
    _, loss = update(trainer.place(whole[0][1]), jnp.float32(1.5), gradients, jnp.float32(1e-3))
    assert np.isnan(loss)


def test_a_training_does_not_go_on_under_another_key(trainer, whole):
    with pytest.raises(ValueError, match=r"runs on the key \[0, 1\], so it can't go on with \[0, 2\]; give the same"):
        train(trainer, whole[0][2], jax.random.key(2), after_epoch=nothing)


@pytest.mark.parametrize("at", [3, 17, 30])
def test_a_training_goes_on_from_any_step(trainer, whole, kept, same, at):
    """Steps 3 and 17 are inside epochs of ten steps."""
    found, losses = {}, []
    inside = Trainer(trainer.space, replace(trainer.settings, checkpoint_steps=1), trainer.data)
    inside._fused = trainer._fused  # compiled already

    def keep(state):
        found[int(state.step)] = kept(state)

    def keep_epoch(epoch, loss, state):
        keep(state)

    train(inside, inside.init(jax.random.key(0)), jax.random.key(1), after_epoch=keep_epoch, after_steps=keep)
    assert sorted(found) == list(range(1, 41))
    end = train(trainer, found[at], jax.random.key(1), after_epoch=lambda epoch, loss, state: losses.append(loss))
    assert same(end, whole[0][4])
    assert losses == whole[1][at // 10 :]


def test_fine_tuning_moves_one_architecture_only(trainer, whole, same):
    params = whole[0][4].params
    tuned = fine_tune(trainer, params, jax.random.key(0), np.zeros(6, np.int32), 1, 1e-2)
    assert same(trainer.network(tuned).blocks[2], trainer.network(params).blocks[2])
    assert not same(trainer.network(tuned).blocks[-1], trainer.network(params).blocks[-1])
    assert trainer.traces == 1

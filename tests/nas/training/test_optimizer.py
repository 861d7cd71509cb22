"""Schedules are those of their papers, and what a step did not sample stays as it is."""

import itertools
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nas.training import Trainer, Training, only_sampled
from nas.training.optimizer import learning_rates, optimizer_of


def adam(learn=lambda inner: inner):
    return learn(optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(0.1)))


def test_what_a_step_did_not_sample_stays_bit_for_bit(same):
    params = {"used": jnp.array([1.0, 2.0]), "half": jnp.array([3.0, 4.0]), "unused": jnp.array([5.0])}
    first = jax.tree.map(jnp.ones_like, params)
    second = {"used": jnp.array([1.0, -1.0]), "half": jnp.array([2.0, 0.0]), "unused": jnp.array([0.0])}
    sampled = {"used": [True, True], "half": [True, False], "unused": [False]}

    def stepped(optimizer):
        updates, state = optimizer.update(first, optimizer.init(params), params)
        before = optax.apply_updates(params, updates), state[0].mu, state[0].nu
        updates, state = optimizer.update(second, state, before[0])
        return before, (optax.apply_updates(before[0], updates), state[0].mu, state[0].nu)

    (kept_before, kept_after), (before, after) = stepped(adam(only_sampled)), stepped(adam())
    assert same(kept_before, before)  # in the first step everything is sampled: no difference
    for kept_old, kept_new, new in zip(kept_before, kept_after, after, strict=True):
        for name, is_sampled in sampled.items():
            for i, moves in enumerate(is_sampled):
                if moves:  # as plain optax moves it
                    assert kept_new[name][i] == new[name][i] != kept_old[name][i]
                else:  # plain optax moves it, by momentum and decay
                    assert kept_new[name][i] == kept_old[name][i] != new[name][i]


def test_a_step_of_the_smallest_network_leaves_the_rest_of_the_supernet_alone(trainer, whole, same):
    before = whole[0][2]
    images, labels = trainer.data.train.images[:20], trainer.data.train.labels[:20]
    smallest, largest = jnp.zeros(6, jnp.int32), jnp.array([1, 1, 0, 1, 0, 1], jnp.int32)
    after, _ = trainer.step(trainer.place(before), jax.random.key(0), smallest, images, labels, 1e-2)
    adam_before, adam_after = before.optimizer[1][0], after.optimizer[1][0]
    assert int(adam_after.count) == int(adam_before.count) + 1
    network = lambda params: trainer.network(params).blocks  # noqa: E731
    for old, new in (
        (before.params, after.params),
        (adam_before.mu, adam_after.mu),
        (adam_before.nu, adam_after.nu),
    ):
        # Of the two blocks behind the stem the second is absent; the first has eight of its sixteen hidden channels.
        assert same(network(old)[2], network(new)[2])
        old_weight, new_weight = (np.asarray(network(params)[1].expand.weight[...]) for params in (old, new))
        assert np.array_equal(old_weight[..., 8:], new_weight[..., 8:])
        assert (old_weight[..., :8] != new_weight[..., :8]).mean() > 0.9
    after, _ = trainer.step(trainer.place(before), jax.random.key(0), largest, images, labels, 1e-2)
    assert not same(network(before.params)[2], network(after.params)[2])
    assert trainer.traces == 1


def test_the_learning_rate_rises_and_falls_as_a_cosine(trainer):
    # 40 steps with a peak of 0.02, warm-up over 10 % = 4 steps: 1/4, 2/4, 3/4, 4/4 of the peak, then a cosine over the
    # other 36: half way down at step 4 + 18, and cos(pi 35/36) at the last
    rates = [trainer.learning_rate(step) for step in range(40)]
    assert np.allclose(rates[:5], [0.005, 0.01, 0.015, 0.02, 0.02])
    assert math.isclose(rates[22], 0.01, rel_tol=1e-6)
    assert math.isclose(rates[39], 0.01 * (1 + math.cos(math.pi * 35 / 36)), rel_tol=1e-4)
    assert all(a >= b for a, b in itertools.pairwise(rates[4:]))
    # of another length and height, as fine-tuning asks: 10 steps, one of them rising
    assert np.allclose(
        [trainer.learning_rate(step, 10, 1.0) for step in (0, 1, 9)], [1, 1, 0.5 * (1 + math.cos(math.pi * 8 / 9))]
    )


def test_the_other_schedules():
    # 12 steps, two of them rising: then level, or 10 equal steps down to zero after the last
    constant = learning_rates(Training(schedule="constant", warm_up=0.2), 12, 1.0)
    assert np.allclose(constant, [0.5, *[1.0] * 11])
    linear = learning_rates(Training(schedule="linear", warm_up=0.2), 12, 1.0)
    assert np.allclose(linear, [0.5, 1, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], atol=1e-6)


def test_sgd_is_pytorchs_with_nesterov_and_decay():
    # torch.optim.SGD: d = g + 0.1 p; b = 0.9 b + d; step d + 0.9 b. p = 2, g = 1: d = b = 1.2, so 1.2 + 1.08 = 2.28.
    # Then with p = 2 - 0.1 * 2.28 = 1.772, g = 1: d = 1.1772, b = 2.2572, step 1.1772 + 2.03148 = 3.20868
    optimizer = optimizer_of(Training(optimizer="sgd", momentum=0.9, weight_decay=0.1, clip_norm=9.0))
    params, gradient = jnp.array([2.0]), jnp.array([1.0])
    first, state = optimizer.update(gradient, optimizer.init(params), params)
    second, _ = optimizer.update(gradient, state, params - 0.1 * first)
    assert np.allclose([first[0], second[0]], [2.28, 3.20868])


def test_a_long_gradient_is_clipped():
    settings = Training(optimizer="sgd", momentum=0.0, weight_decay=0.0, clip_norm=1.0)
    optimizer, params = optimizer_of(settings), jnp.zeros(2)
    update, _ = optimizer.update(jnp.array([3.0, 4.0]), optimizer.init(params), params)
    assert np.allclose(update, [0.6, 0.8])  # its norm was 5


def test_unsampled_parameters_move_where_they_may():
    params, zero = jnp.ones(2), jnp.array([0.0, 1.0])
    for keep, moved in ((True, 0.0), (False, 0.1)):  # decay alone: 0.1 times the value
        optimizer = optimizer_of(Training(keep_unsampled=keep, weight_decay=0.1))
        update, _ = optimizer.update(zero, optimizer.init(params), params)
        assert np.isclose(update[0], moved)
        assert update[1] > 0.5


@pytest.mark.slow
def test_the_moving_average_follows_the_parameters(space, settings, data):
    trainer = Trainer(space, replace(settings, ema=0.15), data)
    state = trainer.init(jax.random.key(0))
    average = jax.tree.map(np.array, state.params)
    for step in range(3):
        images, labels = data.train.images[:20], data.train.labels[:20]
        state, _ = trainer.step(state, jax.random.key(step), np.zeros(6, np.int32), images, labels, 1e-2)
        decay = min(0.15, (1 + step) / (10 + step))  # 0.1, then 0.15
        average = jax.tree.map(lambda old, new, d=decay: d * old + (1 - d) * np.asarray(new), average, state.params)
    for found, expected in zip(jax.tree.leaves(trainer.weights(state)), jax.tree.leaves(average), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (state.params, state.ema)), strict=True))

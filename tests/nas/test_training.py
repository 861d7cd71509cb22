"""A training is its key: it can be repeated, stopped and resumed bit for bit, and moves only what it samples."""

import itertools
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from nas.checkpoint import Checkpoints
from nas.data.dataset import Split
from nas.data.digits import Digits
from nas.training import Trainer, Training, batches, fine_tune, moved, only_sampled, train
from search_spaces.mobile import Mobile, Stage

SPACE = Mobile(
    image_size=8,
    stages=(Stage(widths=(8, 16), depths=(1, 2)),),
    kernels=(3,),
    expansions=(1, 2),
    head_channels=16,
)
SETTINGS = Training(epochs=4, batch=20, learning_rate=2e-2, shift=1)


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    """What is tested does not hang on the compiler's optimisations, which take most of its time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def trainer():
    return Trainer(SPACE, SETTINGS, Digits(image_size=8, limit=200).load())


@pytest.fixture(scope="module")
def whole(trainer):
    """A training from begin to end: its state after each epoch, by the number of epochs done, and the losses."""
    states, losses = {0: trainer.init(jax.random.key(0))}, []

    def keep(epoch, loss, state):
        states[epoch] = state
        losses.append(loss)

    train(trainer, states[0], jax.random.key(1), after_epoch=keep)
    return states, losses


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def nothing(epoch, loss, state):
    pass


# Repeat, stop, resume


def test_one_key_gives_one_training(trainer, whole):
    start = trainer.init(jax.random.key(0))
    assert same(start, whole[0][0])
    again = train(trainer, start, jax.random.key(1), after_epoch=nothing)
    assert same(again, whole[0][4])
    assert int(again.step) == 4 * 10  # 200 images in batches of 20
    assert trainer.traces == 1


def test_another_key_gives_another_training(trainer, whole):
    other = train(trainer, whole[0][0], jax.random.key(2), after_epoch=nothing)
    assert not same(other.params, whole[0][4].params)


def test_the_loss_falls(whole):
    losses = whole[1]
    assert losses[0] < 2.8  # ten classes begin near ln 10 = 2.30 nats
    assert losses[-1] < losses[0] - 0.15


@pytest.mark.slow
def test_a_training_goes_on_from_a_checkpoint_as_if_never_stopped(trainer, whole, tmp_path):
    states, _ = whole
    with Checkpoints(tmp_path / "a") as checkpoints:
        assert checkpoints.latest() is None
        for epoch in (1, 2):
            checkpoints.save(epoch, states[epoch])
    with Checkpoints(tmp_path / "a") as checkpoints:
        assert checkpoints.latest() == 2
        restored = checkpoints.restore(states[0])
    assert same(restored, states[2])
    epochs = []
    done = train(trainer, restored, jax.random.key(1), after_epoch=lambda epoch, loss, state: epochs.append(epoch))
    assert epochs == [3, 4]
    assert same(done, states[4])


def test_the_last_two_checkpoints_are_kept(whole, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for epoch in (1, 2, 3):
            checkpoints.save(epoch, whole[0][epoch])
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.isdigit()) == ["2", "3"]


@pytest.mark.parametrize("damage", ["truncate", "overwrite", "remove"])
def test_a_damaged_checkpoint_is_refused_in_one_line(whole, tmp_path, damage):
    states, _ = whole
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(2, states[2])
    files = [path for path in (tmp_path / "2").rglob("*") if path.is_file()]
    assert files
    for path in files:
        if damage == "truncate":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        elif damage == "overwrite":
            path.write_bytes(b"\x00" * path.stat().st_size)
        else:
            path.unlink()
    with (
        pytest.raises(ValueError, match=r"damaged or of another space|no checkpoint") as error,
        Checkpoints(tmp_path) as checkpoints,
    ):
        checkpoints.restore(states[0])
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    "other",
    [replace(SPACE, head_channels=24), replace(SPACE, stages=(Stage(widths=(8, 16), depths=(1, 3)),))],
    ids=["another shape", "another block"],
)
def test_a_checkpoint_of_another_space_is_refused(trainer, whole, tmp_path, other):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, whole[0][1])
        shapes = nnx.split(nnx.eval_shape(lambda: other.supernet(jax.random.key(0))))[1]
        params = jax.tree.map(lambda like: jnp.zeros(like.shape, like.dtype), shapes)
        with pytest.raises(ValueError, match="damaged or of another space") as error:
            checkpoints.restore(trainer.restart(params))
    assert "\n" not in str(error.value)


def test_without_a_checkpoint_it_says_so(whole, tmp_path):
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(ValueError, match=r"no checkpoint in .*name a run"):
        checkpoints.restore(whole[0][0])


# What a step moves


def adam(learn=lambda inner: inner):
    return learn(optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(0.1)))


def test_what_a_step_did_not_sample_stays_bit_for_bit():
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


def test_a_step_of_the_smallest_network_leaves_the_rest_of_the_supernet_alone(trainer, whole):
    before = whole[0][2]
    images, labels = trainer.data.train.images[:20], trainer.data.train.labels[:20]
    smallest, largest = jnp.zeros(6, jnp.int32), jnp.array([1, 1, 0, 1, 0, 1], jnp.int32)
    after, _ = trainer.step(before, jax.random.key(0), smallest, images, labels, 1e-2)
    adam_before, adam_after = before.optimizer[1][0], after.optimizer[1][0]
    assert int(adam_after.count) == int(adam_before.count) + 1
    network = lambda params: trainer.network(params).blocks  # noqa: E731
    for old, new in (
        (before.params, after.params),
        (adam_before.mu, adam_after.mu),
        (adam_before.nu, adam_after.nu),
    ):
        # Block 2 is absent; of block 1, eight of sixteen hidden channels are there.
        assert same(network(old)[1], network(new)[1])
        old_weight, new_weight = (np.asarray(network(params)[0].expand.weight[...]) for params in (old, new))
        assert np.array_equal(old_weight[..., 8:], new_weight[..., 8:])
        assert (old_weight[..., :8] != new_weight[..., :8]).mean() > 0.9
    after, _ = trainer.step(before, jax.random.key(0), largest, images, labels, 1e-2)
    assert not same(network(before.params)[1], network(after.params)[1])
    assert trainer.traces == 1


def test_fine_tuning_moves_one_architecture_only(trainer, whole):
    params = whole[0][4].params
    tuned = fine_tune(trainer, params, jax.random.key(0), np.zeros(6, np.int32), 1, 1e-2)
    assert same(trainer.network(tuned).blocks[1], trainer.network(params).blocks[1])
    assert not same(trainer.network(tuned).head, trainer.network(params).head)
    assert trainer.traces == 1


def test_a_loss_that_is_not_finite_ends_the_training(trainer, whole):
    broken = whole[0][2]._replace(params=jax.tree.map(lambda x: x * jnp.nan, whole[0][2].params))
    with pytest.raises(FloatingPointError, match=r"the loss is nan in epoch 3; lower training.learning_rate .*0.02"):
        train(trainer, broken, jax.random.key(1), after_epoch=nothing)


# Schedule and data


def test_the_learning_rate_rises_and_falls_as_a_cosine(trainer):
    # 40 steps with a peak of 0.02, warm-up over 10 % = 4 steps: 1/4, 2/4, 3/4, 4/4 of the peak, then a cosine over the
    # other 36: half way down at step 4 + 18, and cos(pi 35/36) at the last
    rates = [trainer.learning_rate(step) for step in range(40)]
    assert np.allclose(rates[:5], [0.005, 0.01, 0.015, 0.02, 0.02])
    assert math.isclose(rates[22], 0.01)
    assert math.isclose(rates[39], 0.01 * (1 + math.cos(math.pi * 35 / 36)))
    assert all(a >= b for a, b in itertools.pairwise(rates[4:]))
    # of another length and height, as fine-tuning asks: 10 steps, one of them rising
    assert np.allclose(
        [trainer.learning_rate(step, 10, 1.0) for step in (0, 1, 9)], [1, 1, 0.5 * (1 + math.cos(math.pi * 8 / 9))]
    )


def test_images_move_by_up_to_the_shift(key):
    images = np.arange(150 * 4 * 4).reshape(150, 4, 4, 1) % 251
    images = images.astype(np.uint8)
    assert np.array_equal(moved(key, images, 0), images)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    seen = set()
    for image, around in zip(np.asarray(moved(key, images, 1)), padded, strict=True):
        places = [(i, j) for i in range(3) for j in range(3) if np.array_equal(around[i : i + 4, j : j + 4], image)]
        assert len(places) == 1
        seen.update(places)
    assert seen == {(i, j) for i in range(3) for j in range(3)}  # 150 images, nine places


def test_an_epoch_sees_each_image_at_most_once(key):
    split = Split(images=np.arange(11, dtype=np.uint8).reshape(11, 1, 1, 1), labels=np.arange(11, dtype=np.int32))
    epochs = [list(batches(key, split, 3, epoch)) for epoch in (0, 0, 1)]
    orders = [np.concatenate([labels for _, labels in epoch]) for epoch in epochs]
    for epoch, order in zip(epochs, orders, strict=True):
        assert [len(labels) for _, labels in epoch] == [3, 3, 3]  # two images wait for the next epoch
        assert len(set(order.tolist())) == 9
        assert all(np.array_equal(images.ravel(), labels) for images, labels in epoch)
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


# Settings


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("epochs", 0),
        ("batch", 0),
        ("shift", -1),
        ("checkpoint_every", 0),
        ("learning_rate", 0.0),
        ("clip_norm", -1.0),
        ("warm_up", 1.0),
        ("label_smoothing", -0.1),
        ("weight_decay", -0.1),
    ],
)
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(ValueError, match=f"`training.{setting}` must .*got {value}") as error:
        Training(**{setting: value})
    assert "\n" not in str(error.value)


def test_a_batch_larger_than_the_data_is_refused(trainer):
    with pytest.raises(ValueError, match=r"`training.batch` is 500, .* only 200 .*did you mean training.batch=200\?"):
        Trainer(SPACE, Training(batch=500), trainer.data)

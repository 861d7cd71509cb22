"""A step that updates only what its architecture uses does what a step that goes over all parameters does."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas.data.dataset import Dataset, Split
from nas.training import Trainer, Training
from nas.training.devices import everywhere
from nas.training.losses import Lesson
from nas.training.sliced_update import SlicedUpdate
from search_spaces import EXAMPLES
from search_spaces.derived.sampling import sample
from search_spaces.layers import Input
from search_spaces.reading import Cut
from search_spaces.space import largest

BATCH = 4


def noise(space):
    """Noise with labels, in the space's shape."""
    layers, rng = space.layers(largest(space)), np.random.default_rng(0)
    assert isinstance(layers[0], Input)
    shape, classes = layers[0].shape, layers[-1].shape[-1]
    labels = rng.integers(0, classes, BATCH).astype(np.int32)
    split = Split(images=rng.integers(0, 256, (BATCH, *shape)).astype(np.uint8), labels=labels)
    return Dataset(
        name="noise",
        class_names=tuple(map(str, range(classes))),
        train=split,
        val=split,
        test=split,
        mean=(0.5,) * shape[-1],
        std=(0.3,) * shape[-1],
        native_size=shape[0],
        native_max=255,
        resample="none",
        fingerprint="",
    )


def wide(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def used(network, read):
    """Which parameters an architecture's own ones are made of, by the gradient of a random sum of these."""
    rng = np.random.default_rng(1)

    def mixed(net):
        return sum((leaf * rng.uniform(1, 2, leaf.shape)).sum() for leaf in jax.tree.leaves(net.cut(read)))

    return [np.asarray(leaf) != 0 for leaf in jax.tree.leaves(jax.jit(jax.grad(mixed))(network))]


@pytest.mark.slow  # compiles each space's blocks
@pytest.mark.parametrize("space", EXAMPLES, ids=lambda space: type(space).__name__)
def test_what_is_used_is_updated_as_in_a_step_over_all_parameters(space, kept):
    """In float64, by both optimizers, clipped and not; what is not used keeps its bits."""
    data = noise(space)
    archs = np.unique([*np.asarray(sample(jax.random.key(2), space, 4)), largest(space)], axis=0)[:3]
    lessons = np.random.default_rng(3).normal(size=(len(archs), BATCH, *data.train.images.shape[1:]))
    rate = np.float32(0.1)
    with jax.enable_x64(True):
        trainers = [
            Trainer(space, Training(epochs=3, batch=BATCH, execution="sliced", optimizer=name, clip_norm=clip), data)
            for name, clip in (("sgd", 1e-3), ("adamw", 1e9))
        ]
        params = wide(trainers[0].init(jax.random.key(0)).params)
        targets = jax.nn.one_hot(data.train.labels, len(data.class_names), dtype=jnp.float64)
        engine = trainers[0].sliced  # compiled once for both
        for trainer in trainers:
            update = SlicedUpdate(engine.sliced, trainer.settings, trainer.per_epoch, everywhere(trainer.mesh))
            whole, part = trainer.restart(params), trainer.restart(params)
            for arch, images in zip(archs, lessons, strict=True):
                lesson = Lesson(jnp.asarray(images), targets, None)
                row = engine(whole.params, arch, lesson, None, 0.0)
                whole, expected = trainer._finish(whole, np.float32(1), (row.loss, row.gradients), rate)

                before = kept(part)
                reads = used(trainer.network(part.params), Cut.of(space.choices, arch))
                loss, gradients = engine.parts(part.params, arch, lesson)
                part, loss = update(part, loss, gradients, rate)
                np.testing.assert_allclose(loss, expected, rtol=1e-6)
                assert jax.tree.structure(part) == jax.tree.structure(whole)
                for a, b in zip(jax.tree.leaves(part), jax.tree.leaves(whole), strict=True):
                    assert a.dtype == b.dtype
                    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 if a.dtype == jnp.float64 else 1e-6)
                trees = [(before.params, part.params)]
                trees += list(zip(like_params(before), like_params(part), strict=True))
                moved = 0
                for old, new in trees:
                    for a, b, on in zip(jax.tree.leaves(old), jax.tree.leaves(new), reads, strict=True):
                        assert np.array_equal(a[~on], np.asarray(b)[~on])
                        moved += (a != np.asarray(b)).sum()
                assert moved > 100


def like_params(state):
    """The parts of an optimizer's state that are like the parameters."""
    structure = jax.tree.structure(state.params)
    is_like = lambda node: jax.tree.structure(node) == structure  # noqa: E731
    return [node for node in jax.tree.leaves(state.optimizer, is_leaf=is_like) if is_like(node)]


@pytest.fixture(scope="module")
def sliced(space, settings, data):
    return Trainer(space, replace(settings, execution="sliced"), data)


@pytest.fixture(scope="module")
def archs(space):
    return np.unique(np.asarray(sample(jax.random.key(2), space, 6)), axis=0)


def steps(trainer, state, archs, images):
    losses = []
    for i, arch in enumerate(archs):
        state, loss = trainer.step(state, jax.random.key(i), arch, images, trainer.data.train.labels[:20], 0.01)
        losses.append(float(loss))
    return state, losses


@pytest.mark.slow
def test_training_steps_are_the_same_and_compile_each_block_once(sliced, settings, space, data, archs, whole, caplog):
    general = Trainer(space, replace(settings, execution="sliced"), data)
    general.sliced_update = None
    images = data.train.images[:20]
    expected, expected_losses = steps(general, general.restart(whole[0][0].params), archs, images)
    state, losses = steps(sliced, sliced.restart(whole[0][0].params), archs, images)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    engine, update = sliced.sliced.sliced, sliced.sliced_update
    compiled = dict(engine.compiles), update.compiles
    assert 0 < update.compiles <= compiled[0]["gradient"]
    with jax.log_compiles():
        steps(sliced, state, archs, images)
    assert (engine.compiles, update.compiles) == compiled
    assert not [record.message for record in caplog.records if "Compiling" in record.message]


@pytest.mark.slow
def test_the_state_is_used_up_and_written_in_its_own_memory(sliced, space, archs, whole):
    state = sliced.restart(whole[0][0].params)
    old = jax.tree.leaves((state.params, state.optimizer))
    before = [leaf.unsafe_buffer_pointer() for leaf in old]
    state, _ = steps(sliced, state, archs[:1], sliced.data.train.images[:20])
    new = jax.tree.leaves((state.params, state.optimizer))
    written = [leaf.is_deleted() for leaf in old]
    assert any(written)
    for pointer, leaf, was_written in zip(before, new, written, strict=True):
        assert not was_written or leaf.unsafe_buffer_pointer() == pointer


@pytest.mark.slow
def test_a_gradient_that_is_not_finite_is_named_by_the_loss(sliced, archs, whole, data):
    state = sliced.restart(whole[0][0].params)
    lesson = sliced._prepare(
        np.asarray(jax.random.key_data(jax.random.key(0))), data.train.images[:20], data.train.labels[:20], None
    )
    loss, gradients = sliced.sliced.parts(state.params, archs[0], lesson)
    assert np.isfinite(loss)
    gradients[0] = gradients[0]._replace(square=jnp.float32(jnp.inf))
    assert np.isnan(sliced.sliced_update(state, loss, gradients, np.float32(0.1))[1])


def test_where_all_parameters_move_in_every_step_all_are_gone_over(space, settings, data):
    for changes in ({"keep_unsampled": False}, {"ema": 0.9}, {"accumulate": 2}):
        assert Trainer(space, replace(settings, execution="sliced", **changes), data).sliced_update is None

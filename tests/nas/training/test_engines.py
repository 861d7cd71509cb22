"""Masked and sliced steps give the gradient that the architectures' own networks have, and the losses of the papers."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import log_softmax, softmax

from nas.training import Teacher, Trainer
from nas.training.augment import normalise
from nas.training.losses import Lesson, distilled, row_loss
from nas.training.rules import Sandwich, SinglePath
from search_spaces.reading import Cut
from search_spaces.space import largest, smallest

ROWS = np.array([[1, 1, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 1]], np.int32)


def close(a, b, tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance)


# What a row is taught


def entropy(targets, logits):
    return -(targets * log_softmax(logits, -1)).sum(-1).mean()


@pytest.fixture
def lesson():
    rng = np.random.default_rng(0)
    targets = softmax(rng.normal(size=(5, 3)), -1)
    return Lesson(jnp.zeros((5, 2, 2, 1)), jnp.asarray(targets), jnp.asarray(rng.normal(size=(5, 3))))


def test_a_row_learns_labels_the_first_row_and_an_outside_teacher_in_their_shares(lesson):
    rng = np.random.default_rng(1)
    logits, first = jnp.asarray(rng.normal(size=(2, 5, 3)))
    by_labels, by_first = entropy(np.asarray(lesson.targets), logits), entropy(softmax(first, -1), logits)
    # Hinton et al.: soft targets at temperature T, the loss times T squared
    by_teacher = 9 * entropy(softmax(np.asarray(lesson.taught) / 3, -1), logits / 3)
    teacher = Teacher(weight=0.2, temperature=3.0)
    for share in (0.0, 0.25, 1.0):
        inside = (1 - share) * by_labels + share * by_first
        assert np.isclose(row_loss(logits, lesson, first, share, None), inside, rtol=1e-5)
        assert np.isclose(row_loss(logits, lesson, first, share, teacher), 0.8 * inside + 0.2 * by_teacher, rtol=1e-5)


def test_no_gradient_flows_into_a_teacher():
    logits, teacher = jnp.ones((2, 3)), jnp.arange(6.0).reshape(2, 3)
    assert (jax.grad(distilled, 1)(logits, teacher) == 0).all()
    assert (jax.grad(distilled, 0)(logits, teacher) != 0).any()


def test_at_a_high_temperature_the_gradient_matches_logits():
    # Hinton et al., section 2.1: for zero-mean logits the gradient of T^2 times the loss tends to (z - v) / N
    z, v = np.array([[1.0, -2.0, 1.0]]), np.array([[0.5, 0.5, -1.0]])
    gradient = jax.grad(distilled)(jnp.asarray(z), jnp.asarray(v), 1000.0)
    np.testing.assert_allclose(gradient, (z - v) / 3, atol=1e-3)


# Gradients of a whole step, against the networks that the architectures are


class Plain:
    """The step's lesson and the gradients that the cut networks have."""

    def __init__(self, trainer, params):
        self.trainer, self.params, self.data = trainer, params, trainer.data
        self.images, self.labels = self.data.train.images[:20], self.data.train.labels[:20]
        self.ready = normalise(self.images, self.data)
        # label smoothing 0.1 over ten classes: 0.91 and 0.01
        self.targets = np.full((20, 10), 0.01, np.float32)
        self.targets[np.arange(20), self.labels] = 0.91

    def logits(self, params, arch, at=slice(None)):
        read = Cut.of(self.trainer.space.choices, arch)
        return self.trainer.network(params)(read, self.ready[at])[0]

    def gradient(self, loss):
        return jax.jit(jax.value_and_grad(loss))(self.params)

    def by_labels(self, arch, at=slice(None)):
        def loss(params):
            return -(self.targets[at] * jax.nn.log_softmax(self.logits(params, arch, at))).sum(-1).mean()

        return self.gradient(loss)

    def by_first(self, arch, first):
        def loss(params):
            taught = jax.lax.stop_gradient(jax.nn.softmax(self.logits(params, first)))
            return -(taught * jax.nn.log_softmax(self.logits(params, arch))).sum(-1).mean()

        return self.gradient(loss)


def mean(found):
    return jax.tree.map(lambda *values: sum(values) / len(values), *found)


@pytest.fixture(scope="module")
def plain(trainer, whole):
    return Plain(trainer, jax.tree.map(jnp.asarray, whole[0][2].params))


def gradient_of(space, data, settings, plain, archs, **changes):
    """The loss and gradient that a trainer's step has: its optimizer is replaced by one that hands them on."""
    changed = replace(settings, shift=0, **changes)
    trainer = Trainer(space, changed, data)
    trainer.sliced_update = None  # goes by blocks, and hands no gradient on
    trainer._updated = lambda state, loss, gradients, rate: (state._replace(params=gradients), loss)
    trainer._compile()
    state, loss = trainer.step(trainer.restart(plain.params), jax.random.key(0), archs, plain.images, plain.labels, 1.0)
    return trainer, (loss, state.params)


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["masked", "sliced"])
def test_a_step_has_the_mean_gradient_of_its_networks(space, data, settings, plain, execution):
    expected = mean([plain.by_labels(arch) for arch in ROWS[:3]])
    rule = SinglePath(archs_per_step=3)
    trainer, found = gradient_of(space, data, settings, plain, ROWS[:3], rule=rule, execution=execution)
    close(found, expected, 2e-5)
    assert trainer.traces == (1 if execution == "masked" else 0)


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["masked", "sliced"])
def test_in_a_sandwich_the_largest_learns_labels_and_the_others_its_answer(space, data, settings, plain, execution):
    archs = np.stack([largest(space), smallest(space), ROWS[2]])
    expected = mean([plain.by_labels(archs[0]), *(plain.by_first(arch, archs[0]) for arch in archs[1:])])
    rule = Sandwich(random=1)
    _, found = gradient_of(space, data, settings, plain, archs, rule=rule, execution=execution)
    close(found, expected, 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["masked", "sliced"])
def test_parts_of_a_batch_are_averaged_each_with_its_own_statistics(space, data, settings, plain, execution):
    # with two parts, each has every other image
    expected = mean([plain.by_labels(ROWS[0], slice(start, None, 2)) for start in (0, 1)])
    _, found = gradient_of(space, data, settings, plain, ROWS[0], accumulate=2, execution=execution)
    close(found, expected, 2e-5)


@pytest.mark.slow
def test_an_outside_teacher_teaches_every_network(space, data, settings, plain):
    teach = lambda images: jnp.tile(images.mean((1, 2)), (1, 10)) * jnp.arange(10.0)  # noqa: E731
    told = Teacher(weight=0.5, temperature=1.0)
    taught = jax.nn.softmax(teach(plain.ready))

    def loss(params):
        answer = jax.nn.log_softmax(plain.logits(params, ROWS[0]))
        return -((0.5 * plain.targets + 0.5 * taught) * answer).sum(-1).mean()

    trainer = Trainer(space, replace(settings, shift=0, teacher=told), data, teach)
    trainer._updated = lambda state, loss, gradients, rate: (state._replace(params=gradients), loss)
    trainer._compile()
    state, value = trainer.step(
        trainer.restart(plain.params), jax.random.key(0), ROWS[0], plain.images, plain.labels, 1.0
    )
    close((value, state.params), plain.gradient(loss), 2e-5)


def test_a_teacher_needs_both_a_setting_and_a_network(space, data, settings):
    with pytest.raises(ValueError, match=r"`training.teacher` was given, but no one who teaches; set both or neither"):
        Trainer(space, replace(settings, teacher=Teacher()), data)
    with pytest.raises(ValueError, match=r"a teacher was given, but `training.teacher`"):
        Trainer(space, settings, data, lambda images: images)


@pytest.mark.slow
def test_activations_computed_again_change_nothing(space, data, settings, plain):
    _, found = gradient_of(space, data, settings, plain, ROWS[0], remat=True)
    close(found, plain.by_labels(ROWS[0]), 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["masked", "sliced"])
def test_bfloat16_computes_coarsely_and_keeps_float32_weights(space, data, settings, plain, execution):
    loss, gradient = plain.by_labels(ROWS[0])
    _, found = gradient_of(space, data, settings, plain, ROWS[0], dtype="bfloat16", execution=execution)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(found))
    assert 1e-6 < abs(found[0] - loss) < 0.02  # bfloat16 has three digits: not the same, and not far off
    flat, exact = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(g)]) for g in (found[1], gradient))
    assert flat @ exact / np.linalg.norm(flat) / np.linalg.norm(exact) > 0.98


def test_what_only_masked_execution_has_is_refused_in_sliced(settings):
    for name in ("remat", "per_device"):
        with pytest.raises(ValueError, match=f"`training.{name}` is for masked execution"):
            replace(settings, execution="sliced", **{name: True})


@pytest.mark.slow
def test_the_structure_of_a_gradient_is_that_of_the_parameters(space, data, settings, plain):
    trainer = Trainer(space, replace(settings, execution="sliced"), data)
    lesson = Lesson(plain.ready, jnp.asarray(plain.targets), None)
    row = trainer.engines["sliced"](plain.params, ROWS[1], lesson, None, 0.0)
    assert jax.tree.structure(row.gradients) == jax.tree.structure(plain.params)
    assert isinstance(row.gradients, nnx.State)
    np.testing.assert_allclose(row.logits, plain.logits(plain.params, ROWS[1]), atol=1e-5)


@pytest.mark.slow  # blocks of several architectures
def test_sums_of_sliced_gradients_are_compiled_once(space, settings, data):
    """However many blocks an architecture leaves out: the zeros in their places lie where gradients lie."""
    trainer = Trainer(space, replace(settings, rule=SinglePath(archs_per_step=3), execution="sliced"), data)
    state = trainer.init(jax.random.key(0))
    images, labels = data.train.images[: settings.batch], data.train.labels[: settings.batch]
    for rows in ([smallest(space)] * 3, [smallest(space), largest(space), smallest(space)]):
        state, _ = trainer.step(state, jax.random.key(1), np.stack(rows), images, labels, 1e-3)
    assert trainer._add._cache_size() == 1

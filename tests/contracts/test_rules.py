"""What every training rule obeys."""

import inspect
from dataclasses import replace

import jax
import numpy as np
import pytest

from nas.data.digits import Digits
from nas.training import Trainer, Training, train
from nas.training.rules import EXAMPLES, ComplexityAware, Progressive, Rule
from nas.training.rules.progressive import ONCE_FOR_ALL
from search_spaces.mobile import Mobile, Stage
from search_spaces.space import canonical, option_counts

SPACE = Mobile(
    image_size=8,
    stages=(Stage(widths=(8, 12, 16), depths=(1, 2)),),
    kernels=(3, 5),
    expansions=(1, 2),
    head_channels=16,
)
STEPS = 40


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    """What is tested does not hang on the compiler's optimisations, which take most of its time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module", params=EXAMPLES, ids=lambda rule: type(rule).__name__)
def rule(request):
    return request.param


@pytest.fixture(scope="module")
def draw(rule):
    """The rows of a step, compiled once, as the trainer draws them."""
    drawn = jax.jit(lambda key, step: rule.archs(key, SPACE, step, STEPS))
    return lambda seed, step: np.asarray(drawn(jax.random.key(seed), step))


def test_it_is_a_rule_with_still_settings(rule):
    assert isinstance(rule, Rule)
    assert hash(rule) == hash(type(rule)())
    assert all(p.kind is p.KEYWORD_ONLY for p in inspect.signature(type(rule)).parameters.values())


def test_it_draws_networks_of_the_space(rule, draw):
    for step in (0, STEPS // 2, STEPS - 1):
        archs = draw(step, step)
        assert archs.shape == (rule.rows(SPACE), len(SPACE.choices))
        assert archs.dtype == np.int32
        assert ((archs >= 0) & (archs < option_counts(SPACE))).all()
        assert np.array_equal(canonical(SPACE, archs), archs)


def test_its_rows_follow_from_key_and_step(rule, draw):
    late = range(STEPS - 6, STEPS)  # where every choice is open, whatever the rule
    assert all(np.array_equal(draw(0, step), draw(0, step)) for step in late)
    assert any(not np.array_equal(draw(0, step), draw(1, step)) for step in late)
    assert np.array_equal(draw(0, 39), rule.archs(jax.random.key(0), SPACE, 39, STEPS))  # compiled or not


def test_by_the_end_every_option_of_every_choice_is_trained(rule, draw):
    archs = np.concatenate([draw(seed, STEPS - 1) for seed in range(100)])
    for i, count in enumerate(option_counts(SPACE)):
        assert set(archs[:, i].tolist()) == set(range(count))


def test_each_row_has_a_teacher_and_the_first_has_the_labels(rule):
    shares = rule.in_place(SPACE)
    assert len(shares) == rule.rows(SPACE)
    assert shares[0] == 0
    assert all(0 <= share <= 1 for share in shares)


@pytest.fixture(scope="module")
def trained(rule):
    """A whole training, and its states inside and after epochs, by their steps."""
    data = Digits(image_size=8, limit=200).load()
    small = replace(rule, pool=50) if isinstance(rule, ComplexityAware) else rule
    settings = Training(epochs=4, batch=20, learning_rate=2e-2, shift=0, rule=small, checkpoint_steps=7)
    trainer = Trainer(SPACE, settings, data)
    states, losses = {}, []

    def keep(state):
        states[int(state.step)] = jax.tree.map(np.array, state)

    def keep_epoch(epoch, loss, state):
        losses.append(loss)
        keep(state)

    train(trainer, trainer.init(jax.random.key(0)), jax.random.key(1), after_epoch=keep_epoch, after_steps=keep)
    return trainer, states, losses


@pytest.mark.slow
def test_its_loss_falls_in_one_compile(rule, trained):
    trainer, _, losses = trained
    # Under progressive shrinking the last epochs train networks that were closed before.
    at = -2 if isinstance(rule, Progressive) else -1
    assert losses[at] < losses[0] - 0.03
    assert trainer.traces == 1


@pytest.mark.slow
def test_it_goes_on_from_inside_an_epoch_bit_for_bit(trained):
    trainer, states, losses = trained
    assert sorted(states) == [7, 10, 14, 20, 21, 28, 30, 35, 40]
    rest = []
    end = train(trainer, states[14], jax.random.key(1), after_epoch=lambda epoch, loss, state: rest.append(loss))
    assert rest == losses[1:]
    for a, b in zip(jax.tree.leaves(states[40]), jax.tree.leaves(end), strict=True):
        assert np.array_equal(a, b)
    assert trainer.traces == 1


def test_the_default_stages_are_in_order():
    assert [stage.start for stage in ONCE_FOR_ALL] == sorted(stage.start for stage in ONCE_FOR_ALL)

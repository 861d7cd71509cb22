"""Settings that make no sense are refused before any work."""

import pytest
from jaxtyping import TypeCheckError

from nas.training import Teacher, Trainer, Training


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
        ("momentum", 1.0),
        ("ema", 1.0),
        ("mixup", -0.1),
        ("cutmix", -1.0),
        ("accumulate", 0),
        ("prefetch", -1),
        ("bands_every", -1),
        ("checkpoint_steps", 0),
        ("mesh", 0),
    ],
)
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(ValueError, match=f"`training.{setting}` must .*got {value}") as error:
        Training(**{setting: value})
    assert "\n" not in str(error.value)


def test_a_batch_larger_than_the_data_is_refused(space, trainer):
    with pytest.raises(ValueError, match=r"`training.batch` is 500, .* only 200 .*did you mean training.batch=200\?"):
        Trainer(space, Training(batch=500), trainer.data)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("optimizer", "adam"), ("schedule", "cos"), ("execution", "fast"), ("dtype", "float16"), ("mesh", "some")],
)
def test_unknown_words_are_refused(setting, value):
    with pytest.raises((ValueError, TypeCheckError)) as error:  # under test, the annotation speaks first
        Training(**{setting: value})
    assert value in str(error.value)


def test_a_batch_that_cannot_be_parted_is_refused(space, data):
    with pytest.raises(ValueError, match=r"multiple of 3 .* 1 device times 3 parts .*, got 32; .*training.batch=33\?"):
        Trainer(space, Training(accumulate=3), data)


@pytest.mark.parametrize(("setting", "value"), [("weight", 0.0), ("weight", 1.5), ("temperature", 0.0)])
def test_a_teacher_out_of_range_is_refused(setting, value):
    with pytest.raises(ValueError, match=f"`training.teacher.{setting}` must .*got {value}"):
        Teacher(**{setting: value})

"""Settings that make no sense are refused before any work."""

import pytest

from nas.training import Trainer, Training


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


def test_a_batch_larger_than_the_data_is_refused(space, trainer):
    with pytest.raises(ValueError, match=r"`training.batch` is 500, .* only 200 .*did you mean training.batch=200\?"):
        Trainer(space, Training(batch=500), trainer.data)

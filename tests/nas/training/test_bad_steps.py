"""A step refuses what its space or its data set don't have, in one line, masked and sliced alike."""

import jax
import numpy as np
import pytest

from nas.data.digits import Digits
from nas.training import Trainer, Training, TrainState
from search_spaces.mobile import Mobile, Stage
from search_spaces.sliced import Sliced
from search_spaces.space import largest, smallest

SPACE = Mobile(
    image_size=8, stages=(Stage(widths=(8, 16)),), kernels=(3,), expansions=(1, 2), stem_channels=8, head_channels=8
)
NO_STATE = TrainState(*[None] * len(TrainState._fields))  # it doesn't come to that
ROW, IMAGES, LABELS = smallest(SPACE), np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, np.int32)


@pytest.mark.parametrize("execution", ["masked", "sliced"])
@pytest.mark.parametrize(
    ("arch", "images", "labels", "said"),
    [
        (largest(SPACE) + 9, IMAGES, LABELS, "so its index must be 0 to 1; got 10"),
        (ROW - 1, IMAGES, LABELS, "so its index must be 0 to 1; got -1"),
        (np.stack([ROW, ROW - 1]), IMAGES, LABELS, "so its index must be 0 to 1; got -1"),
        (ROW[:-1], IMAGES, LABELS, "has 10 genes, got shape (9,)"),
        (np.append(ROW, 0), IMAGES, LABELS, "has 10 genes, got shape (11,)"),
        (ROW, IMAGES[:, 1:], LABELS, "uint8 of shape (batch, 8, 8, 1), got uint8 of shape (4, 7, 8, 1)"),
        (ROW, np.zeros((4, 8, 8, 3), np.uint8), LABELS, "got uint8 of shape (4, 8, 8, 3)"),
        (ROW, IMAGES, LABELS[1:], "a label for each of 4 images, got shape (3,)"),
    ],
)
def test_it_says_what_is_wrong(execution, arch, images, labels, said):
    trainer = Trainer(SPACE, Training(batch=4, execution=execution), Digits(image_size=8, limit=20).load())
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - asserted below
        trainer.step(NO_STATE, jax.random.key(0), arch, images, labels, 0.1)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_sliced_execution_refuses_images_of_another_size():
    sliced, params = Sliced(SPACE), jax.jit(SPACE.supernet)(jax.random.key(0))
    for run in (sliced.forward, sliced.vjp):
        with pytest.raises(ValueError, match=r"images must have shape \(batch, 8, 8, 1\)"):
            run(params, ROW, jax.numpy.zeros((2, 9, 8, 1)))

"""One small space, its data and a whole training, shared by the tests of training."""

import jax
import numpy as np
import pytest

from nas.data.digits import Digits
from nas.training import Trainer, Training, train
from search_spaces.mobile import Mobile, Stage

SPACE = Mobile(
    image_size=8,
    stages=(Stage(widths=(8, 16), depths=(1, 2)),),
    kernels=(3,),
    expansions=(1, 2),
    head_channels=16,
)
SETTINGS = Training(epochs=4, batch=20, learning_rate=2e-2, shift=1)


@pytest.fixture(scope="session")
def data():
    return Digits(image_size=8, limit=200).load()


@pytest.fixture(scope="package", autouse=True)
def quick_compiles():
    """What is tested does not hang on the compiler's optimisations, which take most of its time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="package")
def trainer(data, quick_compiles):
    return Trainer(SPACE, SETTINGS, data)


@pytest.fixture(scope="session")
def space():
    return SPACE


@pytest.fixture(scope="session")
def settings():
    return SETTINGS


@pytest.fixture(scope="session")
def kept():
    """Copies a state to the host: the next step uses the state's own memory up."""
    return lambda state: jax.tree.map(np.array, state)


@pytest.fixture(scope="session")
def same():
    """Whether two trees hold the same bits."""
    return lambda a, b: all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.fixture(scope="package")
def whole(trainer, kept):
    """A training from begin to end: its state after each epoch, by the number of epochs done, and the losses."""
    start = trainer.init(jax.random.key(0))
    states, losses = {0: kept(start)}, []

    def keep(epoch, loss, state):
        states[epoch] = kept(state)
        losses.append(loss)

    train(trainer, start, jax.random.key(1), after_epoch=keep)
    return states, losses

"""A judgement is the error of the extracted network, counted by hand."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import logsumexp

import nas.judge
from nas.data.dataset import Split
from nas.data.digits import Digits
from nas.judge import SupernetJudge, calibrate
from nas.training import normalise
from search_spaces.extract import extract
from search_spaces.mobile import Mobile, Stage
from search_spaces.reading import masked
from search_spaces.space import largest, smallest

SPACE = Mobile(
    image_size=8,
    stages=(Stage(widths=(8, 16), depths=(1, 2)),),
    kernels=(3,),
    expansions=(1, 2),
    head_channels=16,
)


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    """What is tested does not hang on the compiler's optimisations, which take most of its time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def data():
    return Digits(image_size=8, limit=60).load()


@pytest.fixture(scope="module")
def supernet():
    rng = np.random.default_rng(0)

    def draw(like):
        return jnp.asarray(rng.normal(0, math.sqrt(2 / (math.prod(like.shape[:-1]) or 1)), like.shape), jnp.float32)

    return jax.tree.map(draw, nnx.eval_shape(lambda: SPACE.supernet(jax.random.key(0))))


@pytest.fixture(scope="module")
def judge(data):
    return SupernetJudge(SPACE, data, jax.random.key(3), calibration_images=40)


@pytest.mark.parametrize("end", [smallest, largest])
def test_the_error_is_that_of_the_extracted_network(judge, supernet, data, end):
    assert len(data.val.labels) > nas.judge.PIECE
    judgement = judge(supernet, end(SPACE))
    alone = extract(SPACE, supernet, end(SPACE), judgement.stats)
    logits = np.asarray(jax.jit(lambda network, x: network(x))(alone, normalise(data.val.images, data)))
    assert math.isclose(judgement.val_error, (logits.argmax(-1) != data.val.labels).mean(), abs_tol=1e-6)
    right = logits[np.arange(len(logits)), data.val.labels]
    assert math.isclose(judgement.val_loss, (logsumexp(logits, axis=-1) - right).mean(), rel_tol=1e-4)
    assert judge.traces == 1


def test_statistics_are_those_of_training_images(judge, supernet, data):
    train = np.asarray(normalise(data.train.images, data)).reshape(60, -1)
    chosen = np.asarray(judge.calibration).reshape(40, -1)
    rows = [int(np.abs(train - image).max(1).argmin()) for image in chosen]
    assert np.allclose(train[rows], chosen, atol=1e-6)
    assert len({image.tobytes() for image in chosen}) == 40
    arch = jnp.asarray(largest(SPACE))
    by_hand = jax.jit(lambda: calibrate(supernet, masked(SPACE, arch), judge.calibration))()
    for a, b in zip(jax.tree.leaves(by_hand), jax.tree.leaves(judge(supernet, arch).stats), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow  # each size of the split and of a piece compiles
@pytest.mark.parametrize("images", [5, 14, 16])
def test_pieces_change_nothing(judge, supernet, data, images, monkeypatch):
    few = replace(data, val=Split(images=data.val.images[:images], labels=data.val.labels[:images]))
    monkeypatch.setattr(nas.judge, "PIECE", 7)  # one piece, two whole ones, three of which one is padded
    pieced = SupernetJudge(SPACE, few, jax.random.key(3), calibration_images=40)
    arch = largest(SPACE)
    judgement = pieced(supernet, arch)
    logits = judge.logits(supernet, arch, judgement.stats, judge.images)[:images]
    assert math.isclose(judgement.val_error, (logits.argmax(-1) != few.val.labels).mean(), abs_tol=1e-6)
    again = pieced.logits(supernet, arch, judgement.stats, pieced.images)
    np.testing.assert_allclose(again, logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("images", [1, 61])
def test_calibration_images_must_be_there(data, images):
    with pytest.raises(ValueError, match=f"`calibration_images` must be 2 to .* 60; got {images}") as error:
        SupernetJudge(SPACE, data, jax.random.key(0), calibration_images=images)
    assert "\n" not in str(error.value)

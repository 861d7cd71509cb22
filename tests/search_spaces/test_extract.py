"""An extracted network's weights leave it by name, and come back only into the network they left."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from search_spaces.extract import extract, weights, with_weights
from search_spaces.mobile import Mobile, Stage
from search_spaces.reading import masked
from search_spaces.space import largest, smallest

SPACE = Mobile(
    image_size=6,
    classes=3,
    stages=(Stage(widths=(8, 16), depths=(1, 2), squeeze_excite=(True,)),),
    kernels=(3, 5),
    expansions=(1, 2),
    head_channels=8,
)


@pytest.fixture(scope="module")
def supernet():
    def draw(like):
        fan_in = math.prod(like.shape[:-1]) or 1
        return np.random.default_rng(0).normal(0, math.sqrt(2 / fan_in), like.shape).astype(np.float32)

    return jax.tree.map(draw, nnx.eval_shape(lambda: SPACE.supernet(jax.random.key(0))))


@pytest.fixture(scope="module")
def extracted(supernet):
    """The largest network, with statistics of noise."""
    images = jnp.asarray(np.random.default_rng(1).normal(size=(4, 6, 6, 1)), jnp.float32)
    stats = jax.jit(lambda arch: supernet(masked(SPACE, arch), images)[1])(jnp.asarray(largest(SPACE)))
    return extract(SPACE, supernet, largest(SPACE), stats)


def test_weights_come_back_as_they_left(extracted):
    again = with_weights(SPACE, largest(SPACE), weights(extracted))
    assert jax.tree.structure(again) == jax.tree.structure(extracted)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(extracted), strict=True):
        assert np.array_equal(a, b)
    images = jnp.asarray(np.random.default_rng(2).normal(size=(4, 6, 6, 1)), jnp.float32)
    answer = jax.jit(lambda network, images: network(images))
    assert np.array_equal(answer(again, images), answer(extracted, images))


def test_weights_are_named_for_their_layers_and_cut_off_the_supernet(extracted, supernet):
    named = weights(extracted)
    assert np.array_equal(named["blocks.0.conv.weight"], supernet.blocks[0].conv.weight[...])
    assert np.array_equal(
        named["blocks.1.squeeze_excite.reduce.bias"], getattr(supernet.blocks[1], "squeeze_excite.reduce").bias[...]
    )
    assert {name.rpartition(".")[-1] for name in named if name.startswith("blocks.1.expand_norm.")} == {
        "scale",
        "bias",
        "mean",
        "var",
    }
    assert all(type(values) is np.ndarray and values.flags.c_contiguous for values in named.values())


def test_extraction_leaves_the_supernet_alone(supernet):
    before = [np.array(leaf) for leaf in jax.tree.leaves(supernet)]
    stats = jax.eval_shape(
        lambda images: supernet(masked(SPACE, jnp.asarray(smallest(SPACE))), images)[1], jnp.zeros((2, 6, 6, 1))
    )
    stats = jax.tree.map(lambda like: np.ones(like.shape, np.float32), stats)
    alone = extract(SPACE, supernet, smallest(SPACE), stats)
    assert len(alone.network.blocks) == 3
    assert len(supernet.blocks) == 4
    assert all(np.array_equal(a, b) for a, b in zip(before, jax.tree.leaves(supernet), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda named: named.pop("blocks.3.conv.weight"), "weight `blocks.3.conv.weight` is missing"),
        (lambda named: named.update({"tail.weight": np.zeros(1)}), "weight `tail.weight` is not of this architecture"),
        (
            lambda named: named.update({"blocks.3.classifier.bias": np.zeros(4)}),
            r"weight `blocks.3.classifier.bias` must have shape \(3,\), got \(4,\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(extracted, change, message):
    named = weights(extracted)
    change(named)
    with pytest.raises(ValueError, match=message) as error:
        with_weights(SPACE, largest(SPACE), named)
    assert "\n" not in str(error.value)


def test_weights_of_another_architecture_are_refused(extracted):
    with pytest.raises(ValueError, match="were the weights saved with this architecture"):
        with_weights(SPACE, smallest(SPACE), weights(extracted))
    narrower = largest(SPACE)
    narrower[0] = 0
    with pytest.raises(ValueError, match="must have shape"):
        with_weights(SPACE, narrower, weights(extracted))

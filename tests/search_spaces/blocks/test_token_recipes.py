"""Recipes of tokens: what a mask turns off stays off, whatever is learned for it."""

import jax.numpy as jnp
import numpy as np
import pytest

from search_spaces.blocks.token_recipes import Embedding, EncoderLayer
from search_spaces.building import Block
from search_spaces.reading import Cut, Masked
from search_spaces.widths import Width

RNG = np.random.default_rng(0)


def draw(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


EMBEDDING = Embedding(dims=(4, 6), sizes=(8,), patches=(4,), learned=4, class_token=True)
ENCODER = EncoderLayer(heads=(1, 2), mlp_ratios=(1.5, 2.0), head_dim=4, class_token=True, reach=1)
CASES = {
    "embedding": (EMBEDDING, Width(3), ("dim",), (2, 8, 8, 3)),
    "encoder layer": (ENCODER, Width((4, 6), ("in0.0",)), ("in0.0", "heads", "mlp_ratio"), (2, 5, 6)),
}


@pytest.mark.parametrize("name", CASES)
def test_channels_that_are_off_come_out_as_zeros_and_the_others_as_cut(name):
    recipe, ins, choices, shape = CASES[name]
    block = Block.init(draw, recipe, (ins,))
    x = draw(*shape)
    on = x if ins.is_fixed else x * (jnp.arange(6) < 4)
    masked, _ = block(Masked({choice: jnp.asarray([1.0, 0.0]) for choice in choices}), None, on)
    cut, _ = block(Cut(tuple((choice, 0) for choice in choices)), None, x if ins.is_fixed else x[..., :4])
    assert masked.shape == (2, 5, 6)
    assert not np.asarray(masked[..., 4:]).any()
    np.testing.assert_allclose(masked[..., :4], cut, atol=1e-5)

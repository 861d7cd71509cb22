"""The hybrid space: its size and costs by hand, and what becomes of an image on the way to its logits."""

import jax
import numpy as np
import pytest

from search_spaces.hybrid import ConvStage, Hybrid, TokenStage
from search_spaces.layers import Depthwise, Norm, Positions, Scores, Softmax, Tokens, total_macs, total_params
from search_spaces.reading import Cut
from search_spaces.space import largest, size, smallest

SMALL = Hybrid(
    resolutions=(12, 16),
    image_channels=1,
    classes=5,
    stem_channels=8,
    conv_stages=(ConvStage(widths=(8, 12), depths=(1, 2), expansions=(2, 3)),),
    token_stages=(
        TokenStage(widths=(12, 16), depths=(1, 2), heads=(1, 2), mlp_ratios=(1.5, 2.0)),
        TokenStage(widths=(16, 20), depths=(1,), heads=(2,), mlp_ratios=(2.0,)),
    ),
    kernels=(3,),
    head_dim=4,
)


def test_its_size_by_hand():
    # 2 resolutions; 2 widths and 1 or 2 blocks of 2 expansions; 2 widths and 1 or 2 layers of 2 * 2; 2 widths
    assert size(SMALL) == 2 * (2 * (2 + 4)) * (2 * (4 + 16)) * 2
    conv = [2 * (2 + 4), 2 * (6**3 + 6**4 + 6**5), 2 * sum(6**n for n in range(3, 7)), 2 * (6**3 + 6**4)]
    tokens = [3 * sum(4**n for n in range(3, 9)), 4 * sum(4**n for n in range(3, 9))]
    assert size(Hybrid()) == 4 * np.prod([*conv, *tokens], dtype=object)


def test_the_smallest_by_hand():
    """12 px: 6 behind the stem, 3 x 3 behind the block: 9 tokens of 12 channels, then of 16."""
    layers = SMALL.layers(smallest(SMALL))
    stem = 9 * 8 + 2 * 8
    block = (8 * 16 + 2 * 16) + (9 * 16 + 2 * 16) + (16 * 8 + 2 * 8)
    tokens = (8 * 12 + 12) + 9 * 12  # and their positions
    first = 2 * 2 * 12 + 3 * (12 * 4 + 4) + (4 * 12 + 12) + (12 * 18 + 18) + (18 * 12 + 12)
    widened = 12 * 16 + 16
    second = 2 * 2 * 16 + 3 * (16 * 8 + 8) + (8 * 16 + 16) + (16 * 32 + 32) + (32 * 16 + 16)
    readout = 2 * 16 + 16 * 5 + 5
    assert total_params(layers) == stem + block + tokens + first + widened + second + readout
    macs = 36 * 9 * 8 + (36 * 8 * 16 + 9 * 9 * 16 + 9 * 16 * 8) + 9 * 8 * 12
    macs += 9 * (4 * 12 * 4 + 2 * 12 * 18) + 2 * 81 * 4  # one head of 4 channels
    macs += 9 * 12 * 16 + 9 * (4 * 16 * 8 + 2 * 16 * 32) + 2 * 81 * 8 + 16 * 5
    assert total_macs(layers) == macs


def test_images_become_tokens_once_and_are_normalised_as_what_they_are():
    layers = SMALL.layers(largest(SMALL))
    at = next(i for i, layer in enumerate(layers) if isinstance(layer, Tokens))
    assert layers[at].shape == (16, 1, 12)  # 16 px: 4 x 4 positions of 12 channels
    assert [type(layer) for layer in layers].count(Tokens) == 1
    assert not any(isinstance(layer, Norm | Depthwise) for layer in layers[at:])
    assert not any(isinstance(layer, Softmax) for layer in layers[:at])
    assert [layer.shape for layer in layers if isinstance(layer, Scores)] == [(16, 16, 2)] * 3


def test_each_resolution_has_its_positions_and_the_real_network_the_layers_parameters():
    for resolution, tokens in ((0, 9), (1, 16)):
        arch = largest(SMALL)
        arch[0] = resolution
        layers, read = SMALL.layers(arch), Cut.of(SMALL.choices, arch)
        assert [layer.shape for layer in layers if isinstance(layer, Positions)] == [(tokens, 1, 16)]
        network = jax.eval_shape(lambda read=read: SMALL.supernet(jax.random.key(0)).cut(read))
        assert sum(leaf.size for leaf in jax.tree.leaves(network)) == total_params(layers)


def test_the_default_is_as_dear_as_its_settings_file_says():
    layers = [Hybrid().layers(arch) for arch in (smallest(Hybrid()), largest(Hybrid()))]
    assert [round(total_params(one) / 1e6, 1) for one in layers] == [1.4, 5.3]
    assert [round(total_macs(one) / 1e9, 2) for one in layers] == [0.25, 2.63]
    assert next(layer.shape for layer in layers[0] if isinstance(layer, Tokens)) == (12 * 12, 1, 64)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hybrid(token_stages=()), "`token_stages` must hold at least one stage, got none"),
        (lambda: Hybrid(kernels=(3, 4)), r"`kernels` must be odd, got \(3, 4\); did you mean \(3, 5\)\?"),
        (lambda: Hybrid(resolutions=(224, 192)), r"`resolutions` of the space must .* did you mean \(192, 224\)\?"),
        (lambda: Hybrid(head_dim=0), "`head_dim` must be at least 1, got 0"),
        (lambda: Hybrid(epsilon=0.0), "`epsilon` must be above 0"),
        (
            lambda: ConvStage(widths=(8,), depths=(0, 1), expansions=(2,)),
            r"`depths` of a convolutional stage must be positive.*did you mean \(1,\)\?",
        ),
        (lambda: ConvStage(widths=(8,), depths=(1,), expansions=(2,), stride=3), "`stride` of a stage must be 1 or 2"),
        (
            lambda: TokenStage(widths=(8,), depths=(1,), heads=(2, 1), mlp_ratios=(2.0,)),
            r"`heads` of a stage of tokens must .* did you mean \(1, 2\)\?",
        ),
    ],
)
def test_spaces_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()

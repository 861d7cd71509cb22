"""The elastic ResNet50-D: its networks' counts are those of the authors' PyTorch package, its size a sum by hand."""

import numpy as np
import pytest

from search_spaces.layers import AvgPool, Conv, MaxPool, total_macs, total_params
from search_spaces.networks.point import arch_of
from search_spaces.resnet import ResNet50D, ResNetStage
from search_spaces.space import largest, size, smallest

SPACE = ResNet50D(resolutions=())

# Of `OFAResNets` in the PyPI package ofa 0.1.0.post202307202001, as `get_active_subnet` gives the network: trained
# parameters, and the multiply-accumulates of its convolutions and its linear layer, counted by hooks in PyTorch.
# `d` is what its stem (2: all three convolutions) and its stages have beyond the least, `w` the index of the width of
# the stem's first convolutions, of its last and of each stage, `e` the expansion of each of 18 blocks.
SAMPLED = [
    (
        200,
        {
            "d": [0, 2, 2, 2, 0],
            "e": [
                0.25,
                0.25,
                0.2,
                0.25,
                0.35,
                0.25,
                0.25,
                0.25,
                0.25,
                0.25,
                0.35,
                0.2,
                0.35,
                0.2,
                0.25,
                0.2,
                0.2,
                0.35,
            ],
            "w": [1, 0, 2, 0, 2, 1],
        },
        (16_759_104, 2_921_863_552),
    ),
    (
        200,
        {
            "d": [2, 2, 1, 2, 0],
            "e": [0.35, 0.2, 0.2, 0.35, 0.2, 0.2, 0.2, 0.35, 0.25, 0.2, 0.2, 0.25, 0.35, 0.25, 0.2, 0.25, 0.35, 0.25],
            "w": [2, 2, 2, 1, 1, 0],
        },
        (10_992_424, 2_464_766_784),
    ),
]


def of_ofa(space, d, e, w):
    """Our architecture of the settings of `ofa`."""
    chosen = {
        "stem.middle": d[0] == 2,
        "stem.hidden_width": (24, 24, 32)[w[0]],  # half of 40, 48 and 64, to multiples of 8
        "stem.width": (40, 48, 64)[w[1]],
    }
    expansions = iter(e)
    for i, stage in enumerate(space.stages, 1):
        chosen[f"stage{i}.width"] = space.widths(stage.width)[w[1 + i]]
        chosen[f"stage{i}.depth"] = stage.blocks + d[i]
        for j in range(1, stage.blocks + 3):
            chosen[f"stage{i}.block{j}.expansion"] = next(expansions)
    return np.array(arch_of(space, chosen))


@pytest.mark.parametrize(("side", "settings", "counted"), SAMPLED)
def test_sampled_networks_count_as_in_pytorch(side, settings, counted):
    """At 200 px, whose halves are odd: 25 positions become 13, by the convolution and by the shortcut's pool."""
    space = ResNet50D(resolutions=(), image_size=side)
    layers = space.layers(of_ofa(space, **settings))
    assert (total_params(layers), total_macs(layers)) == counted


def test_the_extremes_count_as_in_pytorch():
    extremes = [SPACE.layers(arch(SPACE)) for arch in (smallest, largest)]
    counted = [(total_params(layers), total_macs(layers)) for layers in extremes]
    assert counted == [(6_539_280, 962_192_128), (48_105_992, 7_491_643_904)]


def test_its_size():
    # The stem: 2 hidden widths (0.65 and 0.8 of 32 both make 24), 3 widths, a middle convolution or none. Each stage: 3
    # widths, and 3 expansions in each of its 2 to 4 (the third stage: 4 to 6) blocks.
    two_to_four, four_to_six = 3**2 + 3**3 + 3**4, 3**4 + 3**5 + 3**6
    assert size(SPACE) == (2 * 3 * 2) * (3 * two_to_four) ** 3 * (3 * four_to_six) == 1_639_276_531_308
    assert size(ResNet50D()) == 8 * size(SPACE)


def test_blocks_reduce_convolve_and_expand_and_shortcuts_pool():
    layers = SPACE.layers(largest(SPACE))
    first = [layer for layer in layers if isinstance(layer, Conv) and layer.path.startswith("blocks.7.")]
    # The second stage's first block (behind three of the stem and four of the first): 512 * 0.35 = 179.2, so 176.
    assert [(conv.kernel, conv.stride, conv.shape) for conv in first] == [
        (1, 1, (56, 56, 176)),
        (3, 2, (28, 28, 176)),
        (1, 1, (28, 28, 512)),
        (1, 1, (28, 28, 512)),  # of the shortcut
    ]
    assert [layer.shape for layer in layers if isinstance(layer, AvgPool)] == [
        (28, 28, 256),
        (14, 14, 512),
        (7, 7, 1024),
    ]
    assert [layer.shape for layer in layers if isinstance(layer, MaxPool)] == [(56, 56, 64)]


def test_multipliers_that_give_one_width_are_one_option():
    assert SPACE.widths(256) == (168, 208, 256)  # 166.4, 204.8
    assert SPACE.hidden_stem_widths == (24, 32)
    choice = next(choice for choice in SPACE.choices if choice.name == "stem.hidden_width")
    assert choice.options == (24, 32)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stages": ()}, "`stages` must hold at least one stage, got none"),
        ({"classes": 0}, "`classes` must be at least 1, got 0"),
        ({"epsilon": 0.0}, "`epsilon` must be above 0, got 0.0"),
        ({"extra_blocks": (2, 1)}, r"`extra_blocks` must be at least 0 and increase strictly, .*did you mean \(1, 2\)"),
        ({"width_mults": (0.8, 0.8)}, r"`width_mults` must be positive and increase strictly, .*did you mean \(0.8,\)"),
        ({"expansions": (-0.2, 0.25)}, r"`expansions` must be positive .*did you mean \(0.25,\)"),
        ({"resolutions": (0, 32)}, r"`resolutions` must be positive .*did you mean \(32,\)"),
    ],
)
def test_bad_settings_give_one_line(settings, said):
    with pytest.raises(ValueError, match=said) as raised:
        ResNet50D(**settings)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"width": 0, "blocks": 2}, "`width` of a stage must be at least 1, got 0"),
        ({"width": 8, "blocks": 0}, "`blocks` of a stage must be at least 1, got 0"),
        ({"width": 8, "blocks": 1, "stride": 3}, "`stride` of a stage must be 1 or 2, got 3"),
    ],
)
def test_bad_stages_give_one_line(settings, said):
    with pytest.raises(ValueError, match=said):
        ResNetStage(**settings)

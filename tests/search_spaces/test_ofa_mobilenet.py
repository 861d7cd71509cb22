"""The Once-for-All space against the networks that its authors' package builds, and sums worked by hand."""

import numpy as np
import pytest

from search_spaces.layers import Add, Dense, Depthwise, total_macs, total_params
from search_spaces.ofa_mobilenet import OfaMobileNet, OfaStage
from search_spaces.space import largest, options, size, smallest
from search_spaces.static import fixed_of, input_size

SMALL = OfaMobileNet(
    resolutions=(24, 32),
    image_channels=1,
    classes=10,
    stages=(OfaStage(width=24, squeeze_excite=True), OfaStage(width=24, stride=1, activation="hard_swish")),
    depths=(1, 2),
)


def middle(space):
    return np.array([0] + [1] * (len(space.choices) - 1))


@pytest.mark.parametrize(
    ("width_mult", "arch", "params", "macs"),
    # Sub-networks of `ofa` 0.1.0.post202307202001 with one kernel, expansion and depth throughout, at 224 px, counted
    # in PyTorch: parameters without batch-norm statistics, multiply-accumulates of convolutions and linear layers.
    [
        (1.0, largest, 7_664_760, 566_170_656),
        (1.0, smallest, 3_410_792, 121_278_672),
        (1.2, largest, 10_701_632, 843_101_040),
        (1.2, middle, 6_245_312, 385_659_168),
    ],
    ids=["w1.0 k7 e6 d4", "w1.0 k3 e3 d2", "w1.2 k7 e6 d4", "w1.2 k5 e4 d3"],
)
def test_parameters_and_macs_are_those_of_the_published_networks(width_mult, arch, params, macs):
    space = OfaMobileNet(width_mults=(width_mult,), resolutions=(224,))
    layers = space.layers(arch(space))
    assert total_params(layers) == params
    assert total_macs(layers) == macs


def test_size_by_hand():
    # A block is one of 3 kernels x 3 expansions = 9 kinds; a stage has 2, 3 or 4 blocks: 81 + 729 + 6561 = 7371.
    assert size(OfaMobileNet(resolutions=())) == 7371**5 == 21_758_655_492_572_485_851
    # 128, 132, ..., 224 px are 25 resolutions
    assert size(OfaMobileNet()) == 25 * 7371**5
    assert size(SMALL) == 2 * (9 + 81) ** 2


def test_the_resolution_is_a_static_choice_that_only_moves_sizes():
    low, high = smallest(SMALL), smallest(SMALL)
    high[0] = 1
    assert [input_size(SMALL, fixed_of(SMALL, arch)) for arch in (low, high)] == [24, 32]
    assert [SMALL.layers(arch)[0].shape for arch in (low, high)] == [(24, 24, 1), (32, 32, 1)]
    assert total_params(SMALL.layers(low)) == total_params(SMALL.layers(high))
    without = OfaMobileNet(resolutions=(), image_size=40)
    assert without.layers(smallest(without))[0].shape == (40, 40, 3)
    assert without.choices[0].name == "stage1.depth"


def test_a_block_adds_its_input_where_shapes_allow():
    layers = SMALL.layers(largest(SMALL))
    # The first block keeps 16 channels at stride 1; stage 1 halves the size once and then keeps 24 channels; stage 2
    # has the same width at stride 1, so both of its blocks add their input: ofa's rule, and unlike MobileNetV3's
    # published networks no stage boundary is an exception.
    assert sum(isinstance(layer, Add) for layer in layers) == 1 + 1 + 2
    narrower = OfaMobileNet(stages=SMALL.stages, depths=(1, 2), first_channels=24)
    assert sum(isinstance(layer, Add) for layer in narrower.layers(largest(narrower))) == 0 + 1 + 2


def test_channels_by_hand():
    layers = SMALL.layers(largest(SMALL))
    # 32 px, stem 16, stage 1 at 8 px: 16 * 6 = 96 and 24 * 6 = 144; stage 2 stays at 8 px
    assert [(layer.shape, layer.kernel, layer.stride) for layer in layers if isinstance(layer, Depthwise)] == [
        ((16, 16, 16), 3, 1),
        ((8, 8, 96), 7, 2),
        ((8, 8, 144), 7, 1),
        ((8, 8, 144), 7, 1),
        ((8, 8, 144), 7, 1),
    ]
    # squeezed: 96 / 4 = 24; 144 / 4 = 36, to the nearest multiple of 8 upwards 40; the means are mixed to 1280
    assert [layer.shape[-1] for layer in layers if isinstance(layer, Dense)] == [24, 96, 40, 144, 1280, 10]


def test_choices_are_named_for_what_they_decide():
    assert options(SMALL, smallest(SMALL)) == {
        "resolution": 24,
        "stage1.depth": 1,
        "stage1.block1.kernel": 3,
        "stage1.block1.expansion": 3,
        "stage2.depth": 1,
        "stage2.block1.kernel": 3,
        "stage2.block1.expansion": 3,
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": ()}, "`stages` must hold at least one stage"),
        ({"classes": 0}, "`classes` must be at least 1, got 0"),
        ({"width_mults": (0.0,)}, r"`width_mults` must be positive and increase strictly, got \(0.0,\)"),
        ({"epsilon": float("nan")}, "`epsilon` must be above 0, got nan"),
        ({"depths": ()}, r"`depths` must be positive and increase strictly, got \(\)"),
        ({"resolutions": (32, 32)}, r"`resolutions` must be .* got \(32, 32\); did you mean \(32,\)\?"),
        ({"kernels": (3, 4)}, r"`kernels` must be odd, got \(3, 4\); did you mean \(3, 5\)\?"),
        ({"expansions": (6, 3)}, r"`expansions` .* got \(6, 3\); did you mean \(3, 6\)\?"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        OfaMobileNet(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "`width` of a stage must be at least 1, got 0"),
        ({"width": 8, "stride": 3}, "`stride` of a stage must be 1 or 2, got 3"),
    ],
)
def test_stages_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        OfaStage(**settings)


def test_the_width_may_be_a_choice_of_the_whole_network():
    """Its ends are the two spaces that were published, each with a supernet of its own."""
    both = OfaMobileNet(resolutions=(), width_mults=(1.0, 1.2))
    assert size(both) == 2 * size(OfaMobileNet(resolutions=()))
    for index, mult in enumerate((1.0, 1.2)):
        alone = OfaMobileNet(resolutions=(), width_mults=(mult,))
        arch = largest(alone)
        assert both.layers(np.array([index, *arch], np.int32)) == alone.layers(arch)

"""The mobile space against sums worked by hand."""

import dataclasses

import pytest

from search_spaces.elastic import make_divisible
from search_spaces.layers import Conv, Dense, Depthwise, total_macs, total_params
from search_spaces.mobile import Mobile, Stage
from search_spaces.space import largest, options, size, smallest

SMALL = Mobile(
    image_size=12,
    stem_channels=8,
    stages=(Stage(widths=(8, 16), depths=(1, 2), stride=2, squeeze_excite=(True,)),),
    kernels=(3, 5),
    expansions=(3, 6),
    head_channels=16,
)


def test_multiply_accumulates_by_hand():
    # 12 px -> stem, stride 2 -> 6 px -> stage 1, stride 2 -> 3 px. Smallest: 8 channels, 8 * 3 = 24 hidden, 3x3.
    stem = 6 * 6 * 8 * 9 * 1
    expand = 6 * 6 * 24 * 8
    depthwise = 3 * 3 * 24 * 9
    squeezed = 8  # 24 / 4 = 6, made divisible by 8
    gate = 24 * squeezed + squeezed * 24
    project = 3 * 3 * 8 * 24
    head = 3 * 3 * 16 * 8
    classifier = 16 * 10
    assert (
        stem + expand + depthwise + gate + project + head + classifier == 2592 + 6912 + 1944 + 384 + 1728 + 1152 + 160
    )
    assert total_macs(SMALL.layers(smallest(SMALL))) == 14_872


def test_parameters_by_hand():
    norms = 2 * (8 + 24 + 24 + 8 + 16)  # stem, expand, depthwise, project, head: scale and bias
    stem, expand, depthwise, project, head = 9 * 1 * 8, 8 * 24, 9 * 24, 24 * 8, 8 * 16
    gate = (24 + 1) * 8 + (8 + 1) * 24
    classifier = (16 + 1) * 10
    assert norms + stem + expand + depthwise + project + head + gate + classifier == 1546
    assert total_params(SMALL.layers(smallest(SMALL))) == 1546


def test_the_largest_has_two_blocks_of_the_largest_options():
    layers = SMALL.layers(largest(SMALL))
    # block 1: 8 * 6 = 48 hidden from the stem; block 2: 16 * 6 = 96 hidden from the stage's width, at stride 1
    assert [(layer.shape, layer.kernel, layer.stride) for layer in layers if isinstance(layer, Depthwise)] == [
        ((3, 3, 48), 5, 2),
        ((3, 3, 96), 5, 1),
    ]
    convs = [(layer.in_channels, layer.shape) for layer in layers if isinstance(layer, Conv)]
    assert convs == [
        (1, (6, 6, 8)),
        (8, (6, 6, 48)),
        (48, (3, 3, 16)),
        (16, (3, 3, 96)),
        (96, (3, 3, 16)),
        (16, (3, 3, 16)),
    ]
    # squeezed: 48 / 4 = 12, and 12 is not 0.9 of 16, so up to 16; 96 / 4 = 24
    assert [layer.shape[-1] for layer in layers if isinstance(layer, Dense)] == [16, 48, 24, 96, 10]


def test_a_choice_is_named_for_what_it_decides():
    assert options(SMALL, largest(SMALL)) == {
        "stage1.width": 16,
        "stage1.depth": 2,
        "stage1.block1.kernel": 5,
        "stage1.block1.expansion": 6,
        "stage1.block2.kernel": 5,
        "stage1.block2.expansion": 6,
    }
    assert "stage1.block2.kernel" not in options(SMALL, smallest(SMALL))


def test_size_by_hand():
    # A block of the first stage: 3 kernels x 3 expansions = 9. 1, 2, 3 or 4 of them: 9 + 81 + 729 + 6561 = 7380, in
    # three widths: 22,140. The second stage's may gate its channels or not: 18 + 324 + 5832 + 104,976 = 111,150, in
    # three widths: 333,450.
    assert size(Mobile()) == 22_140 * 333_450 == 7_382_583_000
    assert size(Mobile()) >= 10**6
    # One stage of 1 or 2 blocks of 4 kinds in two widths: 2 * (4 + 16).
    assert size(SMALL) == 40


def test_depths_may_begin_above_one_and_skip():
    space = Mobile(stages=(Stage(widths=(8,), depths=(2, 4)),))
    # blocks 1 and 2 are always there; 3 and 4 come together: 9^2 + 9^4
    assert size(space) == 81 + 6561
    counts = [sum(isinstance(layer, Depthwise) for layer in space.layers(f(space))) for f in (smallest, largest)]
    assert counts == [2, 4]


def test_a_gate_may_be_a_choice_of_each_block():
    space = dataclasses.replace(SMALL, stages=(dataclasses.replace(SMALL.stages[0], squeeze_excite=(False, True)),))
    assert size(space) == 2 * (8 + 64)
    ungated = smallest(space)
    gated = ungated.copy()
    gated[[choice.name for choice in space.choices].index("stage1.block1.squeeze_excite")] = 1
    # as counted above: 24 * 8 + 8 * 24 multiply-accumulates, and biases of 8 and 24
    assert total_macs(space.layers(gated)) == 14_872
    assert total_macs(space.layers(ungated)) == 14_872 - 384
    assert total_params(space.layers(ungated)) == 1546 - 384 - 32


@pytest.mark.parametrize(
    ("value", "rounded"),
    # MobileNet's rule: 12 lies between 8 and 16 and goes up; 11 would go down to 8, but 8 < 0.9 * 11 = 9.9;
    # MobileNetV2 at width 1.4: 24 -> 33.6 -> 32, 32 -> 44.8 -> 48, 96 -> 134.4 -> 136, 1280 -> 1792;
    # MobileNetV3's squeezes: 72 / 4 = 18 -> 24 (16 < 16.2), 120 / 4 = 30 -> 32, 240 / 4 = 60 -> 64
    [(1, 8), (8, 8), (11, 16), (12, 16), (33.6, 32), (44.8, 48), (134.4, 136), (1792.0, 1792), (18, 24), (30, 32)],
)
def test_channels_are_rounded_as_published(value, rounded):
    assert make_divisible(value) == rounded


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": (16, 8)}, r"`widths` .* increase strictly, got \(16, 8\); did you mean \(8, 16\)\?"),
        ({"widths": ()}, r"`widths` .* got \(\); did you mean"),
        ({"widths": (0, 8)}, r"`widths` .* positive .* got \(0, 8\); did you mean \(8,\)\?"),
        ({"widths": (8,), "depths": (2, 2)}, r"`depths` .* got \(2, 2\); did you mean \(2,\)\?"),
        ({"widths": (8,), "depths": (0, 1)}, r"`depths` .* got \(0, 1\); did you mean \(1,\)\?"),
        (
            {"widths": (8,), "squeeze_excite": (True, False)},
            r"`squeeze_excite` of a stage must be \(False,\), .* got \(True, False\)",
        ),
        ({"widths": (8,), "stride": 3}, "`stride` of a stage must be 1 or 2, got 3"),
    ],
)
def test_stages_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        Stage(**settings)
    assert "\n" not in str(error.value)


def test_an_unknown_activation_is_refused():
    stage = Stage(widths=(8,))
    object.__setattr__(stage, "activation", "gelo")  # past the type check that the tests run with
    with pytest.raises(ValueError, match=r"`activation` must be one of \('relu', 'relu6', .*\), got `gelo`"):
        stage.__post_init__()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": ()}, "`stages` must hold at least one stage"),
        ({"kernels": (3, 4, 5)}, r"`kernels` must be odd, got \(3, 4, 5\); did you mean \(3, 5\)\?"),
        ({"kernels": (5, 3)}, r"`kernels` .* increase strictly, got \(5, 3\); did you mean \(3, 5\)\?"),
        ({"kernels": ()}, r"`kernels` .* got \(\); did you mean \(3,\)\?"),
        ({"expansions": (0, 3)}, r"`expansions` must be positive .* got \(0, 3\); did you mean \(3,\)\?"),
        ({"image_size": 0}, "`image_size` must be at least 1, got 0"),
        ({"classes": -1}, "`classes` must be at least 1, got -1"),
        ({"stem_stride": 0}, "`stem_stride` must be 1 or 2, got 0"),
    ],
)
def test_spaces_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        Mobile(**settings)
    assert "\n" not in str(error.value)


def test_settings_make_equal_spaces_equal():
    assert Mobile() == Mobile()
    assert hash(Mobile()) == hash(Mobile())
    assert dataclasses.replace(Mobile(), image_size=48) != Mobile()

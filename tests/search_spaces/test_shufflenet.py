"""The ShuffleNetV2 space: its size, its units by hand, and which channels meet which."""

import jax
import numpy as np
import pytest

from search_spaces.building import Block
from search_spaces.layers import Channels, Concat, Conv, Depthwise, MaxPool, Shuffle, total_macs, total_params
from search_spaces.reading import Cut
from search_spaces.shufflenet import ShuffleNetV2, ShuffleStage, ShuffleUnit
from search_spaces.space import largest, options, size, smallest
from search_spaces.widths import Width

SMALL = ShuffleNetV2(
    image_size=32,
    classes=10,
    stem_channels=8,
    stages=(ShuffleStage(width=24, units=2), ShuffleStage(width=40, units=1)),
    scales=(0.5, 1.0),
    head_channels=32,
)


def test_size_by_hand():
    assert size(ShuffleNetV2()) == (4 * 10) ** 20  # of 20 units, one of 4 operations and one of 10 scales
    assert size(SMALL) == (4 * 2) ** 3


def test_choices_are_named_for_what_they_decide():
    assert options(SMALL, smallest(SMALL)) == {
        f"stage{stage}.unit{unit}.{name}": value
        for stage, unit in ((1, 1), (1, 2), (2, 1))
        for name, value in (("operation", "shuffle_3x3"), ("scale", 0.5))
    }
    alone = ShuffleNetV2(operations=("shuffle_3x3",), scales=(1.0,))
    assert alone.choices == ()
    assert size(alone) == 1


def test_order_of_cost_is_promised_only_where_it_holds():
    assert [choice.ordered for choice in SMALL.choices] == [False, True] * 3
    kernels = ShuffleNetV2(operations=("shuffle_3x3", "shuffle_7x7"))
    assert all(choice.ordered for choice in kernels.choices)
    # In the first unit of the published space, at the smallest scale: 16 channels at 112 px become 64 at 56 px, in the
    # middle int(32 * 0.2) = 6. Per position of 56 px, shuffle_3x3 multiplies 4 * 16 * 6 + 9 * 6 + 6 * 48 = 726 times
    # and xception_3x3, strided first, 9 * 16 + 16 * 6 + 9 * 6 + 6 * 6 + 9 * 6 + 6 * 48 = 672 times.
    space = ShuffleNetV2()
    first, last = smallest(space), smallest(space)
    last[0] = 3
    assert total_macs(space.layers(first)) - total_macs(space.layers(last)) == (726 - 672) * 56 * 56
    assert total_params(space.layers(last)) > total_params(space.layers(first))


def test_a_strided_and_another_unit_by_hand():
    layers = SMALL.layers(largest(SMALL))
    # 32 px, stem 16 px with 8 channels; stage 1 at 8 px, in the middle 24 / 2 = 12; its last operation has three
    # depthwise convolutions, and the strided unit another one of the 8 channels that it keeps.
    depthwise = [layer for layer in layers if isinstance(layer, Depthwise)]
    assert [layer.shape for layer in depthwise[:7]] == [
        *((8, 8, 8), (8, 8, 8), (8, 8, 12), (8, 8, 12)),
        *((8, 8, 12), (8, 8, 12), (8, 8, 12)),
    ]
    assert [layer.stride for layer in depthwise[:7]] == [2, 2, 1, 1, 1, 1, 1]
    # 8 kept + 16 new = 24; half pass by + 12 new = 24; 24 kept + 16 new = 40
    assert [[layers[i].shape[-1] for i in layer.inputs] for layer in layers if isinstance(layer, Concat)] == [
        [8, 16],
        [12, 12],
        [24, 16],
    ]
    assert not any(isinstance(layer, MaxPool) for layer in layers)


def test_torchvisions_units_give_halves_and_are_shuffled_behind():
    space = ShuffleNetV2(image_size=32, stem_pool=True, stages=SMALL.stages, scales=(1.0,), variant="torchvision")
    layers = space.layers(smallest(space))
    halves = [[layers[i].shape[-1] for i in layer.inputs] for layer in layers if isinstance(layer, Concat)]
    assert halves == [[12, 12], [12, 12], [20, 20]]
    behind = [layers[layer.inputs[0]] for layer in layers if isinstance(layer, Shuffle)]
    assert all(isinstance(layer, Concat) for layer in behind)
    assert len(behind) == 3
    assert [layer.shape for layer in layers if isinstance(layer, MaxPool)] == [(8, 8, 16)]


@pytest.mark.parametrize(("variant", "passing"), [("megvii", [0, 2, 4, 6]), ("torchvision", [0, 1, 2, 3])])
def test_which_channels_pass_by(variant, passing):
    """The authors let the even ones pass, torchvision the first half, which it deals out behind."""
    unit = ShuffleUnit(outs=8, mids=(4,), variant=variant)

    def run(x):
        block = Block.init(lambda *shape: jax.numpy.ones(shape), unit, (Width(8),))
        return block(Cut(()), None, x)[0]

    image = np.broadcast_to(np.arange(8.0, dtype=np.float32), (2, 3, 3, 8))
    y = np.asarray(jax.jit(run)(image))
    assert y.shape == image.shape
    by = y[..., :4] if variant == "megvii" else y[..., ::2]
    np.testing.assert_array_equal(by, image[..., passing])


def test_middle_widths_are_rounded_down_as_published():
    space = ShuffleNetV2()
    # int(32 * 0.2) = int(6.4), ..., int(32 * 0.6) = int(19.2), ...
    assert space.mids(space.stages[0]) == (6, 12, 19, 25, 32, 38, 44, 51, 57, 64)
    reduces = [
        layer.shape[-1]
        for layer in space.layers(smallest(space))
        if isinstance(layer, Conv) and layer.path.endswith("reduce")
    ]
    assert reduces == [6] * 4 + [16] * 4 + [32] * 8 + [64] * 4
    assert sum(isinstance(layer, Channels) for layer in space.layers(smallest(space))) == 2 * 16  # all but the strided


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": ()}, "`stages` must hold at least one stage"),
        ({"classes": 0}, "`classes` must be at least 1, got 0"),
        ({"epsilon": 0.0}, "`epsilon` must be above 0, got 0.0"),
        (
            {"operations": ("xception_3x3", "shuffle_3x3")},
            r"in this order, .* did you mean \('shuffle_3x3', 'xception_3",
        ),
        ({"operations": ("shuffle_9x9",)}, "`operations` must be some of .* got .'shuffle_9x9',."),
        ({"scales": (0.4, 0.2)}, r"`scales` .* got \(0.4, 0.2\); did you mean \(0.2, 0.4\)\?"),
        ({"scales": (0.2, 0.21)}, r"stage 1's width 64 must give different numbers of channels, got \(6, 6\)"),
        ({"scales": (0.01, 1.0)}, r"different numbers of channels, got \(0, 32\)"),
        ({"stem_channels": 64}, "`width` of stage 1 must be above the 64 channels that enter it"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        ShuffleNetV2(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 15}, "`width` of a stage must be even, .* got 15; did you mean 16?"),
        ({"width": 16, "units": 0}, "`units` of a stage must be at least 1, got 0"),
    ],
)
def test_stages_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ShuffleStage(**settings)

"""The Proxyless space: its size and its sums by hand, blocks that are left out, and a width of the whole network."""

import numpy as np
import pytest

from search_spaces.layers import Add, Conv, Depthwise, total_macs, total_params
from search_spaces.networks.point import arch_of
from search_spaces.proxyless import Proxyless, ProxylessStage
from search_spaces.space import canonical, largest, size, smallest

STAGES = (ProxylessStage(width=8, depths=(3,), skippable=True), ProxylessStage(width=16, stride=1, depths=(1, 2)))
SMALL = Proxyless(
    image_size=16,
    image_channels=1,
    classes=10,
    resolutions=(),
    width_mults=(1.0, 2.0),
    stem_channels=8,
    first_channels=8,
    stages=STAGES,
    kernels=(3, 5),
    expansions=(2, 3),
    head_channels=24,
)


def chosen(space, **options):
    """The architecture with these options, `__` for a dot."""
    return np.array(arch_of(space, {name.replace("__", "."): option for name, option in options.items()}))


def depthwise(layers):
    return [(layer.shape, layer.kernel, layer.stride) for layer in layers if isinstance(layer, Depthwise)]


def test_the_ends_of_the_published_space():
    space = Proxyless(resolutions=(224,))
    # Sub-networks of `ofa` 0.1.0.post202307202001 at 224 px, counted in PyTorch.
    for arch, params, macs in (
        (smallest(space), 3_718_832, 265_526_256),
        (largest(space), 7_942_056, 1_004_908_032),
    ):
        layers = space.layers(arch)
        assert (total_params(layers), total_macs(layers)) == (params, macs)


def test_size_by_hand():
    # As Once-for-All's MobileNetV3, 7371 stages of 2 to 4 blocks of 9 kinds, five times; and one block behind them.
    assert size(Proxyless()) == 25 * 7371**5 * 9 == 25 * 195_827_899_433_152_372_659
    # 2 widths; a block of 4 kinds and two of 4 kinds or none; 1 or 2 blocks of 4 kinds
    assert size(SMALL) == 2 * (4 * 5 * 5) * (4 + 16)


def test_any_block_but_a_stages_first_may_be_left_out():
    names = [choice.name for choice in SMALL.choices if choice.name.startswith("stage1")]
    assert names == [
        *("stage1.block1.kernel", "stage1.block1.expansion"),
        *("stage1.block2.present", "stage1.block2.kernel", "stage1.block2.expansion"),
        *("stage1.block3.present", "stage1.block3.kernel", "stage1.block3.expansion"),
    ]
    last = chosen(SMALL, stage1__block3__present=True, stage1__block3__kernel=5)
    middle = chosen(SMALL, stage1__block2__present=True, stage1__block2__kernel=5)
    # The stem leaves 8 px and 8 channels; 2 * 8 = 16 are expanded to.
    expected = [((8, 8, 8), 3, 1), ((4, 4, 16), 3, 2), ((4, 4, 16), 5, 1), ((4, 4, 16), 3, 1)]
    assert depthwise(SMALL.layers(last)) == depthwise(SMALL.layers(middle)) == expected
    # They are two networks all the same: each block has weights of its own.
    assert not np.array_equal(canonical(SMALL, last), canonical(SMALL, middle))


def test_a_width_of_the_whole_network():
    narrow, wide = (SMALL.layers(chosen(SMALL, width=width)) for width in (1.0, 2.0))
    convs = [[layer.shape[-1] for layer in layers if isinstance(layer, Conv)] for layers in (narrow, wide)]
    # stem, projection of the first block; expansion by 2 and projection of two stages; head
    assert convs[0] == [8, 8, 16, 8, 16, 16, 24]
    assert convs[1] == [16, 16, 32, 16, 32, 32, 48]


def test_heads_of_stages_add_nothing():
    # Stage 2 has stage 1's width at stride 1, the first block the stem's, and still neither's first block adds.
    space = Proxyless(
        resolutions=(),
        first_channels=32,
        stages=(ProxylessStage(width=32, depths=(3,)), ProxylessStage(width=32, stride=1, depths=(2,))),
    )
    assert sum(isinstance(layer, Add) for layer in space.layers(largest(space))) == 2 + 1


def test_without_a_head_the_last_block_is_classified():
    space = Proxyless(resolutions=(), width_mults=(1.0,), head_channels=None)
    headed = Proxyless(resolutions=(), width_mults=(1.0,))
    less = total_params(headed.layers(largest(headed))) - total_params(space.layers(largest(space)))
    assert less == 320 * 1280 + 2 * 1280 + (1280 - 320) * 1000


def test_what_has_one_option_is_no_choice_but_a_resolution_is():
    space = Proxyless(resolutions=(32,), kernels=(3,), stages=(ProxylessStage(width=8, depths=(2,)),))
    assert [choice.name for choice in space.choices] == [
        *("resolution", "stage1.block1.expansion", "stage1.block2.expansion"),
    ]
    assert space.layers(smallest(space))[0].shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Proxyless(stages=()), "`stages` must hold at least one stage"),
        (lambda: Proxyless(head_channels=0), "`head_channels` must be at least 1, got 0"),
        (lambda: Proxyless(kernels=(3, 4)), r"`kernels` must be odd, got \(3, 4\); did you mean \(3, 5\)"),
        (lambda: Proxyless(expansions=(6, 3)), r"got \(6, 3\); did you mean \(3, 6\)"),
        (lambda: Proxyless(width_mults=()), "`width_mults` must be positive and increase strictly"),
        (lambda: Proxyless(width_mults=(1.0, 1.001)), "1.0 and 1.001 give the same channels; leave one of them out"),
        (lambda: Proxyless(epsilon=0.0), "`epsilon` must be above 0"),
        (lambda: ProxylessStage(width=8, stride=3), "`stride` of a stage must be 1 or 2, got 3"),
        (lambda: ProxylessStage(width=0), "`width` of a stage must be at least 1"),
        (lambda: ProxylessStage(width=8, depths=(2, 3), skippable=True), r"got \(2, 3\); did you mean \(3,\)"),
    ],
)
def test_settings_that_cannot_be(make, said):
    with pytest.raises(ValueError, match=said):
        make()

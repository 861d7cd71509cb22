"""FBNet: nine blocks a layer, ordered by cost; its published networks are points with the published counts."""

import jax
import numpy as np
import pytest
from flax import nnx

from search_spaces.fbnet import SKIP, FbNet, FbNetStage
from search_spaces.layers import Add, Conv, Shuffle, total_macs, total_params
from search_spaces.networks import NAMED
from search_spaces.reading import Cut
from search_spaces.space import largest, size, smallest

# Parameters and multiply-accumulates of mobile-vision's networks and of timm's fbnetc_100, instantiated
PUBLISHED = {
    "fbnet_a": (4321232, 244452664),
    "fbnet_b": (4818216, 291004424),
    "fbnet_c": (5592784, 378136224),
    "fbnet_c_timm": (5572200, 384960160),
    "fbnet_96": (1846728, 12796752),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones(name):
    point = NAMED[name]()
    layers = point.layers()
    assert (total_params(layers), total_macs(layers)) == PUBLISHED[name]


@pytest.mark.parametrize("name", ["fbnet_c_timm", "fbnet_96"])
def test_the_networks_themselves_have_as_many_parameters(name):
    point = NAMED[name]()
    read = Cut.of(point.space.choices, point.arch)
    network = nnx.eval_shape(lambda: point.space.supernet(jax.random.key(0)).cut(read))
    assert sum(leaf.size for leaf in jax.tree.leaves(network)) == PUBLISHED[name][0]


def test_the_space_is_as_large_as_published():
    assert size(FbNet()) == 9**22


def test_options_of_every_layer_cost_more_and_more():
    space = FbNet()
    for gene, choice in enumerate(space.choices):
        rows = [np.where(np.arange(22) == gene, option, 0).astype(np.int32) for option in range(9)]
        assert len(choice.options) == 9
        for cost in (total_macs, total_params):
            values = [cost(space.layers(row)) for row in rows]
            assert values == sorted(values), (choice.name, cost.__name__)


def test_skip_is_nothing_where_the_shape_stays_and_a_convolution_where_it_changes():
    space = FbNet(image_size=16, stages=(FbNetStage(width=16), FbNetStage(width=24, stride=2, layers=2)))
    skips = np.array([choice.options.index(SKIP) for choice in space.choices], np.int32)
    layers = space.layers(skips)
    # stem, the one 1x1 from 16 to 24 channels at 4 px, and the head
    assert [(layer.kernel, layer.stride, layer.shape) for layer in layers if isinstance(layer, Conv)] == [
        (3, 2, (8, 8, 16)),
        (1, 2, (4, 4, 24)),
        (1, 1, (4, 4, 1984)),
    ]


def test_channels_of_two_groups_are_shuffled_between_the_pointwise_convolutions():
    space = FbNet(image_size=16, stages=(FbNetStage(width=16, layers=1),), convention="timm")
    (choice,) = space.choices
    kinds = [type(layer).__name__ for layer in space.layers(np.array([choice.options.index("k3_e1_g2")], np.int32))]
    first = kinds.index("Shuffle")
    assert kinds[first - 3 : first + 4] == ["Conv", "Norm", "Activation", "Shuffle", "Depthwise", "Norm", "Activation"]
    plain = space.layers(np.array([choice.options.index("k5_e6")], np.int32))
    assert not any(isinstance(layer, Shuffle) for layer in plain)
    assert sum(isinstance(layer, Add) for layer in plain) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stem_channels": 7}, "`stem_channels` must be even, got 7"),
        ({"stages": ()}, "at least one stage"),
        ({"classes": 0}, "`classes` must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        FbNet(**settings)


def test_a_width_of_a_stage_is_even():
    with pytest.raises(ValueError, match="`width` of a stage must be even, got 9; did you mean 10"):
        FbNetStage(width=9)


def test_the_range_of_macs_as_the_settings_file_says():
    macs = [total_macs(FbNet().layers(end(FbNet()))) for end in (smallest, largest)]
    assert [round(value / 1e6) for value in macs] == [46, 573]

"""MnasNet: blocks of like layers; its published networks are points with the published counts."""

import jax
import numpy as np
import pytest
from flax import nnx

from search_spaces.layers import Add, Conv, Dense, Depthwise, total_macs, total_params
from search_spaces.mnasnet import MnasNet, MnasStage
from search_spaces.networks import NAMED
from search_spaces.networks.point import arch_of
from search_spaces.reading import Cut
from search_spaces.space import size

# Parameters and multiply-accumulates of timm's semnasnets and mnasnet_small and torchvision's mnasnet0_75, instantiated
PUBLISHED = {
    "mnasnet_a1_0.5": (2082006, 103162992),
    "mnasnet_a1_0.75": (2912278, 223448480),
    "mnasnet_a1_1.0": (3887038, 311579072),
    "mnasnet_a1_1.4": (6105992, 586317952),
    "mnasnet_b1_0.75": (3170208, 215493104),
    "mnasnet_small": (2030264, 68339184),
}
TINY = MnasNet(
    image_size=16,
    image_channels=1,
    classes=5,
    stem_channels=8,
    stages=(MnasStage(widths=(8, 16), depths=(1, 2)),),
    head_channels=24,
)


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones(name):
    layers = NAMED[name]().layers()
    assert (total_params(layers), total_macs(layers)) == PUBLISHED[name]


def test_the_network_itself_has_as_many_parameters():
    point = NAMED["mnasnet_a1_1.0"]()
    read = Cut.of(point.space.choices, point.arch)
    network = nnx.eval_shape(lambda: point.space.supernet(jax.random.key(0)).cut(read))
    assert sum(leaf.size for leaf in jax.tree.leaves(network)) == PUBLISHED["mnasnet_a1_1.0"][0]


def test_size_by_hand():
    # width 2, operation 4, kernel 2, gate 2; one layer, or two with or without a skip: 1 + 2
    assert size(TINY) == 2 * 4 * 2 * 2 * 3


def test_layers_of_a_block_are_alike_and_all_but_the_first_may_skip():
    chosen = {"depth": 2, "op": "mb3", "kernel": 5, "squeeze_excite": True, "skip": True, "width": 16}
    layers = TINY.layers(np.array(arch_of(TINY, {f"stage1.{k}": v for k, v in chosen.items()}), np.int32))
    assert [(layer.kernel, layer.shape) for layer in layers if isinstance(layer, Depthwise)] == [
        (5, (8, 8, 24)),  # 3 * 8
        (5, (8, 8, 48)),  # 3 * 16
    ]
    # squeezed to a quarter of the input, not of the hidden channels: 8 / 4 and 16 / 4
    assert [layer.shape[-1] for layer in layers if isinstance(layer, Dense)] == [2, 24, 4, 48, 5]
    assert sum(isinstance(layer, Add) for layer in layers) == 1
    chosen["skip"] = False
    layers = TINY.layers(np.array(arch_of(TINY, {f"stage1.{k}": v for k, v in chosen.items()}), np.int32))
    assert not any(isinstance(layer, Add) for layer in layers)


def test_a_convolution_is_dense_and_may_be_gated():
    chosen = {"stage1.op": "conv", "stage1.kernel": 5, "stage1.squeeze_excite": True}
    layers = TINY.layers(np.array(arch_of(TINY, chosen), np.int32))
    assert [layer.kernel for layer in layers if isinstance(layer, Conv)] == [3, 5, 1]
    assert [layer.shape[-1] for layer in layers if isinstance(layer, Dense)] == [2, 8, 5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"operations": ()}, "`operations` must be some of"),
        ({"kernels": (3, 4)}, r"`kernels` must be odd and increase, got \(3, 4\); did you mean \(3, 5\)"),
        ({"width_mult": 0.0}, "`width_mult` must be above 0"),
        ({"stages": ()}, "at least one stage"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MnasNet(**settings)

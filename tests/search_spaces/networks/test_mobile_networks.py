"""Named networks of inverted and separable bottlenecks: parameters and MACs are the published integers."""

import jax
import numpy as np
import pytest

from search_spaces.layers import Add, Conv, Dense, Depthwise, Scale, total_macs, total_params
from search_spaces.networks import efficientnet, mcunet, mobilenet_v1, mobilenet_v2, mobilenet_v3, ofa, proxylessnas
from search_spaces.reading import Cut

MODULES = (efficientnet, mcunet, mobilenet_v1, mobilenet_v2, mobilenet_v3, ofa, proxylessnas)
NETWORKS = {name: make for module in MODULES for name, make in module.NETWORKS.items()}

# Counted in PyTorch from torchvision's, timm's, imgclsmob's and ofa's networks (shared/reference/networks.csv, which
# says for each where from): trained parameters; multiply-accumulates of convolutions and linear layers.
COUNTED = {
    "mobilenet_v1": (4_231_976, 568_740_352),
    "mobilenet_v1_0.75": (2_585_560, 325_400_448),
    "mobilenet_v1_0.5": (1_331_592, 149_497_088),
    "mobilenet_v2": (3_504_872, 300_774_272),
    "mobilenet_v2_1.4": (6_108_776, 582_195_824),
    "mobilenet_v2_0.75": (2_636_424, 209_069_792),
    "mobilenet_v2_imgclsmob": (3_504_960, None),
    "mobilenet_v3_large": (5_483_032, 216_589_760),
    "mobilenet_v3_large_0.75": (3_993_528, 154_560_624),
    "mobilenet_v3_large_imgclsmob": (5_481_752, None),
    "mobilenet_v3_large_minimalistic": (3_924_288, 209_136_704),
    "mobilenet_v3_small": (2_542_856, 56_510_400),
    "mobilenet_v3_small_0.75": (2_041_872, 43_399_344),
    "mobilenet_v3_small_0.75_torchvision": (1_653_920, 39_115_576),
    "mobilenet_v3_small_imgclsmob": (2_945_288, None),
    "mobilenet_v3_small_minimalistic": (2_044_736, 52_288_448),
    "proxylessnas_mobile": (4_080_512, 320_427_584),
    "proxylessnas_mobile_14": (6_857_568, 580_883_408),
    "proxylessnas_cpu": (4_361_648, 439_243_864),
    "proxylessnas_gpu": (7_119_848, 465_260_160),
    "spnasnet": (4_421_616, 333_467_072),
    "ofa_proxyless_max": (7_942_056, 1_004_908_032),
    "ofa_proxyless_min": (3_718_832, 265_526_256),
    "ofa_mobilenet_v3_max": (7_664_760, 566_170_656),
    "ofa_mobilenet_v3_min": (3_410_792, 121_278_672),
    "ofa_mobilenet_v3_1.2_max": (10_701_632, 843_101_040),
    "ofa_mobilenet_v3_1.2_k5_e4_d3": (6_245_312, 385_659_168),
    "efficientnet_b0": (5_288_548, 385_814_752),
    "efficientnet_b1": (7_794_184, 686_802_832),
    "efficientnet_b2": (9_109_994, 859_853_760),
    "efficientnet_b3": (12_233_232, 1_589_198_096),
    "efficientnet_lite1": (5_416_680, 600_185_232),
}

# Published in millions only, with a tolerance of half of the last digit.
# MCUNet: the README of mit-han-lab/mcunet. EfficientNet-Lite: the README of tensorflow/tpu, parameters; its MACs are
# those of another convention. MobileNetV2 1.3: tensorflow/models, MACs; its parameters are of 1,001 classes without
# those of batch norm.
PUBLISHED = {
    "mcunet_in0": (0.75, 6.4),
    "mcunet_in2": (0.73, 67.3),
    "mcunet_in3": (0.74, 81.8),
    "mcunet_in4": (1.73, 125.9),
    "mcunet_mobilenet_v2_0.35": (0.75, 23.5),
    "mcunet_proxyless_0.3": (0.75, 38.3),
    "efficientnet_lite0": (4.7, None),
    "efficientnet_lite2": (6.1, None),
    "efficientnet_lite3": (8.2, None),
    "efficientnet_lite4": (13.0, None),
    "mobilenet_v2_1.3": (None, 509),
}


def counted(point):
    """Parameters of the real network, cut from its supernet: shapes alone, nothing is computed."""
    space, arch = point.space, np.asarray(point.arch, np.int32)
    network = jax.eval_shape(lambda: space.supernet(jax.random.key(0)).cut(Cut.of(space.choices, arch)))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(network))


@pytest.mark.parametrize("name", COUNTED)
def test_parameters_and_macs_are_those_that_others_counted(name):
    params, macs = COUNTED[name]
    layers = NETWORKS[name]().layers()
    assert total_params(layers) == params
    if macs is not None:
        assert total_macs(layers) == macs


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_macs_round_to_what_was_published(name):
    layers = NETWORKS[name]().layers()
    for value, published in zip((total_params(layers), total_macs(layers)), PUBLISHED[name], strict=True):
        if published is not None:
            digits = len(str(published).partition(".")[2])
            assert round(value / 1e6, digits) == published


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v2_imgclsmob",
        "mobilenet_v3_small_0.75",
        "proxylessnas_gpu",
        "ofa_proxyless_min",
        "efficientnet_b0",
        "mcunet_in0",
    ],
)
def test_the_real_network_has_the_parameters_of_its_layers(name):
    point = NETWORKS[name]()
    assert counted(point) == total_params(point.layers())


@pytest.mark.parametrize(
    ("width_mult", "size", "macs_m"),
    # tensorflow/models, research/slim/nets/mobilenet: the table of MobileNetV2's widths and image sizes
    [(0.75, 192, 153), (0.75, 96, 39), (0.5, 192, 71), (0.5, 128, 32), (0.35, 192, 43), (0.35, 96, 11)],
)
def test_mobilenet_v2_at_other_widths_and_sizes(width_mult, size, macs_m):
    layers = mobilenet_v2.mobilenet_v2(width_mult, image_size=size).layers()
    assert total_macs(layers) / 1e6 == pytest.approx(macs_m, abs=1)  # some of the published ones are cut, not rounded


def test_mobilenet_v1_by_hand():
    layers = mobilenet_v1.mobilenet_v1(0.25).layers()
    # Stem 8; then 16, 32, 32, 64, 64, 6 times 128, 256, 256 channels: a depthwise and a pointwise convolution each.
    ins = [8, 16, 32, 32, 64, 64, *[128] * 6, 256]
    outs = [16, 32, 32, 64, 64, *[128] * 6, 256, 256]
    pairs = list(zip(ins, outs, strict=True))
    convolutions = 27 * 8 + sum(9 * i + i * o for i, o in pairs)
    norms = 2 * 8 + sum(2 * i + 2 * o for i, o in pairs)
    assert total_params(layers) == convolutions + norms + 257 * 1000 == 470_072
    assert not any(isinstance(layer, Add) for layer in layers)
    assert [layer.shape[0] for layer in layers if isinstance(layer, Depthwise)] == [
        *(112, 56, 56, 28, 28),
        *[14] * 6,
        *(7, 7),
    ]


def test_what_imgclsmob_builds_differently():
    def params(point):
        return total_params(point.layers())

    # An expansion from 32 to 32 channels with its norm, and no bias of 1000 classes.
    ours, theirs = NETWORKS["mobilenet_v2"](), NETWORKS["mobilenet_v2_imgclsmob"]()
    assert params(theirs) - params(ours) == 32 * 32 + 2 * 32 - 1000 == 88
    # No bias of the 1280 channels behind the pool.
    assert params(NETWORKS["mobilenet_v3_large"]()) - params(NETWORKS["mobilenet_v3_large_imgclsmob"]()) == 1280


def test_blocks_of_mobilenet_v3_large():
    layers = NETWORKS["mobilenet_v3_large"]().layers()
    depthwise = [(layer.kernel, layer.shape[-1]) for layer in layers if isinstance(layer, Depthwise)]
    # table 1 of the paper
    assert depthwise == [
        *((3, 16), (3, 64), (3, 72)),
        *((5, 72), (5, 120), (5, 120)),
        *((3, 240), (3, 200), (3, 184), (3, 184), (3, 480), (3, 672)),
        *((5, 672), (5, 960), (5, 960)),
    ]
    assert sum(isinstance(layer, Scale) for layer in layers) == 8
    assert sum(isinstance(layer, Add) for layer in layers) == 10  # 15 blocks, 5 of which change width
    assert [layer.shape[-1] for layer in layers if isinstance(layer, Dense)][-2:] == [1280, 1000]


def test_blocks_that_proxylessnas_left_out():
    # gpu: 1 of 4 blocks stays in stage 1, 2 in stages 2 and 3, 3 in stage 4, all 4 in stage 5, and the last one
    layers = NETWORKS["proxylessnas_gpu"]().layers()
    assert sum(isinstance(layer, Depthwise) for layer in layers) == 1 + 1 + 2 + 2 + 3 + 4 + 1
    kernels = [layer.kernel for layer in layers if isinstance(layer, Depthwise)]
    assert kernels == [3, 5, 7, 3, 7, 5, 5, 3, 5, 7, 7, 7, 5, 7]
    assert sum(isinstance(layer, Add) for layer in layers) == 0 + 1 + 1 + 2 + 3


def test_efficientnet_squeezes_the_input_of_a_block():
    layers = NETWORKS["efficientnet_b0"]().layers()
    squeezed = [layer.shape[-1] for layer in layers if isinstance(layer, Dense)][:-1:2]
    # a quarter of 32; 16, 24; 24, 40; 40, 80, 80; 80, 112, 112; 112, 192, 192, 192; 192
    assert squeezed == [8, 4, 6, 6, 10, 10, 20, 20, 20, 28, 28, 28, 48, 48, 48, 48]


def test_lite_networks_grow_only_between_their_ends():
    layers = NETWORKS["efficientnet_lite4"]().layers()
    convs = [layer.shape[-1] for layer in layers if isinstance(layer, Conv)]
    assert (convs[0], convs[-1]) == (32, 1280)
    # 1 + ceil(1.8 * (2, 2, 3, 3, 4)) + 1 blocks
    assert sum(isinstance(layer, Depthwise) for layer in layers) == 1 + 4 + 4 + 6 + 6 + 8 + 1


def test_images_and_classes_of_ones_own():
    point = mobilenet_v3.mobilenet_v3("small", image_size=32, image_channels=1, classes=10)
    layers = point.layers()
    assert (layers[0].shape, layers[-1].shape) == ((32, 32, 1), (1, 1, 10))


def test_every_network_says_where_it_comes_from():
    rows = [make().row for make in NETWORKS.values()]
    assert all(make().source for make in NETWORKS.values())
    said = [row for row in rows if row]
    assert len(said) == len(set(said))

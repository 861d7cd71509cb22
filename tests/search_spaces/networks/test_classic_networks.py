"""Classic networks and MLPerf Tiny's: counts are the published integers, structure what the papers say."""

import jax
import numpy as np
import pytest

from hardware.runtimes.onnx_runtime import OnnxRuntime
from search_spaces.extract import Extracted, weights
from search_spaces.layers import Concat, Conv, Dense, Depthwise, MaxPool, Norm, padding_of, total_macs, total_params
from search_spaces.networks import alexnet, googlenet, mlperf_tiny, regnet, resnet, vgg
from search_spaces.reading import Cut, Whole

MODULES = (alexnet, googlenet, mlperf_tiny, regnet, resnet, vgg)
NETWORKS = {name: make for module in MODULES for name, make in module.NETWORKS.items()}

COUNTED = {
    # torchvision's networks, whose `num_params` are published; MACs counted by hooks on its convolutions and linear
    # layers at 224 px (torchvision 0.28; those of shared/reference/networks.csv are the same).
    "vgg_16": (138_357_544, 15_470_264_320),
    "resnet_18": (11_689_512, 1_814_073_344),
    "resnet_34": (21_797_672, None),
    "resnet_50": (25_557_032, 4_089_184_256),
    "resnet_101": (44_549_160, None),
    "resnet_152": (60_192_808, None),
    "googlenet": (6_624_904, 1_498_376_192),
    "regnety_400mf": (4_344_144, 401_842_848),
    # imgclsmob's AlexNet and timm's regnety_002 (shared/reference/networks.csv).
    "alexnet": (62_378_344, 1_131_457_664),
    "regnety_200mf": (3_162_996, 199_514_080),
    # Caffe's bvlc_googlenet without its auxiliary classifiers, and its bvlc_reference AlexNet at 227 px.
    "inception_v1": (6_998_552, None),
    "alexnet_2_groups": (60_965_224, 724_406_816),
    # PyPI ofa 0.1.0.post202307202001, counted by hooks.
    "ofa_resnet50d_max": (48_105_992, 7_491_643_904),
    "ofa_resnet50d_min": (6_539_280, 962_192_128),
}
# The totals of Keras's `summary()` of mlcommons/tiny's networks, which count batch norms' moving means and variances.
KERAS = {
    "ds_cnn": (24_908, 9 * 64),  # the norms' channels
    "mobilenet_v1_0.25_vww": (
        221_794,
        # the stem; behind the depthwise convolutions; behind the pointwise ones
        8 + (8 + 16 + 2 * 32 + 2 * 64 + 6 * 128 + 256) + (16 + 2 * 32 + 2 * 64 + 6 * 128 + 2 * 256),
    ),
    "resnet_8": (78_666, 3 * 16 + 2 * 32 + 2 * 64),
    "autoencoder": (269_992, 8 * 128 + 8),
}


@pytest.mark.parametrize("name", COUNTED)
def test_published_counts(name):
    layers = NETWORKS[name]().layers()
    params, macs = COUNTED[name]
    assert total_params(layers) == params
    assert macs is None or total_macs(layers) == macs


@pytest.mark.parametrize("name", ["vgg_16", "alexnet_2_groups", "googlenet", "regnety_200mf", *KERAS])
def test_the_real_network_has_the_parameters_that_its_layers_say(name):
    point = NETWORKS[name]()
    network = jax.eval_shape(lambda: point.space.supernet(jax.random.key(0)).cut(Cut.of((), point.genes)))
    assert sum(leaf.size for leaf in jax.tree.leaves(network)) == total_params(point.layers())


@pytest.mark.parametrize("name", KERAS)
def test_tiny_networks_have_keras_parameters_but_for_moving_statistics(name):
    total, normed = KERAS[name]
    assert total_params(NETWORKS[name]().layers()) == total - 2 * normed


def test_tiny_networks_multiply_what_their_shapes_say():
    macs = {name: total_macs(NETWORKS[name]().layers()) for name in KERAS}
    blocks = 4 * 25 * 5 * 64 * (9 + 64)
    assert macs["ds_cnn"] == 25 * 5 * 64 * 10 * 4 + blocks + 64 * 12  # 2.66 M
    first, second, third = 16 * 32**2, 32 * 16**2, 64 * 8**2  # numbers in each stage's activations
    assert macs["resnet_8"] == (
        (first * 27 + 2 * first * 9 * 16)  # the stem and two convolutions
        + (second * 9 * 16 + second * 9 * 32 + second * 16)  # two convolutions and a shortcut
        + (third * 9 * 32 + third * 9 * 64 + third * 32)
        + 64 * 10
    )  # 12.5 M
    assert macs["autoencoder"] == 640 * 128 + 3 * 128**2 + 2 * 128 * 8 + 3 * 128**2 + 128 * 640
    assert macs["mobilenet_v1_0.25_vww"] == 7_489_664  # 7.49 M in mlcommons/tiny's table


def test_tiny_networks_pad_as_tensorflow_does():
    stem = NETWORKS["ds_cnn"]().layers()[1]
    assert stem.shape == (25, 5, 64)
    assert padding_of(stem) == (4, 5, 1, 1)  # 24 * 2 + 10 - 49 = 9 rows; 4 * 2 + 4 - 10 = 2 columns
    halving = [layer for layer in NETWORKS["mobilenet_v1_0.25_vww"]().layers() if getattr(layer, "stride", 1) == 2]
    assert [layer.shape[0] for layer in halving] == [48, 24, 12, 6, 3]
    assert all(padding_of(layer) == (0, 1, 0, 1) for layer in halving)
    assert all(layer.groups == layer.in_channels for layer in halving[1:])


def test_the_autoencoder_answers_as_many_numbers_as_it_is_given():
    layers = NETWORKS["autoencoder"]().layers()
    assert layers[0].shape == layers[-1].shape == (1, 1, 640)
    dense = [layer.shape[-1] for layer in layers if isinstance(layer, Dense)]
    assert dense == [128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
    assert len([layer for layer in layers if isinstance(layer, Norm)]) == 9


def test_normalised_vectors_are_exported(key):
    """The autoencoder's norms are of vectors, whose statistics are over images alone."""
    point = NETWORKS["autoencoder"]()
    images = np.random.default_rng(0).normal(size=(5, 1, 1, 640)).astype(np.float32)
    network = jax.jit(lambda key: point.space.supernet(key).cut(Cut.of((), point.genes)))(key)
    answers, stats = jax.jit(lambda network, images: network(Whole(), images))(network, images)
    runtime = OnnxRuntime()
    artifact = runtime.prepare(point.layers(), weights(Extracted(network, stats)))
    exported = runtime.run(artifact, images)
    np.testing.assert_allclose(exported, answers, atol=1e-3 * np.abs(answers).max())


def test_vgg_has_its_parameters_in_its_first_linear_layer():
    layers = NETWORKS["vgg_16"]().layers()
    assert len([layer for layer in layers if isinstance(layer, Conv)]) == 13
    assert [layer.in_channels for layer in layers if isinstance(layer, Dense)] == [7 * 7 * 512, 4096, 4096]
    with pytest.raises(ValueError, match="`image_size` of VGG-16 must be at least 32, got 31"):
        vgg.vgg_16(image_size=31)


def test_alexnet_halves_three_convolutions_by_two_groups():
    one, two = (NETWORKS[name]().layers() for name in ("alexnet", "alexnet_2_groups"))
    assert [layer.groups for layer in two if isinstance(layer, Conv)] == [1, 2, 1, 2, 2]
    assert [layer.shape for layer in two if isinstance(layer, MaxPool)] == [(27, 27, 96), (13, 13, 256), (6, 6, 256)]
    # Of the 2nd, 4th and 5th convolution half of the weights are gone: 25 * 96 * 256, 9 * 384 * 384, 9 * 384 * 256.
    halved = 25 * 96 * 256 + 9 * 384 * 384 + 9 * 384 * 256
    assert total_params(one) - total_params(two) == halved // 2
    with pytest.raises(ValueError, match="`image_size` of AlexNet must be at least 39, got 38"):
        alexnet.alexnet(image_size=38)
    assert alexnet.alexnet(image_size=39).layers()[-1].shape == (1, 1, 1000)


def test_googlenet_joins_four_branches():
    # The outputs of the nine blocks in table 1 of arXiv:1409.4842.
    joined = [layer.shape for layer in NETWORKS["googlenet"]().layers() if isinstance(layer, Concat)]
    assert joined == [
        *[(28, 28, 256), (28, 28, 480)],
        *[(14, 14, 512), (14, 14, 512), (14, 14, 512), (14, 14, 528), (14, 14, 832)],
        *[(7, 7, 832), (7, 7, 1024)],
    ]
    kernels = [
        [layer.kernel for layer in NETWORKS[name]().layers() if isinstance(layer, Conv)].count(5)
        for name in ("googlenet", "inception_v1")
    ]
    assert kernels == [0, 9]


# Widths and numbers of blocks of the stages, from the model zoo of arXiv:2003.13678 (pycls).
@pytest.mark.parametrize(
    ("name", "widths", "blocks"),
    [
        ("regnety_200mf", (24, 56, 152, 368), (1, 1, 4, 7)),
        ("regnety_400mf", (48, 104, 208, 440), (1, 3, 6, 6)),
        ("regnety_600mf", (48, 112, 256, 608), (1, 3, 7, 4)),
        ("regnety_800mf", (64, 128, 320, 768), (1, 3, 8, 2)),
    ],
)
def test_regnets_widths_follow_from_their_line(name, widths, blocks):
    assert regnet.REGNETS[name].stages == tuple(zip(widths, blocks, strict=True))


def test_named_networks_have_as_many_classes_and_as_small_images_as_asked_for():
    for module in (alexnet, googlenet, regnet, resnet, vgg):
        layers = next(iter(module.NETWORKS.values()))(image_size=64, classes=7).layers()
        assert (layers[0].shape, layers[-1].shape) == ((64, 64, 3), (1, 1, 7))


def test_no_depthwise_layer_hides_in_dense_networks():
    assert not [layer for layer in NETWORKS["resnet_50"]().layers() if isinstance(layer, Depthwise)]

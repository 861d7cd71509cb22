"""What the kernels do, summed by hand for a network short enough to draw."""

from dataclasses import dataclass

import numpy as np

from predictors.features import FEATURE_NAMES, features, kernel_group
from search_spaces.graph import Graph
from search_spaces.layers import Conv, Depthwise, Layer, total_macs


def named(layers):
    """The sums that aren't zero."""
    return {name: value for name, value in zip(FEATURE_NAMES, features(layers).tolist(), strict=True) if value}


def small_network():
    g = Graph((8, 8, 3))
    x = g.activation(g.norm(g.conv(0, 4, "stem", kernel=3, stride=2), "norm", 1e-5), "relu")  # 4 x 4 x 4
    y = g.activation(g.conv(x, 8, "expand"), "hard_swish")  # 4 x 4 x 8
    y = g.depthwise(y, "depthwise", kernel=5)  # 4 x 4 x 8
    gate = g.activation(g.dense(g.global_pool(y), 8, "gate"), "hard_sigmoid")
    y = g.conv(g.scale(y, gate), 4, "project")  # 4 x 4 x 4
    g.sum(x, y)
    return tuple(g.layers)


def test_sums_by_hand():
    assert named(small_network()) == {
        "constant": 1,
        "conv_kernels": 1,
        "conv_macs": 4 * 4 * 4 * 9 * 3,
        "conv_activations": 8 * 8 * 3 + 4 * 4 * 4,
        "conv_weights": 4 * 9 * 3,
        "pointwise_kernels": 2,
        "pointwise_macs": 2 * 4 * 4 * 4 * 8,
        "pointwise_activations": 2 * (4 * 4 * 4 + 4 * 4 * 8),
        "pointwise_weights": 2 * 4 * 8,
        "depthwise5_kernels": 1,
        "depthwise5_macs": 4 * 4 * 8 * 25,
        "depthwise5_activations": 2 * 4 * 4 * 8,
        "dense_kernels": 1,
        "dense_weights": 8 * 8 + 8,
        "pool_kernels": 1,
        "pool_activations": 4 * 4 * 8 + 8,
        "elementwise_kernels": 4,  # hard swish, hard sigmoid, scale, add
        "elementwise_activations": 2 * 128 + 2 * 8 + (128 + 8 + 128) + 3 * 64,
    }


def test_all_macs_are_counted_in_some_group():
    layers = small_network()
    sums = named(layers)
    biases = 8  # a dense layer's weights stand for its MACs, and hold its biases too
    counted = sum(value for name, value in sums.items() if name.endswith("_macs")) + sums["dense_weights"] - biases
    assert counted == total_macs(layers)


def test_kernel_sizes_have_their_own_columns():
    groups = [kernel_group(Depthwise(shape=(4, 4, 8), kernel=k)) for k in (3, 5, 7, 9)]
    assert groups == ["depthwise3", "depthwise5", "depthwise7", "depthwise_other"]
    assert kernel_group(Conv(shape=(4, 4, 8), in_channels=3, kernel=1)) == "pointwise"


def test_groups_and_dilation_have_their_own_columns():
    g = Graph((4, 4, 6))
    x = g.conv(0, 8, "grouped", 3, groups=2, bias=True)
    x = g.conv(x, 8, "dilated", 3, dilation=2)
    x = g.conv(x, 8, "pointwise", groups=4)
    x = g.conv(x, 8, "each", 5, groups=8)
    g.depthwise(x, "depthwise", 3, dilation=2)
    assert named(g.layers) == {
        "constant": 1,
        "grouped_kernels": 2,
        "grouped_macs": 16 * (9 * 3 * 8 + 2 * 8),
        "grouped_activations": 16 * (6 + 8 + 8 + 8),
        "grouped_weights": 9 * 3 * 8 + 8 + 2 * 8,
        "dilated_kernels": 1,
        "dilated_macs": 16 * 9 * 8 * 8,
        "dilated_activations": 16 * 16,
        "dilated_weights": 9 * 8 * 8,
        "depthwise5_kernels": 1,
        "depthwise5_macs": 16 * 25 * 8,
        "depthwise5_activations": 16 * 16,
        "depthwise3_kernels": 1,
        "depthwise3_macs": 16 * 9 * 8,
        "depthwise3_activations": 16 * 16,
    }
    assert kernel_group(Conv(shape=(4, 4, 8), in_channels=1, kernel=3)) == "conv"  # one channel is no group
    assert kernel_group(Conv(shape=(4, 4, 8), in_channels=3, kernel=1, kernel_width=7)) == "conv"
    assert kernel_group(Conv(shape=(4, 4, 8), in_channels=8, groups=8, kernel=3, kernel_width=1)) == "depthwise_other"


def test_copies_have_their_own_column_and_what_moves_nothing_is_free():
    g = Graph((4, 4, 6))
    x = g.concat([g.activation(g.channels(0, 2, 4), "relu6"), g.max_pool(0, 3)])  # 4 x 4 x 10
    g.dense(g.flatten(g.tokens(g.shuffle(x, 2))), 3, "a", bias=False)
    assert named(g.layers) == {
        "constant": 1,
        "copy_kernels": 4,
        "copy_activations": 16 * ((6 + 4) + (4 + 6 + 10) + 2 * 10 + 2 * 10),
        "pool_kernels": 1,
        "pool_activations": 16 * 12,
        "dense_kernels": 1,
        "dense_weights": 160 * 3,
    }


def test_norm_and_relu_are_free():
    g = Graph((4, 4, 2))
    bare = g.conv(0, 2, "a")
    before = features(g.layers)
    g.activation(g.norm(bare, "n", 1e-5), "relu")
    assert np.array_equal(features(g.layers), before)


def test_a_window_pools_and_zeros_in_a_sum_are_free():
    g = Graph((4, 4, 2))
    pool = g.avg_pool(0, 3)
    expected = {"constant": 1, "pool_kernels": 1, "pool_activations": 2 * 32}
    assert named(g.layers) == expected
    g.sum(pool, g.zeros(g.conv(0, 2, "dead")))
    assert named(g.layers) == expected


def test_layers_of_another_kind_count_as_other():
    @dataclass(frozen=True, kw_only=True)
    class Attention(Layer):
        """A plug-in's own."""

    layers = (*Graph((4, 4, 2)).layers, Attention(inputs=(0, 0), shape=(4, 4, 3)))
    assert named(layers) == {"constant": 1, "other_kernels": 1, "other_activations": 2 * 32 + 48}


def test_an_empty_network_has_a_row_too():
    assert named(()) == {"constant": 1}


def test_the_sums_of_attention_by_hand():
    g = Graph((8, 8, 3))
    x = g.positions(g.patch_embed(0, 6, "patches", 4), "positions", class_token=True)  # 5 tokens of 6 channels
    query, key, value = (g.dense(g.layer_norm(x, "norm", 1e-5), 8, name) for name in "qkv")  # 2 heads of 4
    g.dense(g.take(g.mix(g.softmax(g.scores(query, key, 4)), value, 4), 0, 1), 3, "classifier")
    assert named(g.layers) == {
        "constant": 1,
        "conv_kernels": 1,
        "conv_macs": 4 * 16 * 3 * 6,
        "conv_activations": 8 * 8 * 3 + 4 * 6,
        "conv_weights": 16 * 3 * 6 + 6,
        "pointwise_kernels": 3,
        "pointwise_macs": 3 * 5 * 6 * 8,
        "pointwise_activations": 3 * (5 * 6 + 5 * 8),
        "pointwise_weights": 3 * (6 * 8 + 8),
        "matmul_kernels": 2,
        "matmul_macs": 2 * 5 * 5 * 8,
        "matmul_activations": (5 * 8 + 5 * 8 + 50) + (50 + 5 * 8 + 5 * 8),
        "dense_kernels": 1,
        "dense_weights": 8 * 3 + 3,
        "elementwise_kernels": 6,  # positions, three norms, softmax, one token taken
        "elementwise_activations": (24 + 30) + 3 * 60 + 100 + (40 + 8),
    }

"""Fusing: what runs in one kernel, and what does not because something else reads in between."""

import pytest

from hardware.costs.kernels import kernels
from search_spaces.graph import Graph
from search_spaces.layers import Dense, Elementwise, Input, Layer, macs, total_macs


def squeeze_excite():
    graph = Graph((8, 8, 4))
    x = graph.activation(graph.norm(graph.depthwise(0, "dw", kernel=3, stride=2), "dw_norm", 1e-5), "hard_swish")
    gate = graph.activation(graph.dense(graph.global_pool(x), 2, "squeeze"), "relu")
    gate = graph.activation(graph.dense(gate, 4, "excite"), "hard_sigmoid")
    graph.norm(graph.conv(graph.scale(x, gate), 6, "project"), "project_norm", 1e-5)
    return tuple(graph.layers)


def test_norm_and_activation_run_in_the_kernel_before_them():
    found = kernels(squeeze_excite())
    assert [k.kind for k in found] == ["depthwise", "pool", "dense", "dense", "elementwise", "pointwise"]
    assert [len(k.fused) for k in found] == [2, 0, 1, 1, 0, 1]
    depthwise, pool, squeeze, _, scale, project = found
    # 8x8x4 in, 4x4x4 out, 3x3 weights a channel, 9 MACs an output value, a bias a channel from the norm.
    assert (depthwise.input_values, depthwise.output_values, depthwise.weight_values) == (256, 64, 36)
    assert (depthwise.macs, depthwise.operations, depthwise.bias_values) == (64 * 9, 64 * 9, 4)
    assert (pool.macs, pool.operations) == (0, 64)
    assert (squeeze.weight_values, squeeze.bias_values) == (8, 2)
    assert scale.input_values == 64 + 4
    assert (project.weight_values, project.bias_values) == (24, 6)


def test_what_something_else_reads_stays_a_kernel_of_its_own():
    graph = Graph((4, 4, 3))
    conv = graph.conv(0, 3, "conv", kernel=3)
    norm = graph.norm(conv, "norm", 1e-5)
    graph.sum(conv, norm)  # the sum reads the convolution itself
    assert [k.kind for k in kernels(graph.layers)] == ["conv", "elementwise", "elementwise"]


def test_pooling_and_zeros_are_kernels_of_their_own():
    graph = Graph((8, 8, 4))
    graph.zeros(graph.avg_pool(0, 2, 2))
    pool, zeros = kernels(graph.layers)
    # one operation for each value read: 8*8*4, then 4*4*4
    assert (pool.kind, pool.operations, pool.output_values) == ("pool", 256, 64)
    assert (zeros.kind, zeros.operations) == ("elementwise", 64)


def test_convolutions_by_their_groups_and_windows():
    graph = Graph((8, 8, 4))
    x = graph.conv(
        0, 6, "stem", 10, 2, kernel_width=4, bias=True, padding=(4, 4, 1, 1)
    )  # 4x4: (8+8-10)/2+1, (8+2-4)/2+1
    x = graph.activation(graph.norm(graph.conv(x, 8, "grouped", 3, groups=2, bias=True), "norm", 1e-5), "relu6")
    x = graph.conv(x, 8, "shuffled", groups=4)
    x = graph.conv(x, 16, "each", 3, groups=8)  # two channels of each one
    graph.depthwise(x, "wide", 3, dilation=2, bias=True)
    stem, grouped, pointwise, each, depthwise = kernels(graph.layers)
    assert [k.kind for k in kernels(graph.layers)] == ["conv", "conv", "pointwise", "depthwise", "depthwise"]
    # 40 taps of 4 channels for each of 6; a bias of its own
    assert (stem.weight_values, stem.bias_values, stem.macs) == (960, 6, 4 * 4 * 960)
    # 9 taps of 3 channels for each of 8; the norm is folded into the bias that is there
    assert (grouped.weight_values, grouped.bias_values, grouped.macs) == (216, 8, 4 * 4 * 216)
    assert len(grouped.fused) == 2
    assert (pointwise.weight_values, pointwise.bias_values, pointwise.macs) == (2 * 8, 0, 4 * 4 * 2 * 8)
    assert (each.weight_values, each.macs) == (9 * 16, 4 * 4 * 9 * 16)
    assert (depthwise.weight_values, depthwise.bias_values) == (9 * 16, 16)
    grey = Graph((8, 8, 1))  # one channel is no group
    grey.conv(0, 4, "a", 3)
    assert kernels(grey.layers)[0].kind == "conv"


def test_copies_are_kernels_and_views_are_none():
    graph = Graph((4, 4, 6))
    x = graph.shuffle(graph.concat([graph.channels(0, 2, 4), graph.max_pool(0, 3)]), 2)  # 4x4x10
    tokens = graph.dense(graph.tokens(x), 3, "a", bias=False)
    graph.dense(graph.flatten(tokens), 2, "b")
    found = kernels(graph.layers)
    assert [k.kind for k in found] == ["elementwise", "pool", "elementwise", "elementwise", "pointwise", "dense"]
    channels, pool, concat, shuffle, mapped, dense = found
    assert (channels.input_values, channels.output_values, pool.operations) == (96, 64, 96)
    assert (concat.input_values, concat.output_values, concat.macs) == (64 + 96, 160, 0)
    assert (shuffle.operations, shuffle.weight_values, shuffle.bias_values) == (160, 0, 0)
    # what is seen as tokens is what was shuffled, and what is flattened is the map of the tokens
    assert (mapped.reads, dense.reads) == ((shuffle.makes,), (mapped.makes,))
    assert (mapped.weight_values, mapped.bias_values, mapped.macs) == (30, 0, 16 * 30)
    assert (dense.weight_values, dense.bias_values) == (16 * 3 * 2, 2)


def test_an_operation_without_a_name_costs_what_it_moves():
    (found,) = kernels((Input(shape=(2, 2, 3)), Elementwise(inputs=(0,), shape=(2, 2, 3), operation="erf")))
    assert (found.kind, found.operations, found.weight_values) == ("elementwise", 12, 0)


def test_no_work_is_lost_in_fusing():
    layers = squeeze_excite()
    assert sum(k.macs for k in kernels(layers)) == total_macs(layers) == sum(map(macs, layers))


def test_an_unknown_layer_and_a_later_input_are_refused():
    class Softmax(Layer):
        pass

    with pytest.raises(ValueError, match="Softmax"):
        kernels((Input(shape=(1, 1, 3)), Softmax(inputs=(0,), shape=(1, 1, 3))))
    with pytest.raises(ValueError, match="inputs must be positions before its own"):
        kernels((Input(shape=(1, 1, 3)), Dense(inputs=(2,), shape=(1, 1, 3), path="a", in_channels=3)))


def test_the_kernels_of_attention():
    graph = Graph((8, 8, 3))
    x = graph.positions(graph.patch_embed(0, 6, "patches", 4), "positions", class_token=True)  # 5 tokens of 6
    h = graph.layer_norm(x, "norm", 1e-5)
    query, key, value = (graph.dense(h, 8, name) for name in "qkv")  # 2 heads of 4
    scores = graph.relative_scores(graph.scores(query, key, 4), query, "relative", reach=1, class_token=True)
    h = graph.dense(graph.mix(graph.softmax(scores), value, 4), 6, "project")
    graph.activation(graph.dense(graph.take(graph.sum(x, h), 0, 1), 10, "expand"), "gelu")
    found = kernels(graph.layers)
    assert [k.kind for k in found] == [
        *("conv", "elementwise", "elementwise"),  # patches, positions, norm
        *("pointwise", "pointwise", "pointwise", "pointwise", "pointwise"),  # three dense, scores, relative
        *("elementwise", "pointwise", "pointwise", "elementwise"),  # softmax, mix, project, sum
        *("elementwise", "dense"),  # one token, which is a vector, and GELU in its dense layer
    ]
    patches, positions, norm, dense, *_ = found
    assert (patches.weight_values, patches.bias_values, patches.macs) == (4 * 4 * 3 * 6, 6, 4 * 4 * 4 * 3 * 6)
    assert (positions.weight_values, positions.bias_values, positions.operations) == (5 * 6, 0, 4 * 6)
    assert (norm.weight_values, norm.bias_values, norm.operations) == (6, 6, 5 * 6)
    assert (dense.weight_values, dense.bias_values, dense.macs) == (6 * 8, 8, 5 * 6 * 8)
    scores, relative, softmax, mix = found[6:10]
    assert (scores.macs, scores.weight_values, scores.output_values) == (5 * 5 * 8, 0, 5 * 5 * 2)
    # Two tables of 3 distances and the class, 4 channels each.
    assert (relative.weight_values, relative.bias_values) == (2 * 4 * 4, 0)
    assert (softmax.macs, softmax.operations) == (0, 50)
    assert mix.macs == 5 * 5 * 8
    assert len(found[-1].fused) == 1
    assert sum(k.macs for k in found) == total_macs(graph.layers)

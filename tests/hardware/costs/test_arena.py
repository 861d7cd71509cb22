"""tflite-micro's plan of memory, followed by hand on small networks; the benchmark follows it on large ones."""

import pytest

from hardware.costs.arena import Buffer, arena_activation_bytes, buffers, planned_bytes
from hardware.costs.memory import peak_bytes
from search_spaces.graph import Graph
from search_spaces.layers import same_padding


def sizes(graph):
    return [need.size for need in buffers(graph.layers)]


def test_a_chain_takes_its_largest_pair():
    # steps:           0    1    2    3; alive together: 0+1 = 96, 1+2 = 128 + 64, 2+3 = 80
    chain = [Buffer(32, 0, 1), Buffer(64, 1, 2), Buffer(128, 2, 3), Buffer(16, 3, 3)]
    assert planned_bytes(chain) == 192


def test_the_planner_leaves_gaps():
    # By hand, as tflite-micro plans MobileNetV1 0.25 of 96x96 (48 * 48 * 8 = 18432): the pointwise convolution's output
    # (36864) lies at 0, the image (27648) too, for it is gone by then; of the two of 18432 the later, which meets the
    # former, at 36864; the earlier meets the image and the later: there are 9216 between them, so it lies behind, at
    # 55296. Alive together are never more than 36864 + 18432 = 55296.
    needs = [Buffer(27648, 0, 1), Buffer(18432, 1, 2), Buffer(18432, 2, 3), Buffer(36864, 3, 4), Buffer(9216, 4, 4)]
    assert planned_bytes(needs) == 55296 + 18432


def test_places_begin_at_multiples_of_16():
    assert planned_bytes([Buffer(17, 0, 1), Buffer(1, 1, 1)]) == 32 + 16
    assert planned_bytes([]) == 0


def test_padding_that_tflite_knows_is_no_copy():
    graph = Graph((8, 8, 4))
    graph.conv(0, 6, "same", 3)
    assert sizes(graph) == [256, 384]
    graph = Graph((8, 8, 4))
    graph.conv(0, 6, "below", 3, 2, padding=same_padding((8, 8, 4), (3, 3), 2))
    assert sizes(graph) == [256, 96]
    graph = Graph((8, 8, 4))
    graph.conv(0, 6, "none", 3, padding=(0, 0, 0, 0))
    assert sizes(graph) == [256, 216]


def test_other_padding_is_a_copy_of_the_whole_image():
    graph = Graph((8, 8, 4))
    graph.depthwise(0, "around", 3, 2)
    assert sizes(graph) == [256, 10 * 10 * 4, 64]
    assert arena_activation_bytes(graph.layers) == 256 + 400
    assert peak_bytes(graph.layers, "int8") == 256 + 64
    graph = Graph((8, 8, 4))
    graph.conv(0, 2, "crop", 3, padding=(-1, 0, 1, 1))
    assert sizes(graph) == [256, 7 * 8 * 4, 7 * 10 * 4, 5 * 8 * 2]  # a row cropped, then columns padded


def test_nothing_works_in_place_but_a_relu_in_what_is_before_it():
    graph = Graph((4, 4, 4))
    x = graph.activation(graph.norm(graph.conv(0, 8, "a", bias=True), "a_norm", 1e-5), "relu6")
    y = graph.activation(graph.conv(x, 8, "b"), "hard_swish")
    graph.activation(graph.sum(x, y), "relu")
    assert sizes(graph) == [64, 128, 128, 128, 128]  # image, a, b, hard-swish, the sum with its ReLU
    assert arena_activation_bytes(graph.layers) == 3 * 128  # the sum and what it adds
    assert peak_bytes(graph.layers, "int8") == 2 * 128  # in place of one of them


def test_a_relu_that_is_not_alone_in_reading_is_an_operator():
    graph = Graph((4, 4, 4))
    x = graph.conv(0, 8, "a")
    graph.sum(x, graph.activation(x, "relu"))
    assert sizes(graph) == [64, 128, 128, 128]


@pytest.mark.parametrize(
    ("kind", "operators"), [("sigmoid", 1), ("tanh", 1), ("hard_sigmoid", 1), ("swish", 2), ("hard_swish", 1)]
)
def test_other_nonlinearities_are_operators(kind, operators):
    graph = Graph((4, 4, 4))
    graph.activation(graph.conv(0, 8, "a"), kind)
    assert sizes(graph) == [64, 128] + [128] * operators


def test_what_is_joined_is_brought_to_one_scale():
    graph = Graph((4, 4, 4))
    x, y = graph.conv(0, 8, "a"), graph.conv(0, 16, "b")
    graph.concat([x, y])
    assert sizes(graph) == [64, 128, 256, 128, 384]  # the smaller one is written anew


def test_tokens_are_not_known_here():
    graph = Graph((8, 8, 3))
    graph.patch_embed(0, 6, "patches", 4)
    with pytest.raises(ValueError, match=r"layer 1 is a PatchEmbed, whose TFLite operators are not known here"):
        arena_activation_bytes(graph.layers)

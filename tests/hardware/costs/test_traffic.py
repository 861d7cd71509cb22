"""What kernels move, and the arithmetic it pays for, worked by hand; and all counts of a network together."""

import numpy as np
import pytest

from hardware.costs.memory import flash_bytes, peak_bytes
from hardware.costs.network import network_costs
from hardware.costs.traffic import activation_bytes, macs_per_byte, weight_bytes
from search_spaces.graph import Graph
from search_spaces.layers import total_macs, total_params


def small():
    """A convolution with norm and activation, the means, and a classifier of them."""
    graph = Graph((8, 8, 3))  # 192 values
    x = graph.activation(graph.norm(graph.conv(0, 16, "a", kernel=3), "a_norm", 1e-5), "relu")  # 1024 values
    graph.dense(graph.global_pool(x), 10, "head")
    return tuple(graph.layers)


# Weights: 3 * 3 * 3 * 16 = 432 and 16 * 10 = 160; biases: 16 from the folded norm, 10 of the classifier.
# Activations read and written: 192 + 1024, then 1024 + 16, then 16 + 10: 2282. MACs: 8 * 8 * 432 + 160 = 27808.
@pytest.mark.parametrize(
    ("precision", "weights", "activations", "flash"),
    [
        ("fp32", 4 * 592, 4 * 2282, 4 * 592 + 4 * 26),
        ("fp16", 2 * 592, 2 * 2282, 2 * 592 + 2 * 26),
        ("int8", 592, 2282, 592 + 4 * 26),
        ("w4a8", 592 // 2, 2282, 592 // 2 + 4 * 26),
    ],
)
def test_a_small_network_by_hand(precision, weights, activations, flash):
    layers = small()
    assert weight_bytes(layers, precision) == weights
    assert activation_bytes(layers, precision) == activations
    assert macs_per_byte(layers, precision) == 27808 / (activations + flash)
    # Parameters as published: the norm's scale and shift, not folded: 432 + 2 * 16 + 170. Alive at once: 192 + 1024.
    assert network_costs(layers, precision) == {
        "params": 634,
        "macs": 27808,
        "weight_bytes": weights,
        "activation_bytes": activations,
        "macs_per_byte": 27808 / (activations + flash),
        "peak_bytes": (192 + 1024) * activations // 2282,
        "flash_bytes": flash,
    }


def test_each_kernels_4_bit_weights_fill_whole_bytes():
    graph = Graph((1, 1, 3))
    graph.dense(graph.dense(0, 1, "a", bias=False), 1, "b", bias=False)  # 3 weights, then 1: 2 bytes and 1
    assert weight_bytes(graph.layers, "w4a8") == 3
    assert flash_bytes(graph.layers, "w4a8") == 3


def test_edges_that_are_cut_move_nothing():
    graph = Graph((4, 4, 2))
    x = graph.conv(0, 2, "a")
    graph.dense(graph.global_pool(graph.sum(x, graph.zeros(x))), 2, "head")
    # The sum is its other term: 32 + 32 of the convolution, 32 + 2 of the means, 2 + 2 of the classifier.
    assert activation_bytes(graph.layers, "int8") == 102


def test_an_image_alone_computes_nothing():
    layers = tuple(Graph((4, 4, 2)).layers)
    assert (activation_bytes(layers, "int8"), macs_per_byte(layers, "int8")) == (0, 0.0)
    assert network_costs(layers, "int8")["peak_bytes"] == 32


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("precision", ["fp32", "w4a8"])
def test_counting_all_at_once_is_counting_one_by_one(seed, precision, random_network):
    layers = random_network(np.random.default_rng(seed))
    assert network_costs(layers, precision) == {
        "params": total_params(layers),
        "macs": total_macs(layers),
        "weight_bytes": weight_bytes(layers, precision),
        "activation_bytes": activation_bytes(layers, precision),
        "macs_per_byte": macs_per_byte(layers, precision),
        "peak_bytes": peak_bytes(layers, precision),
        "flash_bytes": flash_bytes(layers, precision),
    }

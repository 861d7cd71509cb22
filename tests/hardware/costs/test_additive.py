"""A function of a network is a sum over its kernels where networks of one kernel each say so."""

import numpy as np
import pytest

from hardware.costs.additive import Shares, parts_of
from hardware.costs.kernels import kernels
from hardware.costs.traffic import activation_bytes
from search_spaces.graph import Graph
from search_spaces.layers import Conv, Tokens


def network():
    graph = Graph((4, 4, 3))
    x = graph.activation(graph.norm(graph.conv(0, 8, "a"), "a_norm", 1e-5), "relu")
    y = graph.activation(x, "relu")  # on its own: another reads x
    graph.dense(graph.tokens(graph.sum(x, y)), 2, "head")
    return tuple(graph.layers)


def time_of(layers):
    """A call for each kernel and each value at a price, beside a start of 5."""
    return 5 + sum(0.25 + 1e-3 * (kernel.input_values + kernel.output_values) for kernel in kernels(layers))


def test_parts_are_kernels_and_views_in_order():
    layers = network()
    parts = parts_of(layers)
    assert [part.position for part in parts] == [1, 4, 5, 6, 7]  # 2 and 3 run inside of 1
    assert [len(part.layers) for part in parts] == [3, 1, 1, 1, 1]
    assert isinstance(parts[0].layers[0], Conv)
    assert isinstance(parts[3].layers[0], Tokens)
    assert [part.kernel is None for part in parts] == [False, False, False, True, False]


def test_each_part_has_its_share_and_the_start_is_the_images():
    layers = network()
    shares = Shares(time_of)
    # Values read and written: 48 + 128, 128 + 128, 256 + 128, none of the view, 128 + 32.
    expected = [5, 0.25 + 0.176, 0.25 + 0.256, 0.25 + 0.384, 0, 0.25 + 0.160]
    assert np.allclose(shares(layers, parts_of(layers))[:, 0], expected, rtol=1e-12)
    assert shares.add_up(layers)


def test_rows_of_values_have_a_column_each():
    layers = network()
    shares = Shares(lambda layers: [activation_bytes(layers, "int8"), len(kernels(layers))])
    assert shares(layers, parts_of(layers)).tolist() == [[0, 0], [176, 1], [256, 1], [384, 1], [0, 0], [160, 1]]
    assert shares.add_up(layers)


def test_what_reads_the_image_may_cost_more():
    def cost(layers):
        return sum(kernel.input_values * (7 if kernel.reads == (0,) else 1) for kernel in kernels(layers))

    graph = Graph((4, 4, 1))
    x = graph.dense(graph.flatten(0), 16, "a")  # of the image, seen as a vector
    graph.dense(graph.dense(x, 16, "b"), 2, "c")
    layers, shares = tuple(graph.layers), Shares(cost)
    assert shares(layers, parts_of(layers))[:, 0].tolist() == [0, 0, 7 * 16, 16, 16]
    assert shares.add_up(layers)


def test_the_slowest_kernel_is_no_sum():
    assert not Shares(lambda layers: max([kernel.macs for kernel in kernels(layers)], default=0)).add_up(network())
    assert not Shares(lambda layers: time_of(layers) ** 1.1).add_up(network())


def test_a_kernel_met_before_is_not_asked_for_again():
    asked = []

    def counting(layers):
        asked.append(layers)
        return time_of(layers)

    shares, layers = Shares(counting), network()
    shares(layers, parts_of(layers))
    before = len(asked)
    shares(layers, parts_of(layers))
    assert len(asked) == before + 1  # the inputs alone


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="a cost of a network must be finite, got nan"):
        Shares(lambda layers: np.nan).add_up(network())

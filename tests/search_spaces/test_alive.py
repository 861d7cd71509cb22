"""Zeros and dead ends: gone where they can't change the answer, kept where they can."""

from search_spaces.alive import alive
from search_spaces.graph import Graph


def told(layers):
    return [(type(layer).__name__, layer.inputs, layer.path) for layer in alive(layers)]


def test_a_network_without_zeros_comes_back_as_it_is():
    graph = Graph((4, 4, 2))
    graph.conv(0, 2, "unread")
    graph.conv(0, 2, "a")
    assert alive(graph.layers) == tuple(graph.layers)


def test_zeros_drop_out_of_sums_and_what_only_they_read_goes_too():
    graph = Graph((4, 4, 2))
    dead = graph.norm(graph.conv(0, 2, "dead"), "dead_norm", 1e-5)
    a = graph.conv(0, 2, "a")
    b = graph.sum(graph.sum(graph.zeros(dead), a), graph.zeros(0))
    graph.conv(graph.sum(b, a), 2, "last")
    assert told(graph.layers) == [
        ("Input", (), ""),
        ("Conv", (0,), "a"),
        ("Add", (1, 1), ""),
        ("Conv", (2,), "last"),
    ]


def test_a_sum_of_zeros_is_zeros_and_stays_where_it_is_all_there_is():
    graph = Graph((4, 4, 2))
    graph.conv(graph.sum(graph.zeros(0), graph.zeros(0)), 2, "last")
    assert told(graph.layers) == [("Input", (), ""), ("Zeros", (0,), ""), ("Conv", (1,), "last")]


def test_a_network_may_end_in_what_is_left_of_a_sum():
    graph = Graph((4, 4, 2))
    a = graph.conv(0, 2, "a")
    graph.sum(a, graph.zeros(a))
    assert told(graph.layers) == [("Input", (), ""), ("Conv", (0,), "a")]

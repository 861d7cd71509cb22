"""The weights asked for are the parameters counted."""

import math

import numpy as np
import pytest

from hardware.costs.memory import flash_bytes
from hardware.export.weights import weight_shapes
from search_spaces.graph import Graph
from search_spaces.layers import LayerNorm, Norm, total_params


@pytest.mark.parametrize("seed", range(40))
def test_trained_weights_are_the_layers_parameters(seed, random_network):
    layers = random_network(np.random.default_rng(seed))
    shapes = weight_shapes(layers)
    trained = {name: shape for name, shape in shapes.items() if not name.endswith((".mean", ".var"))}
    assert sum(math.prod(shape) for shape in trained.values()) == total_params(layers)
    # At rest a norm leaves two numbers a channel, or a bias alone where it is folded: never more than were trained,
    # but for the biases that folding makes.
    norms = sum(layer.shape[-1] for layer in layers if isinstance(layer, Norm | LayerNorm))
    assert total_params(layers) - 2 * norms <= flash_bytes(layers, "fp32") / 4 <= total_params(layers)


def test_shapes_by_hand():
    graph = Graph((8, 8, 6))
    x = graph.conv(0, 4, "a", 10, kernel_width=4, groups=2, bias=True, padding=(5, 4, 2, 1))
    x = graph.depthwise(x, "b", 3, bias=True)
    x = graph.norm(graph.conv(x, 2, "c", 3), "d", 1e-5)
    graph.dense(graph.flatten(x), 5, "e", bias=False)
    assert weight_shapes(graph.layers) == {
        "a.weight": (10, 4, 3, 4),
        "a.bias": (4,),
        "b.weight": (3, 3, 1, 4),
        "b.bias": (4,),
        "c.weight": (3, 3, 4, 2),
        **{f"d.{name}": (2,) for name in ("scale", "bias", "mean", "var")},
        "e.weight": (128, 5),
    }

"""StableHLO modules hold the network's operations and weights, and no norm that could be folded."""

import re

import numpy as np
import pytest
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from hardware.export.stablehlo import to_stablehlo
from hardware.measuring.campaign import reference_network
from search_spaces.graph import Graph
from search_spaces.layers import total_params


def text(module):
    with ir.Context() as context:
        stablehlo.register_dialect(context)
        return str(stablehlo.deserialize_portable_artifact(context, module))


def test_the_main_function_takes_images_and_gives_logits(lively):
    layers = reference_network()
    written = text(to_stablehlo(layers, lively(layers), batch=3))
    assert re.search(r"func.func public @main\(%arg0: tensor<3x32x32x3xf32>.*\) -> \(tensor<3x10xf32>", written)
    assert written.count("stablehlo.convolution") == 7  # the stem and three in each of two blocks
    assert "rsqrt" not in written  # norms are folded


def test_the_weights_are_in_it(lively):
    layers = reference_network()
    module = to_stablehlo(layers, lively(layers))
    # 32-bit numbers; of a folded norm's scale and bias one bias is left, and its channels: 16 + 2 * (96 + 96 + 32)
    weights = 4 * (total_params(layers) - (16 + 2 * (96 + 96 + 32)))
    assert weights < len(module) < weights + 20_000


def test_what_cannot_be_written_is_refused(lively):
    graph = Graph((4, 4, 3))
    graph.conv(0, 4, "a")
    graph.conv(0, 4, "b")
    weights = lively(graph.layers)
    with pytest.raises(ValueError, match="one input and one output, got 1 and 2"):
        to_stablehlo(graph.layers, weights)
    with pytest.raises(ValueError, match=r"1 missing \['b.weight'\]"):
        to_stablehlo(graph.layers, {"a.weight": weights["a.weight"]})
    with pytest.raises(ValueError, match=r"`a.weight` must be \(1, 1, 3, 4\)"):
        to_stablehlo(graph.layers, {**weights, "a.weight": np.zeros((3, 4), np.float32)})

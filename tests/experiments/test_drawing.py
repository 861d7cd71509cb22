"""Networks drawn from their layers: nothing is lost, nothing lies on anything else, repeats are drawn once."""

import itertools
import re
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.patches import Circle, FancyBboxPatch

from experiments.diagram import draw_layers
from experiments.figures import to_png, to_svg
from experiments.flow import modules_of, rows_of
from experiments.nodes import nodes_of
from search_spaces import EXAMPLES
from search_spaces.graph import Graph
from search_spaces.layers import Add, Conv, Scale, total_macs, total_params
from search_spaces.nas_bench_201 import NasBench201, arch_of
from search_spaces.space import largest, smallest

EPSILON = 1e-5


def conv(graph, x, channels, path, kernel=1, stride=1, activation="relu"):
    x = graph.norm(graph.conv(x, channels, path, kernel, stride), f"{path}_norm", EPSILON)
    return graph.activation(x, activation) if activation else x


def inception():
    """Four branches of different lengths into one; the pool between blocks has no parameters."""
    graph = Graph((32, 32, 3))
    x = conv(graph, 0, 16, "blocks.0.conv", 7, 2)
    for i in (1, 2, 3):
        path = f"blocks.{i}"
        deep = conv(graph, conv(graph, x, 8, f"{path}.b"), 16, f"{path}.b2", 3)
        deeper = conv(graph, conv(graph, conv(graph, x, 4, f"{path}.c"), 8, f"{path}.c2", 5), 8, f"{path}.c3", 3)
        pooled = conv(graph, graph.max_pool(x, 3), 8, f"{path}.d")
        x = graph.concat([conv(graph, x, 16, f"{path}.a"), deep, deeper, pooled])
    graph.dense(graph.global_pool(graph.max_pool(x, 3, 2)), 10, "blocks.4.classifier")
    return tuple(graph.layers)


def residual(blocks=4):
    """A stem, residual blocks that are all alike, and a classifier."""
    graph = Graph((32, 32, 3))
    x = conv(graph, 0, 16, "stem.conv", 3)
    for i in range(blocks):
        y = conv(graph, conv(graph, x, 64, f"blocks.{i}.a"), 16, f"blocks.{i}.b", 3, activation=None)
        x = graph.activation(graph.sum(x, y), "relu")
    graph.dense(graph.global_pool(x), 10, "head.classifier")
    return tuple(graph.layers)


def shuffled():
    """What moves channels about, and dense layers of all numbers."""
    graph = Graph((8, 8, 4))
    x = graph.shuffle(0, 2)
    left, right = graph.channels(x, 0, 2), graph.channels(x, 2, 2)
    x = graph.concat([left, conv(graph, graph.depthwise(right, "blocks.0.depthwise", 3), 2, "blocks.0.conv")])
    x = graph.conv(x, 8, "blocks.1.conv", 3, 2, groups=4, dilation=2, bias=True)
    graph.dense(graph.flatten(x), 5, "blocks.1.classifier")
    return tuple(graph.layers)


def reaching():
    """Cells that each read the two before them, as DARTS' do: one tensor alone is never left."""
    graph = Graph((16, 16, 3))
    before, x = 0, conv(graph, 0, 8, "blocks.0.conv", 3)
    for i in range(1, 13):
        path = f"blocks.{i}"
        left = conv(graph, conv(graph, conv(graph, before, 8, f"{path}.a"), 8, f"{path}.b", 3), 8, f"{path}.c")
        before, x = x, graph.concat([left, conv(graph, x, 8, f"{path}.d", 3)])
    graph.dense(graph.global_pool(graph.concat([before, x])), 10, "blocks.13.classifier")
    return tuple(graph.layers)


def gated():
    """A squeeze-and-excitation."""
    graph = Graph((8, 8, 8))
    x = conv(graph, 0, 16, "blocks.0.conv", 3)
    gate = graph.conv(graph.activation(graph.conv(graph.global_pool(x), 4, "blocks.0.a"), "relu"), 16, "blocks.0.b")
    graph.conv(graph.scale(x, graph.activation(gate, "hard_sigmoid")), 8, "blocks.0.c")
    return tuple(graph.layers)


def cell(text):
    return NasBench201(channels=4, cells=2).layers(arch_of(text))


NETWORKS = {
    "inception": inception,
    "residual": residual,
    "shuffled": shuffled,
    "gated": gated,
    "reaching": reaching,
    "cell": lambda: cell("|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"),
    "cut": lambda: cell("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"),
    **{
        f"{type(space).__name__}-{end.__name__}-{i}": lambda space=space, end=end: space.layers(end(space))
        for i, space in enumerate(EXAMPLES)
        for end in (smallest, largest)
    },
}


@pytest.fixture(scope="module", params=NETWORKS)
def layers(request):
    return NETWORKS[request.param]()


def test_every_layer_is_in_one_node_and_every_input_has_a_wire(layers):
    nodes = nodes_of(layers)
    assert Counter(id(layer) for node in nodes for layer in node.layers) == Counter(map(id, layers))
    modules = modules_of(nodes)
    assert [i for module in modules for i in module.places] == list(range(len(nodes)))
    wires = Counter((wire.source, wire.target) for module in modules for wire in module.wires)
    assert wires == Counter((source, i) for i, node in enumerate(nodes) for source in node.inputs)
    for module in modules:  # one tensor enters, and its node is the last of the module before; others say so
        outside = {wire.source for wire in module.wires if wire.source not in module.places}
        assert outside <= {module.entry, *(source for source, _ in module.afar)}
    assert sum(each.times * row.params for each in rows(layers) for row in each.rows) == total_params(layers)


def test_no_node_or_wire_is_in_the_way_of_another(layers):
    for module in modules_of(nodes_of(layers)):
        taken = {(column, lane): i for i, (column, lane) in module.places.items()}
        assert len(taken) == len(module.places)
        carried = {}
        for wire in module.wires:
            first = module.places[wire.source][0] if wire.source in module.places else 0
            last = module.places[wire.target][0]
            assert last > first  # all flows to the right
            assert (wire.lane is None) == (last == first + 1)
            for column in range(first + 1, last):
                assert (column, wire.lane) not in taken
                assert carried.setdefault((column, wire.lane), wire.source) == wire.source


def test_boxes_lie_beside_one_another_and_inside_the_drawing(layers):
    figure = draw_layers(layers, "a network")
    (axes,) = figure.axes
    boxes = []
    for patch in axes.patches:
        if isinstance(patch, FancyBboxPatch):
            box = patch.get_window_extent().transformed(axes.transData.inverted())
            boxes.append((box.x0, box.x1, box.y0, box.y1))
        elif isinstance(patch, Circle):
            (x, y), r = patch.center, patch.radius
            boxes.append((x - r, x + r, y - r, y + r))
    width, height = figure.get_size_inches()
    for x0, x1, y0, y1 in boxes:
        assert 0 < x0 < x1 < width
        assert 0 < min(y0, y1) < max(y0, y1) < height
    for a, b in itertools.combinations(boxes, 2):
        apart_x = a[1] < b[0] or b[1] < a[0]
        apart_y = max(a[2:]) < min(b[2:]) or max(b[2:]) < min(a[2:])
        assert apart_x or apart_y


def test_a_convolution_takes_its_norm_and_nonlinearity_with_it():
    nodes = nodes_of(residual(1))
    # image, stem, two convolutions, a sum with its nonlinearity, mean, classifier
    assert [len(node.layers) for node in nodes] == [1, 3, 3, 2, 2, 1, 1]
    assert isinstance(nodes[4].main, Add)
    assert (nodes[2].activation, nodes[3].activation, nodes[4].activation) == ("relu", "", "relu")
    assert nodes[4].inputs == (1, 3)


def test_squeeze_and_excitation_is_one_node():
    image, first, gate, last = nodes_of(gated())
    assert isinstance(gate.main, Scale)
    assert gate.gate
    assert gate.inputs == (1,)
    assert sum(isinstance(layer, Conv) for layer in gate.layers) == 2
    assert (first.gate, last.gate, image.inputs, last.inputs) == (False, False, (), (2,))


def rows(layers):
    nodes = nodes_of(layers)
    return rows_of(nodes, modules_of(nodes), lambda module: float(module.columns), 9.0)


def test_what_repeats_is_drawn_once():
    assert [(each.times, each.name) for each in rows(residual(4))] == [(1, "stem"), (4, "blocks.0–3"), (1, "head")]
    # Three stages of five cells, published so, and a reduction between stages.
    cells = NasBench201().layers(largest(NasBench201()))
    assert [each.times for each in rows(cells)] == [1, 5, 1, 5, 1, 5, 1]
    # The third block reads more channels than the second, as the second did than the first.
    assert [each.times for each in rows(inception())] == [1, 1, 2, 1]


def test_cells_that_reach_past_their_neighbour_are_rows_with_a_note_of_where_from():
    found = rows(reaching())
    # The first two read what has other channels; all others look alike.
    assert [(each.times, each.name) for each in found][-2:] == [(10, "blocks.3–12"), (1, "blocks.13")]
    (row,) = found[-2].rows
    assert [lane for _, lane in row.modules[0].afar] == [-1]
    assert "from blocks.1" in words(draw_layers(reaching()))


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_kernels_groups_strides_widths_and_totals_are_written():
    layers = shuffled()
    said = words(draw_layers(layers, "shuffled"))
    assert "shuffled" in said
    assert f"8×8×4 image · {total_params(layers):,} parameters · {total_macs(layers):,} MACs" in said
    for word in ("3×3 d2 g4", "0–1", "2–3", "shuffle", "flatten", "dense", "‖", "stride", "depthwise convolution"):
        assert word in said, word
    assert "1×1 ×4" in words(draw_layers(residual()))  # from 16 channels to 64
    assert {"SE", "4"} <= set(words(draw_layers(gated())))
    assert {"4×", "blocks.0–3"} <= set(words(draw_layers(residual())))


def test_wider_layers_are_drawn_wider():
    graph = Graph((8, 8, 3))
    x = 0
    for i, channels in enumerate((64, 128, 256)):
        x = graph.conv(x, channels, f"blocks.0.conv{i}", 3)
    (axes,) = draw_layers(graph.layers).axes
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)][1:]
    widths = [box.get_width() for box in boxes]
    assert widths == sorted(widths)
    assert len(set(widths)) == 3


def test_the_same_layers_give_the_same_bytes():
    first, second = (draw_layers(residual(), "twice") for _ in range(2))
    svg = to_svg(first, "network")
    assert svg == to_svg(second, "network")
    assert to_png(first) == to_png(second)
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert not re.search(r"20\d\d-\d\d-\d\d", svg)


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(ValueError, match="without layers"):
        draw_layers(())
    with pytest.raises(ValueError, match="positions before its own"):
        draw_layers(residual()[::-1])


def test_a_lone_image_and_a_long_title_are_drawn():
    title = "a network with a name that is longer than its drawing is wide, which must not run into the totals"
    figure = draw_layers(Graph((8, 8, 3)).layers, title)
    (axes,) = figure.axes
    name, said = axes.texts[:2]
    figure.canvas.draw()
    assert name.get_window_extent().x1 < said.get_window_extent().x0
    assert np.isfinite(figure.get_size_inches()).all()

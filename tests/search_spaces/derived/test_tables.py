"""Tables say of every architecture what its parts cost, summed or the highest of them, whatever the cost hangs on."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from search_spaces.derived.enumeration import enumerate_all
from search_spaces.derived.highest import least_highest
from search_spaces.derived.joined import gather, joined
from search_spaces.derived.slot_costs import Readings, SlotCosts, paths_of
from search_spaces.derived.tables import NoTablesError, Table, Tables, tables
from search_spaces.graph import Graph
from search_spaces.layers import Dense
from search_spaces.mobile import Mobile, Stage
from search_spaces.nas_bench_201 import NasBench201
from search_spaces.space import Choice, option_counts
from search_spaces.vision_transformer import VisionTransformer

MOBILE = Mobile(
    image_size=16,
    stages=(Stage(widths=(8, 12), depths=(1,), stride=2), Stage(widths=(8, 16), depths=(1, 2), stride=2)),
    kernels=(3, 5),
    expansions=(2, 3),
    head_channels=16,
)
VIT = VisionTransformer(
    image_size=8, classes=5, patch=4, dims=(12, 16), depths=(1, 2), heads=(1, 2), mlp_ratios=(1.5, 2.0), head_dim=8
)


def sizes(layers):
    return [int(np.prod(layer.shape)) for layer in layers]


def read(layers):
    """Of each layer: what it and its inputs hold; how many numbers it leaves to a single reader; again the first."""
    held = [
        size + sum(sizes(layers)[i] for i in layer.inputs) for size, layer in zip(sizes(layers), layers, strict=True)
    ]
    readers = [sum(i in other.inputs for other in layers) for i in range(len(layers))]
    alone = [size if n == 1 else 0 for size, n in zip(sizes(layers), readers, strict=True)]
    return Readings(paths_of(layers), np.array([held, alone, held], np.int64).T)


def directly(space, rows):
    """The same, of whole networks."""
    found = [read(space.layers(row)).values for row in rows]
    return np.array([[each[:, 0].sum(), each[:, 1].sum(), each[:, 2].max()] for each in found])


@pytest.fixture(scope="module", params=[MOBILE, VIT], ids=["mobile", "vision_transformer"])
def found(request):
    """A space, the sums and the highest as tables, and every row with what its layers say."""
    measure = SlotCosts(request.param, read, 3, highest=[2])
    rows = np.concatenate(list(enumerate_all(request.param)))
    sums, highest = tables(measure, [0, 1], "sum", "sums"), tables(measure, [2], "highest", "most")
    return request.param, sums, highest, rows, directly(request.param, rows)


def test_sums_and_highest_hold_for_every_network(found):
    space, sums, highest, rows, expected = found
    added, most = gather(joined(space, [highest, sums]), rows)
    assert added.tolist() == expected[:, :2].tolist()
    assert most[:, 0].tolist() == expected[:, 2].tolist()


def test_genes_without_effect_change_nothing(found):
    space, sums, highest, _, _ = found
    rows = np.random.default_rng(0).integers(0, option_counts(space), (50, len(space.choices))).astype(np.int32)
    added, most = gather(joined(space, [sums, highest]), rows)
    assert np.concatenate([added, most], 1).tolist() == directly(space, rows).tolist()


def test_the_least_of_the_highest_is_that_of_the_list(found):
    space, _, highest, _, expected = found
    lowest = least_highest(highest)
    assert lowest.value == expected[:, 2].min()
    assert directly(space, lowest.arch[None])[0, 2] == lowest.value


def test_tables_are_small(found):
    _, sums, highest, _, _ = found
    assert max(term.values[..., 0].size for each in (sums, highest) for term in each.terms) <= 2**6


@dataclass(frozen=True)
class Hidden:
    """Five choices of four options, of which the second one costs only beside the second one of the next choice."""

    choices: tuple[Choice, ...] = tuple(Choice(name=f"c{i}", options=(0, 1, 2, 3)) for i in range(5))

    def supernet(self, key):
        return None

    def layers(self, arch):
        row = [int(index) for index in arch]
        both = sum(a == b == 1 for a, b in pairwise(row))
        return (Dense(shape=(1, 1, 1), in_channels=1 + both, bias=False),)


def channels(layers):
    return Readings([layer.path for layer in layers], np.array([[layer.in_channels] for layer in layers], np.int64))


@pytest.mark.parametrize("combine", ["sum", "highest"])
def test_what_changing_one_choice_never_shows_is_met_where_architectures_contradict_each_other(combine):
    # Around the largest architecture (all fourth options), no single change costs anything.
    space = Hidden()
    measure = SlotCosts(space, channels, 1, highest=[0] if combine == "highest" else [])
    found = joined(space, [tables(measure, [0], combine, "channels")])
    rows = np.concatenate(list(enumerate_all(space)))
    expected = 1 + ((rows[:, :-1] == 1) & (rows[:, 1:] == 1)).sum(1)
    assert gather(found, rows)[combine == "highest"][:, 0].tolist() == expected.tolist()


def test_a_highest_that_hangs_on_all_choices_is_refused(monkeypatch):
    monkeypatch.setattr("search_spaces.derived.groups.LARGEST_TABLE", 1000)  # five choices of four options make 1024
    with pytest.raises(NoTablesError, match="most is not the highest of tables over few choices in this space"):
        tables(SlotCosts(Hidden(), channels, 1, highest=[0]), [0], "highest", "most")


def flat(*terms, least=0):
    space = NasBench201(image_size=8, channels=4, cells=1, stages=1)  # six choices of five options
    values = tuple(Table(scope, np.array(table)[..., None]) for scope, table in terms)
    return Tables(space=space, combine="highest", constant=np.array([least]), terms=values)


LOW, HIGH = [0, 1, 2, 3, 4], [4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        (flat(((0,), LOW), ((1,), HIGH)), [(1,)]),  # 4 at most, where the other is 4 at least
        (flat(((0,), HIGH), ((0, 1), np.add.outer(LOW, [0, 0, 0, 0, 3]))), [(0,)]),  # at every option of the first
        (flat(((0,), LOW), ((1,), [3, 9, 9, 9, 9])), [(0,), (1,)]),
        (flat(((0,), LOW), least=4), []),
        (flat(((0,), HIGH), ((1,), [4, 4, 4, 4, 4])), [(0,)]),
    ],
)
def test_tables_that_never_have_the_highest_are_left_out(part, kept):
    found = joined(part.space, [part])
    assert [scope for scope, _, _ in found.terms] == kept
    rows = np.concatenate(list(enumerate_all(part.space)))[::97]
    said = [term.values[tuple(rows[:, list(term.scope)].T)][:, 0] for term in part.terms]
    assert gather(found, rows)[1][:, 0].tolist() == np.max([*said, np.full(len(rows), part.constant[0])], 0).tolist()


def test_what_prepares_a_layer_counts_as_its_own():
    graph = Graph((4, 4, 4))
    x = graph.conv(0, 4, "blocks.0.conv")
    y = graph.conv(graph.activation(x, "relu"), 4, "blocks.1.conv")
    z = graph.activation(graph.sum(x, y), "relu")  # of two inputs; the activation has two readers
    graph.sum(z, graph.conv(z, 4, "blocks.2.conv"))
    assert paths_of(graph.layers) == [
        "",  # the image
        "blocks.0.conv",
        "blocks.1.conv",  # the activation before it
        "blocks.1.conv",
        "",
        "",
        "blocks.2.conv",
        "",
    ]

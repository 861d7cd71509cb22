"""Tables of a cost say of every architecture what its layers add up to."""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest

import search_spaces
from search_spaces.derived.enumeration import enumerate_all
from search_spaces.derived.factors import factors, gather
from search_spaces.derived.interactions import split
from search_spaces.layers import Dense, Input, macs, params
from search_spaces.mobile import Mobile, Stage
from search_spaces.nas_bench_201 import NasBench201
from search_spaces.space import Choice, option_counts, size
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
CELLS = NasBench201(image_size=8, image_channels=1, channels=4, cells=1, stages=2)


def elements(layer):
    """Numbers that leave a layer, of those without parameters too."""
    return int(np.prod(layer.shape))


def both(layer):
    """Parameters and MACs in one number."""
    return macs(layer) + 1_000_003 * params(layer)


def direct(space, cost, rows):
    return [sum(map(cost, space.layers(row))) for row in rows]


def test_tables_hold_for_every_example():
    for space in search_spaces.EXAMPLES:
        rng = np.random.default_rng(1)
        rows = rng.integers(0, option_counts(space), (12, len(space.choices))).astype(np.int32)  # canonical or not
        assert gather(factors(space, both), rows).tolist() == direct(space, both, rows), space


@pytest.mark.parametrize("space", [MOBILE, VIT], ids=lambda space: type(space).__name__)
@pytest.mark.parametrize("cost", ["macs", "params", elements], ids=["macs", "params", "elements"])
def test_tables_hold_for_every_network(space, cost):
    rows = np.concatenate(list(enumerate_all(space)))
    run = {"macs": macs, "params": params}.get(cost, cost) if isinstance(cost, str) else cost
    assert gather(factors(space, cost), rows).tolist() == direct(space, run, rows)


def test_tables_are_small():
    # The parameters of a block hang on the widths around it, kernel, expansion and depth; no table needs more.
    assert max(term.table.size for term in factors(MOBILE, "params").terms) <= 2**5
    # An edge's operation costs what it costs, whatever the others are.
    assert [term.scope for term in factors(CELLS, "macs").terms] == [(0,), (1,), (2,), (3,), (4,), (5,)]


def test_layers_without_parameters_find_their_choices(monkeypatch):
    monkeypatch.setattr("search_spaces.derived.tables.PROBES", 12)
    # What leaves pools and cut edges belongs to no path; together, they still hang on one edge each.
    found = factors(CELLS, elements)
    assert all(len(term.scope) == 1 for term in found.terms)
    rows = np.random.default_rng(0).integers(0, 5, (20, 6)).astype(np.int32)
    assert gather(found, rows).tolist() == direct(CELLS, elements, rows)


@dataclass(frozen=True)
class Plain:
    """A space whose supernet is no `Network`: a product of choices three by three, and a depth."""

    together: bool = False

    @property
    def choices(self):
        more = tuple(
            Choice(name=f"c{i}", options=(1, 2, 3), requires=("depth", 1) if i > 5 else None) for i in range(9)
        )
        return Choice(name="depth", options=(1, 2)), *more

    def supernet(self, key):
        return None

    def layers(self, arch):
        depth, *rest = (int(index) + 1 for index in arch)
        costs = [a * b * c for a, b, c in zip(rest, rest[1:], rest[2:], strict=False)][: 7 if depth == 2 else 4]
        if self.together:
            costs = [int(np.prod(rest[:7]))]
        return tuple(Dense(shape=(1, 1, 1), in_channels=cost, bias=False) for cost in costs)


def test_a_space_without_slots_is_split_by_what_interacts():
    space = Plain()
    found = factors(space, "macs")
    assert max(len(term.scope) for term in found.terms) <= 4
    rows = np.random.default_rng(0).integers(0, option_counts(space), (100, 10)).astype(np.int32)
    assert gather(found, rows).tolist() == direct(space, macs, rows)
    assert size(space) > 10**4


def test_a_cost_that_does_not_add_up_is_refused(monkeypatch):
    for module in ("groups", "tables"):  # seven choices of three options make 2187
        monkeypatch.setattr(f"search_spaces.derived.{module}.LARGEST_TABLE", 1000)
    with pytest.raises(ValueError, match="macs is no sum of tables over few choices in this space"):
        factors(Plain(together=True), "macs")


def test_other_costs_are_refused():
    with pytest.raises(ValueError, match="cost must be one of macs, params or a function of a layer, got `latency`"):
        factors(VIT, "latency")
    with pytest.raises(ValueError, match=r"the cost of a layer must be a whole number, got 0.5 for Input"):
        factors(VIT, lambda layer: 0.5)


def test_a_population_of_none_costs_nothing():
    assert gather(factors(VIT, "macs"), np.zeros((0, len(VIT.choices)), np.int32)).shape == (0,)


def test_resolutions_are_part_of_the_tables():
    space = replace(VIT, resolutions=(8, 12))
    rows = np.concatenate(list(enumerate_all(space)))
    assert gather(factors(space, "macs"), rows).tolist() == direct(space, macs, rows)


def test_a_function_is_the_sum_of_its_tables():
    def run(row):  # x0 x1 + x1 x2 + x2 x0 + 5 x3 + x4 x5
        x = row.tolist()
        return x[0] * x[1] + x[1] * x[2] + x[2] * x[0] + 5 * x[3] + x[4] * x[5]

    counts = np.full(6, 3)
    anchors = np.array([[2] * 6, [0, 1, 2, 0, 1, 2]])
    tables = split(run, range(6), counts, anchors, [], 100, np.random.default_rng(0))
    assert sorted(scope for scope, _ in tables) == [(0, 1, 2), (3,), (4, 5)]
    for row in itertools.product(range(3), repeat=6):
        assert sum(table[tuple(row[i] for i in scope)] for scope, table in tables) == run(np.array(row))


def test_what_all_interacts_needs_one_large_table():
    with pytest.raises(ValueError, match="3 choices interact, more than a table of 20 entries can hold"):
        split(
            lambda row: int(np.prod(row + 1)),
            range(3),
            np.full(3, 3),
            np.full((1, 3), 2),
            [],
            20,
            np.random.default_rng(0),
        )


def test_an_input_alone_is_a_constant():
    @dataclass(frozen=True)
    class Still:
        choices: tuple[Choice, ...] = (Choice(name="a", options=(1, 2)),)

        def supernet(self, key):
            return None

        def layers(self, arch):
            return (Input(shape=(2, 2, 1)),)

    found = factors(Still(), elements)
    assert (found.constant, found.terms) == (4, ())

"""What tables say of a population is what the layers of each network say, to the last byte."""

import numpy as np
import pytest

import search_spaces
from hardware.costs.kernels import kernels
from hardware.costs.memory import flash_bytes, peak_bytes
from hardware.costs.network import network_costs
from hardware.costs.population import COUNTED, cost_tables, forget, population
from search_spaces.alive import alive
from search_spaces.derived.enumeration import enumerate_all
from search_spaces.derived.factors import gather
from search_spaces.layers import Depthwise
from search_spaces.mobile import Mobile, Stage
from search_spaces.ofa_mobilenet import OfaMobileNet
from search_spaces.space import largest, option_counts, smallest
from search_spaces.vision_transformer import VisionTransformer

MOBILE = Mobile(
    image_size=16,
    stages=(
        Stage(widths=(8, 12), depths=(1,), stride=2),
        Stage(widths=(8, 16), depths=(1, 2), stride=2, squeeze_excite=(False, True)),
    ),
    kernels=(3, 5, 7),
    expansions=(3,),
    head_channels=16,
)
VIT = VisionTransformer(
    image_size=8, classes=5, patch=4, dims=(12, 16), depths=(1, 2), heads=(1, 2), mlp_ratios=(1.5, 2.0), head_dim=8
)
CELLS = search_spaces.EXAMPLES[3]
PRECISIONS = ("fp32", "fp16", "int8", "w4a8")


def time_of(layers):
    """A time for each kernel, and one to start."""
    steps = kernels(alive(layers))
    return 0.3 + sum(1e-6 * kernel.operations**0.9 + 1e-4 * len(kernel.fused) for kernel in steps)


def work_of(layers):
    """How many kernels, how many values they write, and a column of zeros."""
    steps = kernels(alive(layers))
    return [len(steps), sum(kernel.output_values for kernel in steps), 0]


def slowest(layers):
    """No sum: the most operations of a kernel."""
    return max([kernel.operations for kernel in kernels(alive(layers))], default=0)


FUNCTIONS = {"time": time_of, "work": work_of, "slowest": slowest}


def drawn(space, n, seed=1):
    """Rows of genes, canonical or not."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, option_counts(space), (n, len(space.choices))).astype(np.int32)


def counts_of(space, rows, precision):
    return [network_costs(space.layers(row), precision) for row in rows]


@pytest.mark.parametrize("number", range(len(search_spaces.EXAMPLES)))
def test_every_cost_of_every_example_is_that_of_its_layers(number):
    space, precision = search_spaces.EXAMPLES[number], PRECISIONS[number % 4]
    rows = np.concatenate([drawn(space, 16), smallest(space)[None], largest(space)[None]])
    found = cost_tables(space, precision)
    together, one_by_one = population(found, rows), counts_of(space, rows, precision)
    for name in COUNTED:
        assert together[name].tolist() == [each[name] for each in one_by_one], name
    # Only cells with cut edges, of which all decide what runs, have costs that no small tables hold.
    cut_edges = {"activation_bytes", "macs_per_byte", "peak_bytes"}
    assert set(found.direct) == (cut_edges if space is CELLS else set())


@pytest.mark.parametrize("space", [MOBILE, VIT, search_spaces.EXAMPLES[12]], ids=lambda space: type(space).__name__)
def test_functions_of_a_network_are_what_they_say_of_each(space):
    rows = np.concatenate([drawn(space, 16), smallest(space)[None], largest(space)[None]])
    found = cost_tables(space, "int8", FUNCTIONS)
    together = population(found, rows)
    assert np.allclose(together["time"], [time_of(space.layers(row)) for row in rows], rtol=1e-12, atol=0)
    assert together["work"].tolist() == [work_of(space.layers(row)) for row in rows]
    assert together["slowest"].tolist() == [slowest(space.layers(row)) for row in rows]
    assert found.direct == ("slowest",)


@pytest.mark.parametrize("space", [MOBILE, VIT], ids=lambda space: type(space).__name__)
def test_tables_hold_for_every_network(space):
    rows = np.concatenate(list(enumerate_all(space)))
    found = cost_tables(space, "w4a8")
    together, one_by_one = population(found, rows), counts_of(space, rows, "w4a8")
    assert not found.direct
    for name in COUNTED:
        assert together[name].tolist() == [each[name] for each in one_by_one], name
    for name in ("peak_bytes", "flash_bytes", "macs"):
        lowest = found.lowest(name)
        assert lowest is not None
        assert lowest.value == together[name].min()
        assert network_costs(space.layers(lowest.arch), "w4a8")[name] == lowest.value
    assert found.lowest("macs_per_byte") is None  # neither a sum nor a highest


def test_weights_of_cells_are_tables_though_cut_edges_leave_operations_out():
    found = cost_tables(CELLS, "w4a8")
    tables = found.factors("flash_bytes")
    assert tables is not None
    assert found.factors("activation_bytes") is None
    rows = drawn(CELLS, 200)  # of 15,625 cells
    assert gather(tables, rows).tolist() == [flash_bytes(CELLS.layers(row), "w4a8") for row in rows]


@pytest.mark.slow
def test_blocks_as_published_have_tables_for_every_cost():
    space = OfaMobileNet(resolutions=(128, 224), depths=(2, 3), kernels=(3, 7), expansions=(3, 6))
    rows = np.concatenate([drawn(space, 20), smallest(space)[None], largest(space)[None]])
    found = cost_tables(space, "int8")
    together, one_by_one = population(found, rows), counts_of(space, rows, "int8")
    assert not found.direct
    for name in COUNTED:
        assert together[name].tolist() == [each[name] for each in one_by_one], name
    lowest = found.lowest("peak_bytes")
    assert lowest is not None
    # At 128 px: the first block's 64 * 64 * 16 values and three times as many that they are expanded to.
    assert lowest.value == 4 * 64 * 64 * 16


def test_what_tables_do_not_hold_is_computed_once_a_network(monkeypatch):
    asked = []

    def counted(layers, precision):
        asked.append(layers)
        return network_costs(layers, precision)

    monkeypatch.setattr("hardware.costs.population.network_costs", counted)
    forget()
    found = cost_tables(CELLS, "w4a8")
    rows = np.repeat(drawn(CELLS, 5), 10, 0)
    first, again = population(found, rows), population(found, rows[::-1])
    assert len(asked) == 5
    assert first["peak_bytes"].tolist() == again["peak_bytes"][::-1].tolist()
    assert first["peak_bytes"][::10].tolist() == [peak_bytes(CELLS.layers(row), "w4a8") for row in rows[::10]]


def test_a_value_that_its_unit_does_not_hold_is_computed_directly(monkeypatch):
    monkeypatch.setattr("hardware.costs.population.PROBED", 0)

    def halves(layers):  # whole for the smallest and the largest network
        return sum(0.5 for layer in layers if isinstance(layer, Depthwise) and layer.kernel == 5)

    found = cost_tables(MOBILE, "int8", {"halves": halves})
    assert found.direct == ("halves",)
    rows = drawn(MOBILE, 10)
    assert population(found, rows)["halves"].tolist() == [halves(MOBILE.layers(row)) for row in rows]


def test_a_population_of_none_costs_nothing():
    found = population(cost_tables(VIT, "int8", FUNCTIONS), np.zeros((0, len(VIT.choices)), np.int32))
    shapes = dict.fromkeys((*COUNTED, "time", "slowest"), (0,)) | {"work": (0, 3)}
    assert {name: values.shape for name, values in found.items()} == shapes
    cells = population(cost_tables(CELLS, "w4a8"), np.zeros((0, 6), np.int32))
    assert {name: (values.shape, values.dtype.kind) for name, values in cells.items()} == {
        name: ((0,), "f" if name == "macs_per_byte" else "i") for name in COUNTED
    }


def test_widths_of_numbers_scale_what_is_moved():
    rows = drawn(MOBILE, 20)
    wide, narrow = (population(cost_tables(MOBILE, precision), rows) for precision in ("fp32", "int8"))
    for name in ("weight_bytes", "activation_bytes", "peak_bytes"):
        assert (wide[name] == 4 * narrow[name]).all()
    assert (wide["macs"] == narrow["macs"]).all()


def test_wrong_populations_and_names_are_refused():
    found = cost_tables(VIT, "int8")
    with pytest.raises(ValueError, match="put a single one into a list"):
        population(found, smallest(VIT))
    with pytest.raises(ValueError, match=r"in row 1, `\S+` has options"):
        population(found, np.stack([smallest(VIT), largest(VIT) + 1]))
    with pytest.raises(ValueError, match="a function can't be called `macs`, which is counted anyway"):
        cost_tables(VIT, "int8", {"macs": time_of})

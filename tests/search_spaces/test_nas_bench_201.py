"""NAS-Bench-201: what the published strings, sizes and indices say, and cells worked by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest

from search_spaces.layers import AvgPool, Zeros, total_macs, total_params
from search_spaces.nas_bench_201 import OPERATIONS, NasBench201, arch_of, cell_string, is_connected
from search_spaces.nas_bench_201_table import Table, read_table
from search_spaces.space import largest, size, smallest

NONE, SKIP, POOL, CONV1, CONV3 = range(5)


def test_it_has_the_published_number_of_networks():
    assert size(NasBench201()) == 15_625


def test_multiply_accumulates_and_parameters_by_hand():
    """All edges 3x3 convolutions, five cells of 16, 32 and 64 channels at 32, 16 and 8 px; 10 classes."""
    layers = NasBench201().layers(largest(NasBench201()))
    # MACs. Stem: 32*32*9*3*16 = 442,368. A cell: 6 convolutions of 32*32*9*16*16 = 2,359,296, the same in each stage
    # (a quarter of the positions, four times the products): 15 cells 212,336,640. A reduction to 32 channels at 16 px:
    # 16*16*(9*16*32 + 9*32*32 + 16*32) = 3,670,016, and to 64 as many. Classifier: 640.
    assert total_macs(layers) == 442_368 + 212_336_640 + 2 * 3_670_016 + 640 == 220_119_680
    # Parameters. Stem: 9*3*16 + 2*16 = 464. Cells: 5*6*(9*c*c + 2*c) = 70,080 + 278,400 + 1,109,760. Reductions:
    # 9*16*32 + 9*32*32 + 16*32 + 2*2*32 = 14,464; 9*32*64 + 9*64*64 + 32*64 + 2*2*64 = 57,600. Head: 128 + 650.
    assert total_params(layers) == 464 + 1_458_240 + 14_464 + 57_600 + 128 + 650 == 1_531_546


@pytest.mark.parametrize(
    ("arch", "macs", "params"),
    [  # instantiated from AutoDL-Projects' TinyNetwork(C=16, N=5), 10 classes, 32 px
        ((NONE,) * 6, 7_783_040, 73_306),
        ((POOL,) * 6, 7_783_040, 73_306),
        ((CONV1,) * 6, 31_376_000, 241_306),
        ((CONV3, CONV1, CONV3, SKIP, CONV3, CONV1), 121_815_680, 858_426),
    ],
)
def test_published_cells_have_their_published_sizes(arch, macs, params):
    layers = NasBench201().layers(np.array(arch))
    assert (total_macs(layers), total_params(layers)) == (macs, params)


def test_all_sizes_of_the_reference(data_root):
    path = data_root.parent / "reference" / "networks.csv"
    if not path.exists():
        pytest.skip(f"no {path}")
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["family"] == "NAS-Bench-201"]
    assert len(rows) > 10
    for row in rows:
        _, cell, classes = row["name"].split()
        space = NasBench201(image_size=int(row["input_resolution"]), classes=int(classes.removeprefix("classes=")))
        layers = space.layers(arch_of(cell))
        assert (total_params(layers), total_macs(layers)) == (int(row["params_exact"]), int(row["macs_exact"]))


def test_a_cell_is_named_as_published():
    arch = (CONV3, NONE, SKIP, POOL, CONV1, CONV3)  # edges 01, 02, 12, 03, 13, 23
    cell = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"
    assert cell_string(arch) == cell
    assert arch_of(cell).tolist() == list(arch)


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "|none~0|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|max_pool_3x3~2|",
        "|none~0|+|none~1|none~0|+|none~0|none~1|none~2|",  # the wrong nodes
        "|none~0|none~0|none~1|none~0|none~1|none~2|",
    ],
)
def test_what_is_no_cell_is_refused(cell):
    with pytest.raises(ValueError, match=r"a cell reads .*got"):
        arch_of(cell)


def test_edges_make_the_layers_that_they_are_named_for():
    """One cell: node 1 = conv3x3 of node 0, node 2 = node 0, node 3 = pool of node 0 + 0 * node 1 + node 2."""
    space = NasBench201(image_size=8, channels=4, cells=1, stages=1)
    layers = space.layers(np.array([CONV3, SKIP, NONE, POOL, NONE, SKIP]))
    told = [(type(layer).__name__, layer.inputs) for layer in layers]
    assert told == [
        *(("Input", ()), ("Conv", (0,)), ("Norm", (1,))),  # the stem has no activation
        *(("Activation", (2,)), ("Conv", (3,)), ("Norm", (4,))),  # edge 01
        *(("Zeros", (5,)), ("Add", (2, 6))),  # edge 12, node 2
        *(("AvgPool", (2,)), ("Zeros", (5,)), ("Add", (8, 9)), ("Add", (10, 7))),  # edges 03, 13, node 3
        *(("Norm", (11,)), ("Activation", (12,)), ("GlobalPool", (13,)), ("Dense", (14,))),
    ]
    pool, zeros = layers[8], layers[6]
    assert isinstance(pool, AvgPool)
    assert isinstance(zeros, Zeros)
    assert (pool.kernel, pool.stride, pool.shape) == (3, 1, (8, 8, 4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 30}, r"`image_size` must be a multiple of 4.*got 30; did you mean 32\?"),
        ({"image_size": 2}, r"did you mean 4\?"),
        ({"cells": 0}, "`cells` must be at least 1, got 0"),
        ({"channels": -4}, "`channels` must be at least 1"),
    ],
)
def test_spaces_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NasBench201(**settings)


# The published table


@pytest.fixture(scope="module")
def path(data_root):
    found = Path(data_root) / "nas_bench_201" / "nb201_acc.npz"
    if not found.exists():
        pytest.skip(f"no {found}")
    return found


def test_all_published_strings_and_indices_come_back(path):
    table = read_table(path)
    with np.load(path) as arrays:
        cells, ops, names = arrays["arch_str"].tolist(), arrays["ops"], arrays["op_names"].tolist()
    assert [cell_string(arch) for arch in table.archs] == cells
    assert [table.index_of(arch) for arch in table.archs] == list(range(15_625))
    to_published = np.array([names.index(name) for name in OPERATIONS])
    assert np.array_equal(to_published[table.archs], ops)  # the file says the operations twice


def test_cells_that_cut_the_image_off_are_no_better_than_chance(path):
    table = read_table(path)
    cut_off = np.array([not is_connected(arch) for arch in table.archs])
    assert cut_off.sum() == 341  # as the data's own notes count
    accuracy = table.columns["cifar10_test_200ep"]
    assert accuracy[cut_off].max() < 10.1 < accuracy[~cut_off].min()


def test_published_figures_belong_to_their_cells(path):
    table = read_table(path)
    accuracy = table.columns["cifar10_test_200ep"]
    assert accuracy[table.index_of(smallest(NasBench201()))] == pytest.approx(10)  # chance: no edge is there
    # The best of CIFAR-10 as published: 94.37 %.
    best = int(accuracy.argmax())
    assert accuracy[best] == pytest.approx(94.37, abs=0.005)
    named = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    assert table.index_of(arch_of(named)) == best
    assert cell_string(table.arch_of(best)) == named
    with pytest.raises(IndexError, match="0 to 15624, got 15625"):
        table.arch_of(15_625)


def test_a_file_that_is_no_table_is_refused(tmp_path):
    np.savez(tmp_path / "no.npz", ops=np.zeros((3, 6)))
    with pytest.raises(ValueError, match="no array `arch_str`"):
        read_table(tmp_path / "no.npz")
    np.savez(tmp_path / "few.npz", arch_str=np.array([cell_string(smallest(NasBench201()))] * 2))
    with pytest.raises(ValueError, match="must hold all 15625 cells once, got 2, 1 distinct"):
        read_table(tmp_path / "few.npz")


def test_a_table_is_told_by_its_rows():
    archs = np.array([[0, 1, 2, 3, 4, 0], [4, 4, 4, 4, 4, 4]], np.int32)
    table = Table(archs=archs, columns={})
    assert [table.index_of(arch) for arch in archs] == [0, 1]
    assert table.arch_of(1).tolist() == [4] * 6

"""NAS-Bench-201's counted networks: parameters and MACs are the published integers, indices those of the table."""

import jax
import pytest

from search_spaces.layers import total_macs, total_params
from search_spaces.nas_bench_201 import arch_of
from search_spaces.nas_bench_201_table import read_table
from search_spaces.networks.nas_bench_201 import CELLS, NETWORKS
from search_spaces.reading import Cut

# Counted in PyTorch from AutoDL-Projects' TinyNetwork(C=16, N=5) (shared/reference/networks.csv): parameters, MACs.
COUNTED = {
    "1": (802_426, 113_951_360),
    "1_cifar100": (808_276, 113_957_120),
    "1_imagenet16": (809_576, 28_495_360),
    "1462": (1_531_546, 220_119_680),
    "1462_cifar100": (1_537_396, 220_125_440),
    "1651": (73_306, 7_783_040),
    "1651_cifar100": (79_156, 7_788_800),
    "1651_imagenet16": (80_456, 1_953_280),
    "1835": (73_306, 7_783_040),
    "3731": (858_426, 121_815_680),
    "3731_cifar100": (864_276, 121_821_440),
    "3731_imagenet16": (865_576, 30_461_440),
    "4317": (241_306, 31_376_000),
    "4317_cifar100": (247_156, 31_381_760),
    "7581": (73_306, 7_783_040),
    "7581_imagenet16": (80_456, 1_953_280),
    "9930": (1_288_506, 184_730_240),
    "9930_imagenet16": (1_295_656, 46_190_080),
}


def test_published_counts():
    found = {name: make().layers() for name, make in NETWORKS.items()}
    counts = {name: (total_params(layers), total_macs(layers)) for name, layers in found.items()}
    assert counts == {f"nas_bench_201_{name}": count for name, count in COUNTED.items()}


def test_the_real_network_has_the_published_parameters():
    point = NETWORKS["nas_bench_201_3731"]()
    read = Cut.of(point.space.choices, point.arch)
    network = jax.eval_shape(lambda: point.space.supernet(jax.random.key(0)).cut(read))
    assert sum(leaf.size for leaf in jax.tree.leaves(network)) == 858_426


def test_cells_have_their_published_indices(data_root):
    path = data_root / "nas_bench_201" / "nb201_acc.npz"
    if not path.exists():
        pytest.skip(f"no {path}")
    table = read_table(path)
    for index, ((a, b, c, d, e, f), _) in CELLS.items():
        assert table.index_of(arch_of(f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|")) == index

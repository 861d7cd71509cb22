"""DARTS' published networks: parameters and MACs are the published integers, of the layers and of the real network."""

import jax
import pytest

from search_spaces.darts import Darts, arch_of, genotype
from search_spaces.layers import Depthwise, MaxPool, total_macs, total_params
from search_spaces.networks.darts import CELLS, NETWORKS
from search_spaces.reading import Cut

# Counted in PyTorch from quark0/darts, without the auxiliary classifier (shared/reference/networks.csv).
COUNTED = {
    "darts_v1_cifar10": (3_169_414, 500_987_520),
    "darts_v1_imagenet": (4_510_432, 505_864_704),
    "darts_v2_cifar10": (3_349_342, 528_359_040),
    "darts_v2_imagenet": (4_718_752, 529_911_552),
}


@pytest.mark.parametrize("name", COUNTED)
def test_published_counts(name):
    layers = NETWORKS[name]().layers()
    assert (total_params(layers), total_macs(layers)) == COUNTED[name]


def test_the_real_network_has_the_parameters_of_its_layers():
    """Of three cells and the operations that V2 has; `experiments.benchmarks.counts` compares all of the published."""
    used = ("max_pool_3x3", "skip_connect", "dil_conv_3x3", "sep_conv_3x3")
    space = Darts(channels=8, cells=3, operations=used)
    arch = arch_of(space, *CELLS["V2"])
    network = jax.eval_shape(lambda: space.supernet(jax.random.key(0)).cut(Cut.of(space.choices, arch)))
    assert sum(leaf.size for leaf in jax.tree.leaves(network)) == total_params(space.layers(arch))


def test_all_published_networks_are_here():
    assert set(NETWORKS) == set(COUNTED)


def test_a_cell_holds_what_its_genotype_says():
    point = NETWORKS["darts_v2_cifar10"]()
    normal, reduction = CELLS["V2"]
    for kind, cell in (("normal", normal), ("reduction", reduction)):
        by_node = [set(cell[i : i + 2]) for i in range(0, 8, 2)]
        said = genotype(point.space, point.arch)[kind]
        assert [set(said[i : i + 2]) for i in range(0, 8, 2)] == by_node
    layers = point.layers()
    # 18 normal cells of five separable convolutions, twice depthwise each, and one dilated.
    assert [layer.dilation for layer in layers if isinstance(layer, Depthwise)].count(1) == 18 * 5 * 2
    assert [layer.dilation for layer in layers if isinstance(layer, Depthwise)].count(2) == 18
    # 2 reductions of five max pools, all of a cell's own inputs, and so at stride 2.
    assert [layer.stride for layer in layers if isinstance(layer, MaxPool)] == [2] * 10

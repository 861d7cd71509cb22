"""The DARTS space: its size by the paper's formula, its parts in plain numpy, and its cells as they are published."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search_spaces.blocks.darts_cell import OPERATIONS, Entrance, Node, pairs
from search_spaces.building import Block
from search_spaces.darts import Darts, arch_of, genotype
from search_spaces.derived.sampling import sample
from search_spaces.layers import Add, Concat, Conv, total_macs, total_params
from search_spaces.reading import Cut, Masked
from search_spaces.space import largest, size, smallest
from search_spaces.widths import Width

SMALL = Darts(image_size=8, channels=8, cells=3, nodes=2)


def test_its_size_is_the_papers():
    """Two of the k + 1 states before the k-th node, and one of seven operations on each: about 10^9 cells."""
    cells = 1
    for k in range(1, 5):
        cells *= (k + 1) * k // 2 * 7**2
    assert cells == 1_037_664_180
    assert size(Darts()) == cells**2  # "10^18 possible DAGs" for both cells


def test_cells_stand_where_they_do_in_the_paper():
    """20 cells, reductions at one and two thirds of them: 36, 72 and 144 channels at 32, 16 and 8 px, times 4 nodes."""
    published = Darts(operations=("skip_connect",))
    layers = published.layers(smallest(published))
    cells = [layer.shape for layer in layers if isinstance(layer, Concat) and len(layer.inputs) == 4]
    assert cells == [(32, 32, 144)] * 6 + [(16, 16, 288)] * 7 + [(8, 8, 576)] * 7
    imagenet = Darts(image_size=224, channels=48, cells=14, stem="imagenet", operations=("skip_connect",))
    layers = imagenet.layers(smallest(imagenet))
    cells = [layer.shape for layer in layers if isinstance(layer, Concat) and len(layer.inputs) == 4]
    assert cells == [(28, 28, 192)] * 4 + [(14, 14, 384)] * 5 + [(7, 7, 768)] * 5


def test_parameters_and_multiply_accumulates_by_hand():
    """One node a cell and skipping everywhere: what is left are entrances, and reductions' own skips."""
    space = Darts(image_size=8, channels=8, cells=3, nodes=1, operations=("skip_connect",), classes=10)
    layers = space.layers(np.zeros(4, np.int32))
    # The stem: 3 -> 24 channels. The first cell, 24 + 24 -> 8. The first reduction, 24 + 8 -> 16, both skipped to 16 at
    # half the size. The second, 8 (to be halved) + 16 -> 32, both skipped to 32. Norms have 2 a channel.
    stem, first = 27 * 24 + 2 * 24, 2 * (24 * 8 + 2 * 8)
    reduction = (24 * 16 + 8 * 16 + 2 * 2 * 16) + 2 * (16 * 16 + 2 * 16)
    second = (8 * 32 + 16 * 32 + 2 * 2 * 32) + 2 * (32 * 32 + 2 * 32)
    assert total_params(layers) == stem + first + reduction + second + 32 * 10 + 10
    macs = 64 * 27 * 24 + 64 * 2 * 24 * 8  # at 8 px
    macs += 64 * (24 * 16 + 8 * 16) + 16 * 2 * 16 * 16  # entrances at 8 px, skips to 4 px
    macs += 16 * (8 * 32 + 16 * 32) + 4 * 2 * 32 * 32  # at 4 px, of which one comes from 8; skips to 2 px
    assert total_macs(layers) == macs + 320


@pytest.mark.parametrize("side", [4, 5])
def test_halving_reads_even_and_odd_positions(side):
    """The second convolution reads the image shifted by one, beyond which odd images have zeros."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    block = Block.init(draw, Entrance(channels=6, halves=True), (Width(3),))
    images = rng.normal(size=(2, side, side, 3)).astype(np.float32)
    got, _ = block(Cut(()), None, jnp.asarray(images))
    positive = np.pad(np.maximum(images, 0), ((0, 0), (0, 1), (0, 1), (0, 0)))
    half = (side + 1) // 2
    even = positive[:, : side + side % 2 : 2, : side + side % 2 : 2] @ np.asarray(block.even.weight)[0, 0]
    odd = positive[:, 1::2, 1::2][:, :half, :half] @ np.asarray(block.odd.weight)[0, 0]
    joined = np.concatenate([even, odd], -1)
    mean, var = joined.mean((0, 1, 2)), joined.var((0, 1, 2))
    expected = (joined - mean) / np.sqrt(var + 1e-5)
    assert got.shape == (2, half, half, 6)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_relaxed_node_is_an_edge_mixture_of_both_choices():
    """Every pair in its probability, of each edge of it every operation in its own."""
    operations = ("avg_pool_3x3", "skip_connect")
    rng = np.random.default_rng(0)
    states = [jnp.asarray(rng.normal(size=(2, 5, 5, 4)), jnp.float32) for _ in range(3)]
    rows = {
        name: jnp.asarray(rng.dirichlet(np.ones(n)), jnp.float32)
        for name, n in (("inputs", 3), ("first", 2), ("second", 2))
    }
    node = Block.init(np.zeros, Node(strides=(1, 1, 1), operations=operations), (Width(4),) * 3)
    got, _ = node(Masked(rows), None, *states)
    done = [[mean_3x3(np.asarray(x)), np.asarray(x)] for x in states]
    expected = np.zeros(got.shape)
    for probability, (one, other) in zip(rows["inputs"], [(0, 2), (1, 2), (0, 1)], strict=True):
        for i in range(2):
            expected += float(probability) * float(rows["first"][i]) * done[one][i]
            expected += float(probability) * float(rows["second"][i]) * done[other][i]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert pairs(3) == ((0, 2), (1, 2), (0, 1))  # a cell's own inputs last: where they are shrunk, they cost more


def mean_3x3(x):
    out = np.zeros_like(x)
    for r in range(x.shape[1]):
        for c in range(x.shape[2]):
            out[:, r, c] = x[:, max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2].mean((1, 2))
    return out


def test_an_edge_has_its_parameters_whichever_of_a_pair_it_is():
    """So that reading states 0 and 1, or 1 and 2, state 1 passes through the same convolution."""
    shared = arch_of(
        SMALL,
        [("skip_connect", 0), ("skip_connect", 1), ("skip_connect", 0), ("sep_conv_3x3", 1)],
        [("skip_connect", 0), ("skip_connect", 1)] * 2,
    )
    other = arch_of(
        SMALL,
        [("skip_connect", 0), ("skip_connect", 1), ("sep_conv_3x3", 1), ("skip_connect", 2)],
        [("skip_connect", 0), ("skip_connect", 1)] * 2,
    )
    paths = [[layer.path for layer in SMALL.layers(arch) if isinstance(layer, Conv)] for arch in (shared, other)]
    assert paths[0] == paths[1]
    assert any("state1.sep_conv_3x3" in path for path in paths[0])


def test_genotypes_come_back():
    for arch in np.asarray(sample(jax.random.key(0), Darts(), 20)):
        cells = genotype(Darts(), arch)
        assert np.array_equal(arch_of(Darts(), cells["normal"], cells["reduction"]), arch)
    top = genotype(SMALL, largest(SMALL))["normal"]
    assert top == (("sep_conv_5x5", 0), ("sep_conv_5x5", 1)) * 2


def test_nodes_add_two_operations():
    layers = SMALL.layers(smallest(SMALL))
    assert sum(isinstance(layer, Add) for layer in layers) == 3 * 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 7}, r"`channels` must be even.*got 7; did you mean 8\?"),
        ({"cells": 2}, "`cells` must be at least 3, a normal one and two reductions, got 2"),
        ({"nodes": 0}, "`nodes` must be at least 1, got 0"),
        ({"image_size": 2}, "`image_size` must be at least 3 px.*got 2"),
        ({"stem": "imagenet", "image_size": 16}, "`image_size` must be at least 17 px"),
        ({"operations": ("sep_conv_3x3", "skip_connect")}, r"did you mean \('skip_connect', 'sep_conv_3x3'\)\?"),
        ({"operations": ("none", "skip_connect")}, r"did you mean \('skip_connect',\)\?"),
    ],
)
def test_spaces_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Darts(**settings)


SKIPS = (("skip_connect", 0), ("skip_connect", 1))


@pytest.mark.parametrize(
    ("normal", "message"),
    [
        (SKIPS, "the normal cell needs two operations for each of 2 nodes, got 2 in all"),
        (
            (*SKIPS, ("skip_connect", 1), ("skip_connect", 1)),
            "node 3 of the normal cell must read two different states",
        ),
        ((*SKIPS, ("skip_connect", 0), ("skip_connect", 3)), "of 0 to 2, got 0 and 3"),
        ((*SKIPS, ("none", 0), ("skip_connect", 1)), "`none` is no operation of this space; they are max_pool_3x3"),
    ],
)
def test_what_is_no_cell_is_refused(normal, message):
    with pytest.raises(ValueError, match=message):
        arch_of(SMALL, normal, SKIPS * 2)


def test_operations_have_the_published_names():
    published = ("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5")
    assert set(OPERATIONS) == {*published, "dil_conv_3x3", "dil_conv_5x5"}

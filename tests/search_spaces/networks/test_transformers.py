"""Named transformers: parameters and MACs are the published integers, of the layers and of the real network."""

import jax
import pytest

from search_spaces.layers import LayerNorm, RelativeScores, Take, total_macs, total_params
from search_spaces.networks import autoformer, vit
from search_spaces.reading import Cut

NETWORKS = vit.NETWORKS | autoformer.NETWORKS

# ViT and DeiT: counted in PyTorch from timm's networks; multiply-accumulates of linear layers and of attention's
# products (shared/reference/networks.csv). AutoFormer's parameters: its authors' `get_sampled_params_numel`; their
# count of operations follows another convention (tests/search_spaces/test_vision_transformer.py meets it).
COUNTED = {
    "vit_ti_16": (5_717_416, 1_253_683_200),
    "vit_s_16": (22_050_664, 4_598_882_304),
    "vit_b_32": (88_224_232, 4_409_186_304),
    "deit_t": (5_717_416, 1_253_683_200),
    "deit_s": (22_050_664, 4_598_882_304),
    "autoformer_t": (5_867_944, None),
    "autoformer_s": (22_891_432, None),
    "autoformer_b": (53_691_688, None),
}

# Parameters in 10^6, as published: table 6 of DeiT's paper, table 1 of ViT's.
PUBLISHED = {"vit_b_16": 86, "deit_b": 86}


@pytest.mark.parametrize("name", COUNTED)
def test_published_counts(name):
    point = NETWORKS[name]()
    layers, (params, macs) = point.layers(), COUNTED[name]
    assert total_params(layers) == params
    assert macs is None or total_macs(layers) == macs
    read = Cut.of(point.space.choices, point.arch)
    network = jax.eval_shape(lambda: point.space.supernet(jax.random.key(0)).cut(read))
    assert sum(leaf.size for leaf in jax.tree.leaves(network)) == params


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_millions(name):
    assert int(total_params(NETWORKS[name]().layers()) / 1e6) == PUBLISHED[name]


def test_all_published_networks_are_here():
    assert set(NETWORKS) == {*COUNTED, *PUBLISHED}


def test_autoformers_base_has_the_depth_and_heads_that_were_found():
    layers = NETWORKS["autoformer_b"]().layers()
    heads = [layer.shape[2] for layer in layers if isinstance(layer, RelativeScores)]
    assert heads == [9, 9, 9, 9, 9, 10, 9, 9, 10, 9, 10, 9, 9, 10]
    assert sum(isinstance(layer, LayerNorm) for layer in layers) == 2 * 14 + 1
    assert [layer.shape for layer in layers if isinstance(layer, Take)] == [(196, 1, 576)]  # the mean over patches


def test_the_classifier_of_vit_reads_the_class_token():
    takes = [layer for layer in NETWORKS["vit_b_32"]().layers() if isinstance(layer, Take)]
    assert [(take.start, take.shape) for take in takes] == [(0, (1, 1, 768))]  # of 7 x 7 patches and itself

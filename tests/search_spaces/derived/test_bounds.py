"""Bounds of a cost are those of the list of all networks, and those that can be worked by hand."""

import numpy as np
import pytest

from search_spaces.derived.bounds import bounds
from search_spaces.derived.elimination import cheapest, eliminate
from search_spaces.derived.enumeration import enumerate_all
from search_spaces.derived.factors import Factor, Factors, factors, gather
from search_spaces.layers import total_macs, total_params
from search_spaces.mobile import Mobile, Stage
from search_spaces.nas_bench_201 import NasBench201
from search_spaces.space import canonical, largest, smallest
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


@pytest.mark.parametrize("space", [MOBILE, VIT], ids=lambda space: type(space).__name__)
@pytest.mark.parametrize(("cost", "total"), [("macs", total_macs), ("params", total_params)])
def test_bounds_are_those_of_the_list(space, cost, total):
    costs = gather(factors(space, cost), np.concatenate(list(enumerate_all(space))))
    found = bounds(space, cost)
    assert found.exact
    assert (found.lowest.value, found.highest.value) == (costs.min(), costs.max())
    for extreme in (found.lowest, found.highest):
        assert total(space.layers(extreme.arch)) == extreme.value
        assert np.array_equal(canonical(space, extreme.arch), extreme.arch)


def test_cells_reach_from_no_convolution_to_all_3x3():
    found = bounds(NasBench201(image_size=8, image_channels=1, channels=4, cells=1, stages=1), "params")
    assert found.lowest.arch.max() <= 2  # no convolution: `none`, a skip or a pool
    assert found.highest.arch.tolist() == [4] * 6


@pytest.mark.parametrize("seed", range(5))
def test_costs_that_fall_are_bounded_too(seed):
    # Random tables over neighbouring choices: no option is the cheapest by its place.
    rng, space = np.random.default_rng(seed), MOBILE
    counts = [len(choice.options) for choice in space.choices]
    terms = tuple(Factor((i, i + 2), rng.integers(-20, 20, (counts[i], counts[i + 2]))) for i in range(len(counts) - 2))
    cost = Factors(space=space, name="random", constant=-3, terms=terms)
    costs = gather(cost, np.concatenate(list(enumerate_all(space))))
    found = bounds(space, cost)
    assert (found.lowest.value, found.highest.value) == (costs.min(), costs.max())
    assert gather(cost, found.lowest.arch[None])[0] == costs.min()
    assert gather(cost, found.highest.arch[None])[0] == costs.max()


def test_what_does_not_add_up_is_found_by_going_downhill():
    def peak(arch):
        return float(max(np.prod(layer.shape) for layer in VIT.layers(arch)[1:]))

    found = bounds(VIT, peak)
    assert not found.exact
    assert found.lowest.value == peak(smallest(VIT)) < found.highest.value == peak(largest(VIT))


def test_without_a_cost_the_first_options_are_as_cheap_as_any():
    assert cheapest(eliminate(VIT, None)).tolist() == smallest(VIT).tolist()


def test_too_many_choices_at_once_are_refused(monkeypatch):
    monkeypatch.setattr("search_spaces.derived.elimination.WIDEST", 3)
    cost = Factors(space=MOBILE, name="wide", constant=0, terms=(Factor((0, 1, 2), np.zeros((2, 1, 2), np.int64)),))
    with pytest.raises(ValueError, match=r"choices interact, among them `.*`: too many to count exactly"):
        eliminate(MOBILE, cost)

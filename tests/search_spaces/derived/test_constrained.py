"""Draws under a limit are uniform among all that keep it: held to lists of every architecture of small spaces."""

import itertools
from dataclasses import dataclass
from functools import cache, cached_property

import jax
import numpy as np
import pytest
from scipy.stats import chisquare

from search_spaces.derived.bounds import bounds
from search_spaces.derived.constrained import generator, under
from search_spaces.derived.counting import Draws, window
from search_spaces.derived.elimination import eliminate
from search_spaces.derived.enumeration import enumerate_all
from search_spaces.derived.factors import Factor, Factors, factors, gather
from search_spaces.derived.limits import Limit, count
from search_spaces.layers import Dense, Input, total_macs, total_params
from search_spaces.mobile import Mobile, Stage
from search_spaces.ofa_mobilenet import OfaMobileNet, OfaStage
from search_spaces.space import Choice, canonical, largest, option_counts, size
from search_spaces.vision_transformer import VisionTransformer

MOBILE = Mobile(
    image_size=16,
    stages=(
        Stage(widths=(8, 12), depths=(1,), stride=2),
        Stage(widths=(8, 16), depths=(1, 2), stride=2, squeeze_excite=(False, True)),
    ),
    kernels=(3, 5),
    expansions=(2, 3),
    head_channels=16,
)
OFA = OfaMobileNet(
    image_channels=1, classes=10, resolutions=(14, 16), stages=(OfaStage(width=16),), depths=(1, 2), expansions=(2, 3)
)
VIT = VisionTransformer(
    image_size=8, classes=5, patch=4, dims=(12, 16), depths=(1, 2), heads=(1, 2), mlp_ratios=(1.5, 2.0), head_dim=8
)


def every(space):
    return np.concatenate(list(enumerate_all(space)))


def every_gene_row(space):
    return np.array(list(itertools.product(*map(range, option_counts(space)))), np.int32)


@dataclass(frozen=True)
class Random:
    """Nested choices with interacting costs, all drawn from a seed: no block, no slot, no order to lean on."""

    seed: int

    @cached_property
    def choices(self):
        rng = np.random.default_rng(self.seed)
        choices = []
        for i in range(7):
            requires = None
            if i and rng.random() < 0.6:
                above = choices[rng.integers(i)]
                requires = (above.name, int(rng.integers(len(above.options))))  # 0, too: with an effect where it has
            choices.append(Choice(name=f"c{i}", options=tuple(range(rng.integers(1, 5))), requires=requires))
        return tuple(choices)

    @cached_property
    def tables(self):
        rng, counts = np.random.default_rng(self.seed + 100), option_counts(self)
        scopes = [rng.choice(7, k, replace=False) for k in (1, 1, 2, 2, 2, 3)]
        return [(scope, rng.integers(0, 50, tuple(counts[scope]))) for scope in scopes]

    def supernet(self, key):
        return None

    def costs(self, rows):
        rows = canonical(self, rows)
        return sum(table[tuple(rows[:, scope].T)] for scope, table in self.tables)

    def layers(self, arch):
        one = Input(shape=(1, 1, 1))
        return one, Dense(
            inputs=(0,), shape=(1, 1, 1), in_channels=int(self.costs(arch[None])[0]), bias=False
        )  # so many MACs


RANDOM = [Random(seed) for seed in range(6)]


@pytest.mark.parametrize("space", RANDOM, ids=lambda space: f"seed{space.seed}")
@pytest.mark.parametrize("over", ["networks", "genes"])
def test_counts_are_those_of_a_list(space, over):
    rows = every(space) if over == "networks" else every_gene_row(space)
    costs = space.costs(rows)
    for low, high in ((None, 60), (None, 75), (50, 90), (80, None)):
        kept = np.ones(len(rows), bool)
        kept &= costs >= (low or 0)
        kept &= costs <= (high or 10**9)
        found = count(space, "macs", at_most=high, at_least=low, over=over)
        assert found.exact
        assert found.at_least == kept.sum()


@pytest.mark.parametrize("space", RANDOM, ids=lambda space: f"seed{space.seed}")
@pytest.mark.parametrize("over", ["networks", "genes"])
def test_draws_are_uniform_among_those_of_a_list(space, over):
    networks = every(space)
    costs = space.costs(networks)
    low, high = np.quantile(costs, [0.2, 0.6]).astype(int).tolist()
    kept = networks[(costs >= low) & (costs <= high)]
    # over genes a network is as probable as there are rows of genes that mean it
    meant, times = np.unique(canonical(space, every_gene_row(space)), axis=0, return_counts=True)
    weight = dict(zip(map(bytes, meant), times.tolist(), strict=True))
    expected = np.array([weight[bytes(row)] if over == "genes" else 1 for row in kept], float)
    drawn = under(space, "macs", at_most=high, at_least=low, over=over)(3, 100 * len(kept))
    assert_drawn(kept, expected, drawn)


def assert_drawn(kept, expected, drawn):
    place = {bytes(row): i for i, row in enumerate(kept)}
    seen = np.bincount([place[bytes(row)] for row in drawn], minlength=len(kept))
    if len(kept) > 1:
        assert chisquare(seen, expected / expected.sum() * seen.sum()).pvalue > 0.001


@pytest.mark.parametrize("space", [MOBILE, OFA, VIT], ids=lambda space: type(space).__name__)
@pytest.mark.parametrize("cost", ["macs", "params"])
def test_real_spaces_are_drawn_uniformly_too(space, cost):
    rows = every(space)
    costs = gather(factors(space, cost), rows)
    high = int(np.quantile(costs, 0.3))
    kept = rows[costs <= high]
    drawn = under(space, cost, at_most=high)(jax.random.key(0), 30 * len(kept))
    assert len(kept) < size(space)
    assert_drawn(kept, np.ones(len(kept)), drawn)


def test_rounded_costs_leave_draws_uniform_and_counts_on_both_sides(monkeypatch):
    monkeypatch.setattr(
        "search_spaces.derived.constrained.steps_for", lambda *_: 40
    )  # so that hundreds of costs share a step
    for name in ("MOST_EXACT", "MOST_STEPS"):
        monkeypatch.setattr(f"search_spaces.derived.limits.{name}", 40)
    rows = every(MOBILE)
    costs = gather(factors(MOBILE, "macs"), rows)
    low, high = np.quantile(costs, [0.3, 0.5]).astype(int).tolist()
    kept = rows[(costs >= low) & (costs <= high)]
    drawn = under(MOBILE, "macs", at_least=low, at_most=high)(0, 30 * len(kept))
    assert_drawn(kept, np.ones(len(kept)), drawn)
    found = count(MOBILE, "macs", at_least=low, at_most=high)
    assert not found.exact
    assert found.at_least <= len(kept) <= found.at_most


def test_what_rounding_down_draws_holds_all_that_keeps_the_limit():
    found = eliminate(VIT, factors(VIT, "macs"))
    rows = every(VIT)
    costs = gather(factors(VIT, "macs"), rows)
    for low, high in itertools.combinations(np.quantile(costs, [0, 0.3, 0.6, 0.9]).astype(int).tolist(), 2):
        drawn = Draws(found, window(found, low, high, 12))(np.random.default_rng(0), 2000)
        held = {bytes(row) for row in drawn}
        assert {bytes(row) for row in rows[(costs >= low) & (costs <= high)]} <= held


def test_one_key_gives_one_population(key):
    sampler = under(OFA, "macs", at_most=10**9)
    assert np.array_equal(sampler(key, 50), sampler(key, 50))
    assert not np.array_equal(sampler(key, 50), sampler(jax.random.fold_in(key, 1), 50))
    assert np.array_equal(sampler(key, 50), sampler(jax.random.key_data(key), 50))
    assert generator(3).random() == generator(3).random()
    assert sampler(key, 0).shape == (0, 6)


def test_a_tight_limit_on_a_large_space_costs_no_search():
    space = OfaMobileNet(resolutions=(), stages=OfaMobileNet().stages[:3])
    limit = int(bounds(space, "macs").lowest.value * 1.1)
    drawn = under(space, "macs", at_most=limit)(0, 20)
    assert len(np.unique(drawn, axis=0)) == 20
    assert max(total_macs(space.layers(row)) for row in drawn) <= limit
    assert count(space, "macs", at_most=limit).at_most < size(space) // 10**6  # which so many draws would not meet


def test_several_limits_hold_together():
    rows = every(MOBILE)
    macs, params = (gather(factors(MOBILE, cost), rows) for cost in ("macs", "params"))
    at_most, at_least = int(np.quantile(macs, 0.4)), int(np.quantile(params, 0.5))
    kept = rows[(macs <= at_most) & (params >= at_least)]
    drawn = under(MOBILE, "macs", at_most=at_most, also=(Limit(cost="params", at_least=at_least),))(0, 30 * len(kept))
    assert len(kept) > 10
    assert_drawn(kept, np.ones(len(kept)), drawn)


@cache
def _peak(arch):
    return float(max(np.prod(layer.shape) for layer in VIT.layers(np.array(arch))[1:]))


def peak(arch):
    return _peak(tuple(arch.tolist()))


def test_costs_that_do_not_add_up_are_kept_by_drawing_again():
    rows = every(VIT)
    limit = np.median([peak(row) for row in rows]) - 1
    kept = rows[[peak(row) <= limit for row in rows]]
    drawn = under(VIT, peak, at_most=limit)(0, 20 * len(kept))
    assert len(kept) < len(rows)
    assert_drawn(kept, np.ones(len(kept)), drawn)
    both = under(VIT, "macs", at_most=total_macs(VIT.layers(largest(VIT))) - 1, also=(Limit(cost=peak, at_most=limit),))
    assert all(peak(row) <= limit for row in both(0, 20))


def test_an_unreachable_limit_says_what_can_be_reached():
    reach = bounds(VIT, "params")
    with pytest.raises(ValueError, match="no network has params at most 10") as said:
        under(VIT, "params", at_most=10)
    assert f"params goes from {reach.lowest.value:,} (architecture {reach.lowest.arch.tolist()})" in str(said.value)
    assert total_params(VIT.layers(reach.lowest.arch)) == reach.lowest.value
    with pytest.raises(ValueError, match=f"to {reach.highest.value:,} "):
        under(VIT, "params", at_least=reach.highest.value + 1)


def test_a_gap_between_costs_is_told():
    costs = np.unique(gather(factors(VIT, "params"), every(VIT)))
    wide = int(np.diff(costs).argmax())
    with pytest.raises(ValueError, match="no network has params at least"):
        under(VIT, "params", at_least=int(costs[wide]) + 1, at_most=int(costs[wide + 1]) - 1)


def test_limits_that_only_exclude_each_other_are_given_up():
    lowest, highest = bounds(VIT, "macs").lowest.value, bounds(VIT, "params").highest.value
    sampler = under(VIT, "macs", at_most=lowest, also=(Limit(cost="params", at_least=highest),), tries=10)
    with pytest.raises(ValueError, match=r"found 0 of 1 networks with macs at most .*; params at least .* among \d+"):
        sampler(0, 1)


def test_a_cost_that_never_fits_says_how_near_it_came():
    with pytest.raises(ValueError, match=r"the nearest peak seen was [\d,]+ \(architecture \["):
        under(VIT, peak, at_most=1, tries=1)(0, 1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "a limit needs `at_most` or `at_least`"),
        ({"at_most": float("nan")}, "a number, got nan"),
        ({"at_most": 1, "at_least": 2}, "`at_least` must not be above `at_most`, got 2 and 1"),
        ({"at_most": 1e9, "tries": 0}, "`tries` must be at least 1, got 0"),
        ({"at_most": 1e9, "cost": "mac"}, "cost must be one of macs, params or a function of a layer, got `mac`"),
    ],
)
def test_wrong_settings_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        under(VIT, **{"cost": "macs", **settings})


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="`n` must be at least 0, got -1"):
        under(VIT, "macs", at_most=1e9)(0, -1)


def test_counts_go_beyond_machine_integers():
    @dataclass(frozen=True)
    class Wide:
        choices: tuple = tuple(Choice(name=f"c{i}", options=(0, 1, 2)) for i in range(90))

        def supernet(self, key):
            return None

        def layers(self, arch):
            return ()

    sum_of_indices = Factors(
        space=Wide(), name="sum", constant=0, terms=tuple(Factor((i,), np.arange(3)) for i in range(90))
    )
    # by symmetry as many rows lie above the mean of 90 as below it
    below, all_of_it = (count(Wide(), sum_of_indices, at_most=n).at_most for n in (89, 180))
    middle = count(Wide(), sum_of_indices, at_least=90, at_most=90)
    assert all_of_it == 3**90
    assert middle.exact
    assert 2 * below + middle.at_most == 3**90


def test_infinite_limits_hold_for_all():
    assert count(VIT, "macs", at_most=float("inf")).at_least == size(VIT)
    assert len(under(VIT, "macs", at_most=float("inf"))(0, 5)) == 5


def test_a_function_of_architectures_is_not_counted():
    with pytest.raises(ValueError, match="peak does not add up over layers"):
        count(VIT, peak, at_most=1)

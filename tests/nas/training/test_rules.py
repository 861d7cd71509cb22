"""Each rule against its paper, counted by hand."""

import itertools
from dataclasses import dataclass

import jax
import numpy as np
import pytest

from nas.training.rules import ComplexityAware, Opening, Progressive, Sandwich, SinglePath, StrictFairness
from nas.training.rules.complexity_aware import pool_of
from search_spaces import EXAMPLES
from search_spaces.layers import Dense, Input
from search_spaces.nas_bench_201 import NasBench201
from search_spaces.space import Choice
from search_spaces.vision_transformer import VisionTransformer


@dataclass(frozen=True)
class Toy:
    """Independent choices without a network; its MACs are 10 times the product of (index + 1)."""

    counts: tuple[int, ...]

    @property
    def choices(self):
        return tuple(Choice(name=f"part{i}.width", options=tuple(range(n))) for i, n in enumerate(self.counts))

    def supernet(self, key):
        return None

    def layers(self, arch):
        macs = int(np.prod(np.asarray(arch) + 1))
        return (Input(shape=(1, 1, 10)), Dense(inputs=(0,), shape=(1, 1, macs), in_channels=10, path="dense"))


def drawn(rule, space, n, step=0, steps=1):
    draw = jax.jit(jax.vmap(lambda key: rule.archs(key, space, step, steps)))
    return np.asarray(draw(jax.random.split(jax.random.key(0), n)))


def test_single_path_draws_each_architecture_equally_often():
    archs = drawn(SinglePath(archs_per_step=3), Toy((2, 3)), 2000).reshape(-1, 2)
    # 6000 draws of 6 networks: 1000 each, and a deviation of sqrt(6000 * 1/6 * 5/6) = 29
    _, counts = np.unique(archs, axis=0, return_counts=True)
    assert len(counts) == 6
    assert np.abs(counts - 1000).max() < 5 * 29


@pytest.mark.parametrize(("counts", "rows"), [((3, 3), 3), ((2, 3), 6), ((2, 4, 1), 4)])
def test_strict_fairness_trains_each_option_equally_often_in_every_step(counts, rows):
    rule = StrictFairness()
    assert rule.rows(Toy(counts)) == rows  # the least common multiple
    steps = drawn(rule, Toy(counts), 20)
    for step, (i, count) in itertools.product(steps, enumerate(counts)):
        assert np.bincount(step[:, i], minlength=count).tolist() == [rows // count] * count
    assert len({step.tobytes() for step in steps}) > 10


def test_strict_fairness_pairs_options_of_two_choices_at_random():
    # 3 rows of a 3-option choice beside another: each of 9 pairs has probability 1/3 in a step
    steps = drawn(StrictFairness(), Toy((3, 3)), 3000)
    pairs = np.bincount((steps[..., 0] * 3 + steps[..., 1]).ravel(), minlength=9)
    assert np.abs(pairs - 1000).max() < 5 * np.sqrt(3000 / 3 * 2 / 3)


def test_where_counts_do_not_divide_the_rest_is_dealt_by_lot():
    rule = StrictFairness(exact=False)
    steps = drawn(rule, Toy((2, 3)), 2000)
    assert steps.shape[1] == 3
    twos = np.array([np.bincount(step[:, 0], minlength=2) for step in steps])
    assert {tuple(row) for row in twos.tolist()} == {(1, 2), (2, 1)}
    assert abs((twos[:, 0] == 2).mean() - 0.5) < 5 * 0.5 / np.sqrt(2000)


def test_strict_fairness_refuses_a_step_of_too_many_networks():
    with pytest.raises(ValueError, match=r"of \[5, 7\] options takes 35 .*most_rows`=24; set training.rule.exact=fal"):
        StrictFairness().rows(Toy((5, 7)))
    assert StrictFairness(exact=False).rows(Toy((5, 7))) == 7
    with pytest.raises(ValueError, match=r"set training.rule.exact=false with training.rule.most_rows=7, or .*=35$"):
        StrictFairness(most_rows=6).rows(Toy((5, 7)))  # 7 rows are more than 6 as well
    with pytest.raises(ValueError, match=r"of \[7\] options takes 7 .*; set training.rule.most_rows=7$"):
        StrictFairness(most_rows=6).rows(Toy((7, 7)))  # exact or not, it is the same
    assert StrictFairness(exact=False, most_rows=7).rows(Toy((5, 7))) == 7


def test_a_sandwich_has_both_ends_and_something_between():
    steps = drawn(Sandwich(random=2), Toy((2, 3)), 50)
    assert steps.shape == (50, 4, 2)
    assert (steps[:, 0] == [1, 2]).all()
    assert (steps[:, 1] == 0).all()
    assert len(np.unique(steps[:, 2:].reshape(-1, 2), axis=0)) == 6
    assert Sandwich(random=2).in_place(Toy((2,))) == (0, 1, 1, 1)
    assert Sandwich(random=1, soft=0.5).in_place(Toy((2,))) == (0, 0.5, 0.5)
    assert drawn(Sandwich(random=0), Toy((2, 3)), 1).tolist() == [[[1, 2], [0, 0]]]


def test_progressive_shrinking_opens_choices_from_the_largest_down():
    rule = Progressive(
        stages=(
            Opening(start=0.0, choices="part[12].*", options=1),
            Opening(start=0.5, choices="part1.*", options=2),
            Opening(start=0.8, choices="*", options=9),
        ),
        archs_per_step=50,
    )
    space = Toy((2, 3, 3))

    def seen(step):
        archs = drawn(rule, space, 4, step, 10).reshape(-1, 3)
        return [sorted(set(column.tolist())) for column in archs.T]

    assert seen(0) == seen(4) == [[0, 1], [2], [2]]  # no stage speaks of the first: it is open
    assert seen(5) == seen(7) == [[0, 1], [1, 2], [2]]
    assert seen(8) == seen(9) == [[0, 1], [0, 1, 2], [0, 1, 2]]


def test_stages_that_fit_nothing_or_are_out_of_order_are_refused():
    lost = Progressive(stages=(Opening(start=0.0, choices="*.widht", options=1),))
    with pytest.raises(ValueError, match=r"`\*.widht` .* fits no choice of this space; did you mean `\*.width`\?"):
        lost.rows(Toy((2, 3)))
    with pytest.raises(ValueError, match=r"`\*.kernel` .* of this space; its choices are `edge\*`$"):
        Progressive().rows(next(space for space in EXAMPLES if isinstance(space, NasBench201)))
    with pytest.raises(ValueError, match=r"its choices are `dim`, `depth`, `layer\*.heads`, `layer\*.mlp_ratio`$"):
        Progressive().rows(next(space for space in EXAMPLES if isinstance(space, VisionTransformer)))
    late, early = Opening(start=0.5, choices="*", options=1), Opening(start=0.1, choices="*", options=2)
    with pytest.raises(ValueError, match=r"must be in the order of their starts, got \[0.5, 0.1\]"):
        Progressive(stages=(late, early))


def test_complexity_aware_sampling_covers_the_range_of_macs_evenly():
    space = Toy((4, 4, 4))  # 10 to 640 MACs, three quarters of all networks below 250
    _, macs = pool_of(space, 500)
    assert (macs.min(), macs.max()) == (10, 640)
    assert (macs < 250).mean() > 0.75
    archs = drawn(ComplexityAware(candidates=64, pool=500, archs_per_step=4), space, 500).reshape(-1, 3)
    found = 10 * (archs + 1).prod(1)
    # a target below 250 has probability (250 - 10) / 630 = 0.38; the nearest of 64 candidates is near
    assert abs((found < 250).mean() - 0.38) < 0.08
    plain = drawn(ComplexityAware(candidates=1, pool=500, archs_per_step=4), space, 500).reshape(-1, 3)
    assert abs((10 * (plain + 1).prod(1) < 250).mean() - (macs < 250).mean()) < 0.06


@pytest.mark.parametrize(
    ("rule", "settings", "message"),
    [
        (SinglePath, {"archs_per_step": 0}, "`training.rule.archs_per_step` must be at least 1, got 0"),
        (StrictFairness, {"most_rows": 0}, "`training.rule.most_rows` must be at least 1, got 0"),
        (Sandwich, {"random": -1}, "`training.rule.random` must be at least 0, got -1"),
        (Sandwich, {"soft": 1.5}, "`training.rule.soft` must be between 0 and 1, got 1.5"),
        (ComplexityAware, {"candidates": 0}, "`training.rule.candidates` must be at least 1, got 0"),
        (ComplexityAware, {"pool": 1}, "`training.rule.pool` must be at least 2, got 1"),
        (Opening, {"start": 1.0, "choices": "*", "options": 1}, "`start` of an opening must .* below 1, got 1.0"),
        (Opening, {"start": 0.0, "choices": "*", "options": 0}, "`options` of an opening must be at least 1, got 0"),
    ],
)
def test_rules_out_of_range_are_refused(rule, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        rule(**settings)
    assert "\n" not in str(error.value)

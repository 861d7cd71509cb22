"""The networks to measure span what the space offers, and latency is learned from them."""

import numpy as np
import pytest

from hardware.costs.cost import Cost
from nas.profiling import evenly, learn, spread
from predictors.baselines import LinearMacs
from search_spaces.layers import total_macs
from search_spaces.mobile import Mobile, Stage
from search_spaces.space import canonical, largest, size, smallest

# 2 widths * (6 + 36) networks of one stage, squared by a second: 84^2 = 7056
SPACE = Mobile(
    image_size=12,
    stages=(Stage(widths=(8, 16), depths=(1, 2)), Stage(widths=(8, 24), depths=(1, 2), stride=2)),
    expansions=(2, 4),
)


def test_networks_span_the_macs_evenly(key):
    rows = spread(key, SPACE, 16)
    assert rows.shape == (16, len(SPACE.choices))
    assert len(np.unique(rows, axis=0)) == 16
    assert np.array_equal(canonical(SPACE, rows), rows)
    assert {tuple(smallest(SPACE)), tuple(largest(SPACE))} <= set(map(tuple, rows.tolist()))
    log_macs = np.sort(np.log([total_macs(SPACE.layers(row)) for row in rows]))
    low, high = (np.log(total_macs(SPACE.layers(end(SPACE)))) for end in (smallest, largest))
    assert (log_macs[0], log_macs[-1]) == (low, high)
    assert np.diff(log_macs).max() < 3 * (high - low) / 15
    assert np.array_equal(spread(key, SPACE, 16), rows)


def test_a_small_space_gives_no_more_networks_than_it_has(key):
    space = Mobile(image_size=8, stages=(Stage(widths=(8, 16), depths=(1,)),), kernels=(3,), expansions=(1, 2))
    rows = spread(key, space, 50)
    assert size(space) == 4
    assert len(np.unique(rows, axis=0)) == len(rows) == 4


def test_a_space_that_is_asked_for_whole_is_given_whole(key):
    # 2 widths * (9 + 9 * 9) networks of one stage: 180, each found though the draws of 180 * 8 may miss some
    space = Mobile(image_size=8, stages=(Stage(widths=(8, 16), depths=(1, 2)),))
    assert size(space) == 180
    assert len(np.unique(spread(key, space, 180), axis=0)) == 180


def test_a_pool_is_covered_evenly_on_a_log_scale():
    # Wanted are 1, 10, 100 and 1000; 90 is nearer to 100 than 120 on a log scale (0.046 decades against 0.079).
    pool = np.array([120.0, 1000.0, 9.0, 1.0, 90.0, 10.0])
    assert evenly(pool, 4).tolist() == [3, 5, 4, 1]
    assert sorted(evenly(pool, 99).tolist()) == list(range(6))
    assert sorted(evenly(np.ones(5), 3).tolist()) == [0, 1, 2]


def measured(layers):
    """A device that takes 0.1 ms and 2 us for every thousand multiply-accumulates."""
    value = 0.1 + 2e-6 * total_macs(layers)
    return Cost(name="latency_ms", value=value, std=0.01, unit="ms", kind="measured", target="here")


def test_latency_is_learned_from_what_was_measured(key):
    networks = [SPACE.layers(row) for row in spread(key, SPACE, 12)]
    fitted = learn(LinearMacs(), networks, [measured(layers) for layers in networks], folds=4, seed=0)
    # the device is a line in multiply-accumulates, but the line counts the ten biases of the classifier too
    assert fitted.validation.mape < 0.5
    assert fitted.validation.spearman > 0.99
    assert fitted.macs.mape == fitted.validation.mape
    assert fitted.validation.networks == 12
    assert np.allclose(fitted.weights.prices, [0.1, 2e-6], rtol=0.01)


def test_fewer_networks_than_folds_are_refused(key):
    networks = [SPACE.layers(row) for row in spread(key, SPACE, 4)]
    with pytest.raises(ValueError, match="5 folds need at least as many networks, got 4"):
        learn(LinearMacs(), networks, [measured(layers) for layers in networks], folds=5, seed=0)

"""The kernel regression learns a device whose rules are not its own.

The device is simulated: each kernel takes the longer of its arithmetic and its traffic (a roofline), arithmetic runs in
full vectors of 16 channels, data beyond the cache are slower, and each measurement is off by some percent.
"""

import numpy as np
import pytest

from predictors import KernelRegression, LinearMacs
from predictors.features import FEATURE_NAMES, features
from predictors.validation import cross_validate
from search_spaces.graph import Graph
from search_spaces.layers import Activation, Conv, Dense, Depthwise, Input, Norm, macs, params


def random_network(rng):
    """A mobile network with random depths, widths, kernel sizes and expansions."""
    g = Graph((48, 48, 3))
    x = g.activation(g.norm(g.conv(0, 16, "stem", 3, 2), "n", 1e-5), "hard_swish")
    for stage, (width, stride) in enumerate([(16, 1), (24, 2), (40, 2), (80, 2), (112, 1)]):
        width = int(width * rng.choice([0.75, 1, 1.25]) // 8 * 8)
        kind = "relu" if stage < 2 else "hard_swish"
        for block in range(rng.integers(1, 4)):
            entry, channels = x, g.shape(x)[-1] * int(rng.choice([3, 4, 6]))
            y = g.activation(g.norm(g.conv(entry, channels, "p"), "n", 1e-5), kind)
            y = g.depthwise(y, "d", int(rng.choice([3, 5, 7])), stride if block == 0 else 1)
            y = g.activation(g.norm(y, "n", 1e-5), kind)
            if stage in (2, 4):
                gate = g.activation(g.dense(g.global_pool(y), channels // 4, "s"), "relu")
                y = g.scale(y, g.activation(g.dense(gate, channels, "e"), "hard_sigmoid"))
            y = g.norm(g.conv(y, width, "q"), "n", 1e-5)
            x = g.sum(entry, y) if g.shape(entry) == g.shape(y) else y
    g.dense(g.global_pool(g.conv(x, 256, "head")), 10, "classes")
    return tuple(g.layers)


def device_ms(layers):
    """The simulated device, without noise."""
    total = 0.01
    for layer in layers:
        if isinstance(layer, Input | Norm) or (isinstance(layer, Activation) and layer.kind == "relu"):
            continue
        values = np.prod(layer.shape) + sum(np.prod(layers[i].shape) for i in layer.inputs) + params(layer)
        lanes = layer.shape[-1] / (16 * np.ceil(layer.shape[-1] / 16))
        macs_per_ms = {Conv: 40e6, Dense: 20e6, Depthwise: 8e6}.get(type(layer), 10e6) * lanes
        values_per_ms = 10e6 if values < 60_000 else 4e6
        total += 0.001 + max(macs(layer) / macs_per_ms, values / values_per_ms)
    return total


@pytest.fixture(scope="module")
def bench():
    """250 networks: features and the true latency."""
    networks = [random_network(np.random.default_rng(i)) for i in range(250)]
    return np.array([features(layers) for layers in networks]), np.array([device_ms(layers) for layers in networks])


def measured(truth, noise, seed=0):
    return truth * np.exp(noise * np.random.default_rng(seed).standard_normal(len(truth)))


def error_of(predictor, rows, truth, train, noise, seed=0):
    """Mean absolute percentage error against the noiseless truth of the networks not trained on."""
    order = np.random.default_rng(seed).permutation(len(truth))
    seen, unseen = order[:train], order[train:]
    weights = predictor.fit(rows[seen], measured(truth[seen], noise, seed))
    mean, _ = predictor.predict(weights, rows[unseen])
    return 100 * np.mean(np.abs(mean / truth[unseen] - 1))


@pytest.mark.parametrize(("train", "noise", "bound"), [(60, 0.02, 4.0), (100, 0.02, 3.0), (100, 0.05, 4.0)])
def test_some_tens_of_networks_are_enough(bench, train, noise, bound):
    kernels, line = (
        np.mean([error_of(predictor, *bench, train, noise, seed) for seed in range(3)])
        for predictor in (KernelRegression(), LinearMacs())
    )
    print(f"\n{train} networks, noise {noise}: kernels {kernels:.2f} %, line in MACs {line:.2f} %")
    assert kernels < bound
    assert kernels < 0.75 * line


def test_the_correction_helps_where_a_sum_cannot_follow(bench):
    rows, truth = bench
    hot = truth**1.3  # a device that throttles: the longer it runs, the slower it gets
    bent, straight = (
        np.mean([error_of(KernelRegression(correction=switch), rows, hot, 80, 0.02, seed) for seed in range(3)])
        for switch in (True, False)
    )
    print(f"\nwith the correction {bent:.2f} %, without {straight:.2f} %")
    assert bent < 0.9 * straight


def test_more_networks_predict_better(bench):
    few, many = (
        np.mean([error_of(KernelRegression(), *bench, train, 0.03, seed) for seed in range(3)]) for train in (30, 150)
    )
    assert many < few


def test_the_deviation_covers_the_measurements(bench):
    rows, truth = bench
    covered = []
    for seed in range(6):
        noisy = measured(truth, 0.03, seed)
        order = np.random.default_rng(seed).permutation(len(truth))
        weights = KernelRegression().fit(rows[order[:80]], noisy[order[:80]])
        mean, std = KernelRegression().predict(weights, rows[order[80:]])
        covered.append(np.mean(np.abs(mean - noisy[order[80:]]) < 1.96 * std))
    assert 0.90 < np.mean(covered) < 0.99  # a normal law covers 95 %


def test_an_exact_sum_is_found_exactly():
    rng = np.random.default_rng(0)
    rows = np.concatenate([np.ones((30, 1)), rng.random((30, 3)) * [10, 1e6, 1e3]], 1)
    values = rows @ np.array([0.1, 0.02, 1e-6, 0.0])
    mean, _ = KernelRegression(ridge=1e-9).predict(KernelRegression(ridge=1e-9).fit(rows, values), rows)
    assert np.allclose(mean, values, rtol=1e-6)


def test_an_unseen_kind_of_kernel_makes_the_prediction_unsure(bench):
    rows, truth = bench
    weights = KernelRegression().fit(rows[:80], truth[:80])
    strange = rows[80:81].copy()
    strange[0, FEATURE_NAMES.index("other_kernels")] = 3
    mean, std = KernelRegression().predict(weights, np.concatenate([rows[80:81], strange]))
    assert std[0] < 0.2 * mean[0]
    assert std[1] >= mean[1]


def test_predictions_stay_positive_far_away(bench):
    rows, truth = bench
    weights = KernelRegression().fit(rows[:60], truth[:60])
    for factor in (0.0, 1e-3, 1e3):
        mean, std = KernelRegression().predict(weights, rows[60:] * factor)
        assert np.isfinite(mean).all()
        assert (mean > 0).all()
        assert (std > 0).all()


def test_cross_validation_foretells_the_error_on_new_networks(bench):
    rows, truth = bench
    noisy = measured(truth, 0.03)
    validation = cross_validate(KernelRegression(), rows[:100], noisy[:100])
    weights = KernelRegression().fit(rows[:100], noisy[:100])
    mean, _ = KernelRegression().predict(weights, rows[100:])
    assert validation.mape == pytest.approx(100 * np.mean(np.abs(mean / noisy[100:] - 1)), rel=0.3)


@pytest.mark.parametrize("ridge", [0.0, -1.0, np.nan, np.inf])
def test_the_ridge_is_positive(ridge):
    with pytest.raises(ValueError, match="`ridge` must be above 0"):
        KernelRegression(ridge=ridge)


def test_the_line_by_hand():
    # 0.5 ms and 2e-6 ms a MAC, without noise
    rows = np.zeros((4, len(FEATURE_NAMES)))
    rows[:, FEATURE_NAMES.index("conv_macs")] = [1e5, 2e5, 3e5, 4e5]
    rows[:, FEATURE_NAMES.index("depthwise3_macs")] = [0, 1e5, 0, 1e5]
    weights = LinearMacs().fit(rows, np.array([0.7, 1.1, 1.1, 1.5]))
    assert np.allclose(weights.prices, [0.5, 2e-6])

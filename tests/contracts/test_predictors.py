"""What every predictor obeys."""

import inspect

import numpy as np
import pytest

from predictors import EXAMPLES, Predictor
from predictors.features import FEATURE_NAMES
from predictors.validation import cross_validate

NETWORKS = 50


@pytest.fixture(params=EXAMPLES, ids=lambda predictor: predictor.__name__)
def predictor(request):
    return request.param()


@pytest.fixture(scope="module")
def data():
    """Features of 80 imagined networks and their cost: a sum with some noise."""
    rng = np.random.default_rng(0)
    rows = np.zeros((80, len(FEATURE_NAMES)))
    for i, name in enumerate(FEATURE_NAMES):
        if name.endswith("kernels"):
            rows[:, i] = rng.integers(1, 10, 80)
        else:
            rows[:, i] = rng.uniform(1e3, 1e6, 80)
    rows[:, 0] = 1
    prices = np.array([0.005 if name.endswith("kernels") else 1e-7 for name in FEATURE_NAMES])
    return rows, rows @ prices * np.exp(0.03 * rng.standard_normal(80))


def fitted(predictor, data):
    """Predictions for networks not fitted."""
    rows, values = data
    return predictor.predict(predictor.fit(rows[:NETWORKS], values[:NETWORKS]), rows[NETWORKS:])


def test_it_is_a_predictor_with_still_settings(predictor):
    assert isinstance(predictor, Predictor)
    assert hash(predictor) == hash(type(predictor)())
    assert all(p.kind is p.KEYWORD_ONLY for p in inspect.signature(type(predictor)).parameters.values())


def test_mean_and_deviation_are_positive(predictor, data):
    for column in fitted(predictor, data):
        assert column.shape == (80 - NETWORKS,)
        assert np.isfinite(column).all()
        assert (column > 0).all()


def test_it_is_better_than_the_mean(predictor, data):
    mean, _ = fitted(predictor, data)
    truth = data[1][NETWORKS:]
    constant = data[1][:NETWORKS].mean()
    assert np.abs(mean / truth - 1).mean() < np.abs(constant / truth - 1).mean()


def test_one_fit_is_like_another(predictor, data):
    assert all(np.array_equal(a, b) for a, b in zip(fitted(predictor, data), fitted(predictor, data), strict=True))


def test_the_order_of_the_networks_does_not_matter(predictor, data):
    turned = tuple(np.concatenate([column[:NETWORKS][::-1], column[NETWORKS:]]) for column in data)
    for a, b in zip(fitted(predictor, data), fitted(predictor, turned), strict=True):
        assert np.allclose(a, b, rtol=1e-6)


def test_a_network_alone_is_predicted_as_among_others(predictor, data):
    rows, values = data
    weights = predictor.fit(rows, values)
    together, alone = predictor.predict(weights, rows[:3]), predictor.predict(weights, rows[2:3])
    assert all(np.allclose(a[2:], b, rtol=1e-9) for a, b in zip(together, alone, strict=True))


def test_the_unit_of_the_values_is_the_unit_of_the_predictions(predictor, data):
    rows, values = data
    for a, b in zip(fitted(predictor, data), fitted(predictor, (rows, 1000 * values)), strict=True):
        assert np.allclose(1000 * a, b, rtol=1e-5)


def test_stored_weights_predict_the_same(predictor, data, tmp_path):
    rows, values = data
    weights = predictor.fit(rows, values)
    np.savez(tmp_path / "weights.npz", **weights._asdict())
    with np.load(tmp_path / "weights.npz", allow_pickle=False) as arrays:
        restored = type(weights)(**arrays)
    before, after = predictor.predict(weights, rows), predictor.predict(restored, rows)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_it_can_be_cross_validated(predictor, data):
    result = cross_validate(predictor, *data)
    assert result.networks == 80
    assert result.spearman > 0


def test_three_networks_are_enough_to_fit(predictor, data):
    rows, values = data
    mean, std = predictor.predict(predictor.fit(rows[:3], values[:3]), rows)
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (0.0, "0.0"), (-1.0, "-1.0")])
def test_values_that_no_measurement_gives_are_refused(predictor, data, value, shown):
    rows, values = data
    values = values.copy()
    values[7] = value
    with pytest.raises(ValueError, match=f"positive and finite, got {shown} for network 7"):
        predictor.fit(rows, values)


def test_features_that_are_no_sums_are_refused(predictor, data):
    rows, values = data
    rows = rows.copy()
    rows[4, 2] = np.nan
    with pytest.raises(ValueError, match="finite and not negative, got nan in row 4, column 2"):
        predictor.fit(rows, values)


def test_two_networks_are_too_few(predictor, data):
    with pytest.raises(ValueError, match="at least 3 measured networks are needed, got 2"):
        predictor.fit(data[0][:2], data[1][:2])

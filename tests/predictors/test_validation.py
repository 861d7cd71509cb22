"""Cross-validation: every network is predicted once, by a fit that never saw it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest

from predictors.validation import cross_validate


class Weights(NamedTuple):
    """What the stand-ins remember."""

    seen: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """Predicts the last feature, and checks that nothing it predicts was in the fit."""

    def fit(self, features, values):
        return Weights(features[:, 0])

    def predict(self, weights, features):
        assert not set(features[:, 0]) & set(weights.seen)
        return features[:, 1], np.ones(len(features))


def table(values, predictions):
    return np.stack([np.arange(len(values)), predictions], 1).astype(float), np.array(values, float)


def test_the_measures_by_hand():
    # errors of 4, 8, 20, 0 and 4 %; one pair of ten, the third and fourth network, is in the wrong order
    rows, values = table([100, 200, 300, 310, 500], [104, 184, 360, 310, 480])
    result = cross_validate(Scripted(), rows, values, folds=5)
    assert result.mape == pytest.approx((4 + 8 + 20 + 0 + 4) / 5)
    assert result.within_5 == pytest.approx(3 / 5)
    assert result.within_10 == pytest.approx(4 / 5)
    assert result.kendall == pytest.approx((9 - 1) / 10)
    assert result.spearman == pytest.approx(1 - 6 * 2 / (5 * 24))  # 1 - 6 sum d^2 / (n (n^2 - 1))
    assert result.networks == 5
    assert result.values.tolist() == [100, 200, 300, 310, 500]
    assert result.predicted.tolist() == [104, 184, 360, 310, 480]
    assert result.deviation.tolist() == [1] * 5


def test_the_seed_decides_the_folds():
    @dataclass(frozen=True, kw_only=True)
    class Mean:
        def fit(self, features, values):
            return Weights(values)

        def predict(self, weights, features):
            return np.full(len(features), weights.seen.mean()), np.ones(len(features))

    rows, values = table(np.arange(1, 21), np.ones(20))
    first, again, other = (cross_validate(Mean(), rows, values, seed=seed).predicted for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_equal_predictions_rank_nothing():
    rows, values = table([1, 2, 3, 4, 5], [3, 3, 3, 3, 3])
    result = cross_validate(Scripted(), rows, values)
    assert (result.spearman, result.kendall) == (0, 0)


@pytest.mark.parametrize(
    ("values", "folds", "message"),
    [
        ([1, 2, 3], 5, "5 folds need at least as many networks, got 3"),
        ([2, 2, 2, 2, 2], 5, "all 5 values equal 2.0"),
        ([1, 2, np.nan, 4, 5], 5, "positive and finite, got nan for network 2"),
        ([1, 2, 3, 0, 5], 5, "positive and finite, got 0.0 for network 3"),
        ([1, 2, 3, 4, 5], 1, "`folds` must be at least 2"),
        ([], 5, "at least 1 measured networks"),
    ],
)
def test_what_cannot_be_validated_is_refused(values, folds, message):
    rows, values = table(values, np.ones(len(values)))
    with pytest.raises(ValueError, match=message):
        cross_validate(Scripted(), rows, values, folds=folds)

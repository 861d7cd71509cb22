"""How far a predictor can be trusted on networks it hasn't seen: k-fold cross-validation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import kendalltau, spearmanr

from predictors.checks import check_measurements
from predictors.protocol import Predictor


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Agreement of predictions with measurements, each prediction made without its own network's fold.

    Attributes:
      spearman: rank correlation; saturates early, so read it with the errors.
      kendall: rank correlation by pairs (tau-b).
      mape: mean absolute error in percent of the measured value.
      within_5: fraction of networks predicted within 5 % of the measured value.
      within_10: fraction within 10 %.
      networks: how many.
      values: as measured.
      predicted: the mean predicted for each, in the same order.
      deviation: the standard deviation predicted for each.
    """

    spearman: float
    kendall: float
    mape: float
    within_5: float
    within_10: float
    networks: int
    values: Float[np.ndarray, " archs"]
    predicted: Float[np.ndarray, " archs"]
    deviation: Float[np.ndarray, " archs"]


def cross_validate(
    predictor: Predictor,
    features: Float[np.ndarray, "archs features"],
    values: Float[np.ndarray, " archs"],
    folds: int = 5,
    seed: int = 0,
) -> Validation:
    """Fits `folds` times, each time predicting the fold left out, and compares all predictions at once.

    Args:
      predictor: what to judge; equal settings and data give equal results.
      features: one row a network. Networks that are the same leak between folds: hand each in once.
      values: measured, positive.
      folds: how many parts; each network is in exactly one, drawn at random.
      seed: of the draw.

    Raises:
      ValueError: when there are fewer networks than folds, a value isn't positive and finite, or all are equal.
    """
    if folds < 2:
        raise ValueError(f"`folds` must be at least 2, got {folds}")
    features, values = check_measurements(features, values, least=1)
    if len(values) < folds:
        raise ValueError(f"{folds} folds need at least as many networks, got {len(values)}")
    if values.min() == values.max():
        raise ValueError(f"all {len(values)} values equal {values[0]}: nothing to rank; check the measurement")
    fold = _folds(len(values), folds, seed)
    predicted, deviation = np.empty_like(values), np.empty_like(values)
    for i in range(folds):
        out = fold == i
        weights = predictor.fit(features[~out], values[~out])
        predicted[out], deviation[out] = predictor.predict(weights, features[out])
    error = np.abs(predicted / values - 1)
    # Predictions that are all equal rank nothing: no correlation, rather than an undefined one.
    ranked = predicted.min() < predicted.max()
    spearman: Any = spearmanr(predicted, values) if ranked else None
    kendall: Any = kendalltau(predicted, values) if ranked else None
    return Validation(
        spearman=float(spearman.statistic) if ranked else 0.0,
        kendall=float(kendall.statistic) if ranked else 0.0,
        mape=float(100 * error.mean()),
        within_5=float((error <= 0.05).mean()),
        within_10=float((error <= 0.10).mean()),
        networks=len(values),
        values=values,
        predicted=predicted,
        deviation=deviation,
    )


def _folds(networks: int, folds: int, seed: int) -> Int[np.ndarray, " archs"]:
    """Each network's fold; sizes differ by one at most."""
    return np.random.default_rng(seed).permutation(np.arange(networks) % folds)

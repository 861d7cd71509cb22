"""The yardstick that every predictor must beat: cost as a straight line in multiply-accumulates."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from predictors.checks import check_measurements
from predictors.features import FEATURE_NAMES

_MACS = np.array([name.endswith("_macs") or name == "dense_weights" for name in FEATURE_NAMES])


class Weights(NamedTuple):
    """A straight line.

    Attributes:
      prices: cost of a network without work, and of one multiply-accumulate; neither is negative.
      deviation: relative standard deviation of what the line leaves.
    """

    prices: Float[np.ndarray, "2"]
    deviation: Float[np.ndarray, ""]


@dataclass(frozen=True, kw_only=True)
class LinearMacs:
    """Cost = a + b x MACs, by least squares of the relative error; reads the columns of `predictors.features`."""

    def fit(self, features: Float[np.ndarray, "archs features"], values: Float[np.ndarray, " archs"]) -> Weights:
        """Weights for these measurements, positive and in any unit; at least 3."""
        features, values = check_measurements(features, values, least=3)
        line = _line(features)
        unit = values.mean() / np.where(line.any(0), line.mean(0), 1)
        prices = nnls(line * unit / values[:, None], np.ones(len(values)))[0] * unit
        left = line @ prices / values - 1
        return Weights(prices, np.array(np.sqrt((left**2).sum() / max(len(values) - 2, 1)) + 1e-6))

    def predict(
        self, weights: Weights, features: Float[np.ndarray, "archs features"]
    ) -> tuple[Float[np.ndarray, " archs"], Float[np.ndarray, " archs"]]:
        """Mean and standard deviation of one measurement."""
        mean = _line(np.asarray(features, np.float64)) @ weights.prices
        return mean, mean * weights.deviation


def _line(features: Float[np.ndarray, "archs features"]) -> Float[np.ndarray, "archs 2"]:
    """A constant and the total multiply-accumulates (a dense layer's biases are counted in)."""
    if features.shape[1] != len(_MACS):
        raise ValueError(f"features have {features.shape[1]} columns, those of `predictors.features` {len(_MACS)}")
    return np.stack([np.ones(len(features)), features[:, _MACS].sum(1)], 1)

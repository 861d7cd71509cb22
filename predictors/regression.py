"""Latency as a sum over kernels, each kind at its own prices, corrected where similar networks were off."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from predictors.checks import check_measurements

LENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Correlation lengths to choose from, in units of the typical distance between two networks."""

NOISE_RATIOS = np.logspace(-1, 4, 26)
"""Noise variances to choose from, in units of the correction's variance; the last means hardly any correction."""


class Weights(NamedTuple):
    """What was learned; n networks, d features.

    Attributes:
      prices: cost of one unit of each feature; never negative.
      least: no prediction of the sum falls below this.
      unseen: marks the features that were 0 in every network.
      spread: `[d d]` covariance of the prices.
      center: mean of the logarithmic features.
      scale: their standard deviation times the correlation length; infinite where they don't vary.
      places: `[n d]` where the measured networks lie, after center and scale.
      pulls: `[n]` what each measured network adds to the logarithm of the prediction at its own place.
      inverse: `[n n]` inverse covariance of the measured logarithms, for the predicted deviation.
      correction_variance: of the logarithm, far from any measured network.
      noise_variance: of the logarithm of one measurement.
    """

    prices: Float[np.ndarray, " features"]
    least: Float[np.ndarray, ""]
    unseen: Any
    spread: Float[np.ndarray, "features features"]
    center: Float[np.ndarray, " features"]
    scale: Float[np.ndarray, " features"]
    places: Float[np.ndarray, "archs features"]
    pulls: Float[np.ndarray, " archs"]
    inverse: Float[np.ndarray, "archs archs"]
    correction_variance: Float[np.ndarray, ""]
    noise_variance: Float[np.ndarray, ""]


@dataclass(frozen=True, kw_only=True)
class KernelRegression:
    """Non-negative prices for what the kernels do, then a Gaussian process on the logarithm of what is left.

    Made for few networks (40 to some hundreds; time grows with their cube): most of the cost is a sum over kernels that
    run one after another, and a sum needs few examples. Errors count relatively, so small networks matter as much as
    large ones. The correction bends the sum where the data ask for it: its length and strength maximise the marginal
    likelihood, and it fades to nothing far from the measured networks.

    Attributes:
      ridge: pull of the prices towards zero, relative to one network's error.
      correction: whether to bend the sum; without it the prediction is linear in the features.
    """

    ridge: float = 0.01
    correction: bool = True

    def __post_init__(self) -> None:
        if not (self.ridge > 0 and np.isfinite(self.ridge)):
            raise ValueError(f"`ridge` must be above 0, got {self.ridge}; 0.01 is mild")

    def fit(self, features: Float[np.ndarray, "archs features"], values: Float[np.ndarray, " archs"]) -> Weights:
        """Weights for these measurements, positive and in any unit; at least 3."""
        features, values = check_measurements(features, values, least=3)
        n, d = features.shape
        size = features.mean(0)
        unseen = ~features.any(0)
        unit = values.mean() / np.where(size > 0, size, 1)  # a price of 1 unit makes a column worth the mean value
        shares = features * unit / values[:, None]  # minimise |shares prices - 1|^2: relative errors
        stacked = np.concatenate([shares, np.sqrt(self.ridge) * np.eye(d)])
        prices = nnls(stacked, np.concatenate([np.ones(n), np.zeros(d)]))[0]
        least = 0.01 * values.min()
        left = np.log(values / np.maximum(features @ (prices * unit), least))
        freedom = n / max(n - np.count_nonzero(prices), 1)  # the prices have taken up some of the error
        paid = prices > 0
        spread = np.zeros((d, d))
        spread[np.ix_(paid, paid)] = np.linalg.inv(
            shares[:, paid].T @ shares[:, paid] + self.ridge * np.eye(paid.sum())
        )
        spread *= np.outer(unit, unit) * freedom * np.mean(left**2)

        places = np.log1p(features)
        center, scale = places.mean(0), places.std(0)
        scale = np.where(scale > 1e-9, scale, np.inf)
        places = (places - center) / scale
        length, ratio, variance = _most_likely(places, left) if self.correction else (1.0, np.inf, 0.0)
        noise = max(variance * ratio if self.correction else np.mean(left**2), 1e-12) * freedom
        covariance = variance * _alike(places / length, places / length) + noise * np.eye(n)
        inverse = np.linalg.inv(covariance)
        return Weights(
            prices=prices * unit,
            least=np.array(least),
            unseen=unseen,
            spread=spread,
            center=center,
            scale=scale * length,
            places=places / length,
            pulls=variance * inverse @ left,
            inverse=inverse,
            correction_variance=np.array(variance),
            noise_variance=np.array(noise),
        )

    def predict(
        self, weights: Weights, features: Float[np.ndarray, "archs features"]
    ) -> tuple[Float[np.ndarray, " archs"], Float[np.ndarray, " archs"]]:
        """Mean and standard deviation of one measurement, both positive.

        A kind of kernel that no measured network had is free of charge in the mean, and makes the deviation as large as
        the mean at least.
        """
        features = np.asarray(features, np.float64)
        total = np.maximum(features @ weights.prices, weights.least)
        alike = _alike((np.log1p(features) - weights.center) / weights.scale, weights.places)
        mean = total * np.exp(alike @ weights.pulls)
        known = weights.correction_variance * alike
        variance = (
            ((features @ weights.spread) * features).sum(1) / total**2
            + np.maximum(weights.correction_variance - ((known @ weights.inverse) * known).sum(1), 0)
            + weights.noise_variance
            + features[:, weights.unseen].any(1)
        )
        return mean, mean * np.sqrt(variance)


def _alike(a: Float[np.ndarray, "a features"], b: Float[np.ndarray, "b features"]) -> Float[np.ndarray, "a b"]:
    """1 for networks at one place, falling with the mean squared distance."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.exp(-np.maximum(squares, 0) / (2 * a.shape[1]))


def _most_likely(
    places: Float[np.ndarray, "archs features"], left: Float[np.ndarray, " archs"]
) -> tuple[float, float, float]:
    """Length, ratio of noise to correction, and variance of the correction with the highest marginal likelihood."""
    best = (-np.inf, 1.0, np.inf, 0.0)
    for length in LENGTHS:
        powers, axes = np.linalg.eigh(_alike(places / length, places / length))
        power = np.maximum(powers, 0)[:, None] + NOISE_RATIOS
        variance = np.maximum(((axes.T @ left) ** 2 @ (1 / power)) / len(left), 1e-18)  # the best for each ratio
        likelihood = -0.5 * (len(left) * np.log(variance) + np.log(power).sum(0))
        i = int(likelihood.argmax())
        best = max(best, (float(likelihood[i]), length, float(NOISE_RATIOS[i]), float(variance[i])))
    return best[1:]

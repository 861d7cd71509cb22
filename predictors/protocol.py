"""What every predictor is: `fit` makes weights, `predict` uses them."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float


@runtime_checkable
class Predictor(Protocol):
    """Learns a positive cost (latency in ms, energy in mJ) of networks from their features.

    Settings are the predictor's; what was learned is in the weights: a `NamedTuple` of numpy arrays and nothing else,
    saved with `np.savez(file, **weights._asdict())` and read back with `type(weights)(**arrays)`, without pickle.
    """

    def fit(self, features: Float[np.ndarray, "archs features"], values: Float[np.ndarray, " archs"]) -> Any:
        """Weights for these measurements.

        Raises:
          ValueError: when there are too few networks, or a value isn't positive and finite.
        """
        ...

    def predict(
        self, weights: Any, features: Float[np.ndarray, "archs features"]
    ) -> tuple[Float[np.ndarray, " archs"], Float[np.ndarray, " archs"]]:
        """Mean and standard deviation of what a measurement would give, in the unit of the values; both positive."""
        ...

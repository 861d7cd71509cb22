"""How well a cost can be told without running the network: learned predictors and their validation."""

from predictors.baselines import LinearMacs
from predictors.protocol import Predictor
from predictors.regression import KernelRegression

EXAMPLES: tuple[type[Predictor], ...] = (KernelRegression, LinearMacs)

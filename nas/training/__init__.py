"""Trains the shared parameters of a supernet: rules, losses, gradients, steps, states."""

from nas.training.augment import moved, normalise
from nas.training.devices import Distributed
from nas.training.feed import Feed, batches
from nas.training.loop import NotFiniteError, fine_tune, train
from nas.training.losses import Teacher
from nas.training.optimizer import only_sampled
from nas.training.settings import Training
from nas.training.state import TrainState
from nas.training.trainer import Trainer

__all__ = [
    "Distributed",
    "Feed",
    "NotFiniteError",
    "Teacher",
    "TrainState",
    "Trainer",
    "Training",
    "batches",
    "fine_tune",
    "moved",
    "normalise",
    "only_sampled",
    "train",
]

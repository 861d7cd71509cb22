"""One optimizer step of a Once-for-All MobileNetV3 supernet in three ways: our sliced, our masked, and PyTorch's `ofa`.

All start from the same weights, see the same images and train the same architecture: cross-entropy with smoothed
labels, then SGD with Nesterov momentum and weight decay, as Once-for-All trains (arXiv:1908.09791).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from experiments.benchmarks.peers import ofa
from nas.data.dataset import Dataset, Split
from nas.training import Trainer, Training
from search_spaces.ofa_mobilenet import OfaMobileNet
from search_spaces.reading import masked
from search_spaces.space import Space, options

WAYS = ("sliced", "masked", "torch")
CLASSES = 1000
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, SMOOTHING = 0.01, 0.9, 3e-5, 0.1

Step = Callable[[Int[np.ndarray, " choices"]], None]


def space_of(size: int) -> OfaMobileNet:
    """The published space at one resolution."""
    return OfaMobileNet(image_size=size, resolutions=(), classes=CLASSES)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is stepped.

    Attributes:
      batch: images a step.
      size: their height and width, px.
      threads: of PyTorch; JAX takes as many as it is given processors.
      devices: that share the batch (masked only).
    """

    batch: int
    size: int
    threads: int = 2
    devices: int = 1

    @cached_property
    def data(self) -> Dataset:
        """One batch of noise with labels: what it costs doesn't hang on what it shows."""
        rng = np.random.default_rng(0)
        shape = (self.batch, self.size, self.size, 3)
        labels = rng.integers(0, CLASSES, self.batch).astype(np.int32)
        split = Split(images=rng.integers(0, 256, shape).astype(np.uint8), labels=labels)
        return Dataset(
            name="noise",
            class_names=tuple(map(str, range(CLASSES))),
            train=split,
            val=split,
            test=split,
            mean=(0.5,) * 3,
            std=(0.3,) * 3,
            native_size=self.size,
            native_max=255,
            resample="none",
            fingerprint="",
        )

    @property
    def images(self) -> Float[np.ndarray, "batch height width channels"]:
        """Normalised, for a network."""
        return (self.data.train.images.astype(np.float32) / 255 - 0.5) / np.float32(0.3)

    def trainer(self, execution: Any) -> Trainer:
        """Ours; nothing is augmented."""
        training = Training(
            batch=self.batch,
            epochs=1,
            optimizer="sgd",
            learning_rate=LEARNING_RATE,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
            clip_norm=1e9,
            label_smoothing=SMOOTHING,
            shift=0,
            execution=execution,
            mesh=self.devices,
        )
        return Trainer(space_of(self.size), training, self.data)


class Ours:
    """Our step; `logits` answers with each batch's own statistics, as training does.

    Attributes:
      trainer: counts compiles.
    """

    def __init__(self, setting: Setting, execution: Any, params: Any):
        self.setting, self.trainer = setting, setting.trainer(execution)
        self.state = self.trainer.restart(params)
        self.key = np.asarray(jax.random.key_data(jax.random.key(0)))

    def logits(self, arch: Int[np.ndarray, " choices"]) -> Float[np.ndarray, "batch classes"]:
        """Before anything is trained."""
        space, params, images = self.trainer.space, self.state.params, jnp.asarray(self.setting.images)
        if self.trainer.execution == "sliced":
            return np.asarray(self.trainer.engines["sliced"].sliced.forward(params, arch, images)[0])  # pyright: ignore[reportAttributeAccessIssue]
        return np.asarray(_masked_logits(space)(self.trainer.network(params), arch, images))

    def step(self, arch: Int[np.ndarray, " choices"]) -> None:
        """Returns when it is done."""
        data = self.setting.data.train
        self.state, _ = self.trainer.step(self.state, self.key, arch, data.images, data.labels, LEARNING_RATE)
        jax.block_until_ready(self.state)


def _masked_logits(space: Space) -> Any:
    return jax.jit(lambda network, arch, images: network(masked(space, arch), images)[0])


class Theirs:
    """PyTorch's step, eager, on images and weights as `ofa` lays them out."""

    def __init__(self, setting: Setting, state: Any):
        torch: Any = import_module("torch")
        torch.set_num_threads(setting.threads)
        self.torch, self.space, self.images = torch, space_of(setting.size), setting.images
        self.network = ofa.supernet(classes=CLASSES, state=state)
        self.network.train()
        self.x = torch.tensor(np.ascontiguousarray(self.images.transpose(0, 3, 1, 2)))
        self.labels = torch.tensor(setting.data.train.labels).long()
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), LEARNING_RATE, MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY
        )

    def activate(self, arch: Int[np.ndarray, " choices"]) -> None:
        """Sets the sub-network."""
        ofa.activate(self.network, **ofa_settings(self.space, arch))

    def logits(self, arch: Int[np.ndarray, " choices"]) -> Float[np.ndarray, "batch classes"]:
        """Before anything is trained."""
        self.activate(arch)
        return ofa.logits_of(self.network, self.images, train=True)

    def step(self, arch: Int[np.ndarray, " choices"]) -> None:
        """Returns when it is done; choosing the sub-network is part of it, as it is of ours."""
        self.activate(arch)
        self.optimizer.zero_grad()
        loss = self.torch.nn.functional.cross_entropy(self.network(self.x), self.labels, label_smoothing=SMOOTHING)
        loss.backward()
        self.optimizer.step()


def ofa_settings(space: OfaMobileNet, arch: Int[np.ndarray, " choices"]) -> dict[str, list[int]]:
    """An architecture in the terms of `ofa`: 20 kernels and expansions (those of absent blocks count for nothing)."""
    chosen = options(space, arch)
    places = [f"stage{stage}.block{block}" for stage in range(1, 6) for block in range(1, 5)]
    return {
        "kernels": [chosen.get(f"{place}.kernel", 3) for place in places],
        "expansions": [chosen.get(f"{place}.expansion", 3) for place in places],
        "depths": [chosen[f"stage{stage}.depth"] for stage in range(1, 6)],
    }

"""Trains a supernet with single-path uniform sampling: every step a random architecture, all in one compile."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from nas.data.dataset import Dataset, Split
from search_spaces.reading import masked
from search_spaces.sampling import sample
from search_spaces.space import Space


class TrainState(NamedTuple):
    """Everything a step changes.

    Attributes:
      params: the supernet's parameters (`nnx.State`).
      optimizer: what optax keeps, in the parameters' shapes.
      step: steps taken.
    """

    params: Any
    optimizer: Any
    step: Int[Any, ""]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the shared parameters are trained.

    Attributes:
      epochs: passes over the training images.
      batch: images a step; the images left over at the end of an epoch wait for the next.
      learning_rate: at its peak, after a linear rise over the first `warm_up` of all steps; then it falls as a cosine.
      warm_up: fraction of all steps.
      weight_decay: of AdamW (arXiv:1711.05101).
      label_smoothing: probability mass spread over all classes.
      clip_norm: largest norm of a step's gradient.
      shift: each training image is moved by up to so many pixels in both directions.
      checkpoint_every: epochs between checkpoints.
    """

    epochs: int = 22
    batch: int = 32
    learning_rate: float = 6e-3
    warm_up: float = 0.1
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    clip_norm: float = 1.0
    shift: int = 3
    checkpoint_every: int = 5

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("shift", 0), ("checkpoint_every", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"`training.{name}` must be at least {least}, got {getattr(self, name)}")
        for name in ("learning_rate", "clip_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"`training.{name}` must be above 0, got {getattr(self, name)}")
        for name in ("warm_up", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`training.{name}` must be at least 0 and below 1, got {getattr(self, name)}")
        if self.weight_decay < 0:
            raise ValueError(f"`training.weight_decay` must not be negative, got {self.weight_decay}")

    def steps_per_epoch(self, split: Split) -> int:
        """Full batches in one pass.

        Raises:
          ValueError: when there are fewer images than a batch.
        """
        if len(split.labels) < self.batch:
            raise ValueError(
                f"`training.batch` is {self.batch}, but there are only {len(split.labels)} training images;"
                f" did you mean training.batch={len(split.labels)}?"
            )
        return len(split.labels) // self.batch


def only_sampled(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Leaves entries whose gradient is exactly zero as they are: value, momentum and weight decay.

    In the masked reading that is every parameter the step's architecture does not use. Without this, an optimizer with
    momentum or decay moves shared parameters in steps that never saw them; PyTorch leaves them alone where `grad` is
    None. Differs from that: an entry that was used and got a gradient of exactly zero is left alone too.
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        used = jax.tree.map(lambda gradient: gradient != 0, updates)
        structure = jax.tree.structure(updates)
        updates, new_state = inner.update(updates, state, params)
        updates = jax.tree.map(jnp.where, used, updates, jax.tree.map(jnp.zeros_like, updates))

        def like_params(node: Any) -> bool:
            return jax.tree.structure(node) == structure

        def keep(new: Any, old: Any) -> Any:
            return jax.tree.map(jnp.where, used, new, old) if like_params(new) else new

        return updates, jax.tree.map(keep, new_state, state, is_leaf=like_params)

    return optax.GradientTransformation(inner.init, update)


class Trainer:
    """One compiled step for every architecture of a space.

    Attributes:
      traces: how often the step has been traced; stays at 1 however many architectures it has trained.
    """

    def __init__(self, space: Space, settings: Training, data: Dataset):
        self.space, self.settings, self.data = space, settings, data
        self.traces = 0
        self.steps = settings.epochs * settings.steps_per_epoch(data.train)
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(settings.clip_norm),
            only_sampled(optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(settings.weight_decay))),
        )
        # The structure of the network without its parameters: no computation.
        self.graph = nnx.split(nnx.eval_shape(lambda: space.supernet(jax.random.key(0))))[0]
        self._step = jax.jit(self._one_step)

    def init(self, key: PRNGKeyArray) -> TrainState:
        """New parameters and a fresh optimizer."""
        params = jax.jit(lambda key: nnx.split(self.space.supernet(key))[1])(key)
        return self.restart(params)

    def restart(self, params: Any) -> TrainState:
        """A fresh optimizer for given parameters."""
        return TrainState(params, self.optimizer.init(params), jnp.int32(0))

    def network(self, params: Any) -> Any:
        """The supernet with these parameters."""
        return nnx.merge(self.graph, params)

    def learning_rate(self, step: int, steps: int | None = None, peak: float | None = None) -> float:
        """The rate of a step: a linear rise, then a cosine down to zero."""
        total = steps or self.steps
        peak = peak or self.settings.learning_rate
        rise = max(1, round(self.settings.warm_up * total))
        if step < rise:
            return peak * (step + 1) / rise
        return peak * 0.5 * (1 + float(np.cos(np.pi * (step - rise) / max(1, total - rise))))

    def step(
        self,
        state: TrainState,
        key: PRNGKeyArray,
        arch: Int[Array, " choices"],
        images: UInt8[Any, "batch height width channels"],
        labels: Int[Any, " batch"],
        learning_rate: float,
    ) -> tuple[TrainState, Float[Array, ""]]:
        """Trains the shared parameters of one architecture on one batch; returns the loss beside the new state.

        Args:
          state: is not changed.
          key: for moving images.
          arch: the architecture.
          images: as stored; they are normalised here.
          labels: class indices.
          learning_rate: of this step.
        """
        return self._step(state, key, arch, images, labels, jnp.float32(learning_rate))

    def _one_step(
        self, state: TrainState, key: Array, arch: Array, images: Array, labels: Array, learning_rate: Array
    ) -> tuple[TrainState, Array]:
        self.traces += 1
        images = normalise(moved(key, images, self.settings.shift), self.data)
        classes = len(self.data.class_names)
        targets = optax.smooth_labels(jax.nn.one_hot(labels, classes), self.settings.label_smoothing)

        def loss(params: Any) -> Array:
            logits, _ = self.network(params)(masked(self.space, arch), images)
            return optax.softmax_cross_entropy(logits, targets).mean()

        value, gradients = jax.value_and_grad(loss)(state.params)
        updates, optimizer = self.optimizer.update(gradients, state.optimizer, state.params)
        updates = jax.tree.map(lambda update: -learning_rate * update, updates)
        return TrainState(optax.apply_updates(state.params, updates), optimizer, state.step + 1), value


def normalise(images: UInt8[Any, "batch height width channels"], data: Dataset) -> Float[Array, "..."]:
    """Scales stored images to [0, 1] and by the training images' mean and deviation."""
    mean, std = jnp.asarray(data.mean, jnp.float32), jnp.asarray(data.std, jnp.float32)
    return (jnp.asarray(images, jnp.float32) / 255 - mean) / std


def moved(
    key: PRNGKeyArray, images: UInt8[Any, "batch height width channels"], shift: int
) -> UInt8[Any, "batch height width channels"]:
    """Each image moved by up to `shift` pixels in both directions, its edge repeated."""
    if shift == 0:
        return jnp.asarray(images)
    padded = jnp.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
    corners = jax.random.randint(key, (len(images), 2), 0, 2 * shift + 1)
    crop = lambda image, corner: jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:])  # noqa: E731
    return jax.vmap(crop)(padded, corners)


def batches(key: PRNGKeyArray, split: Split, batch: int, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One epoch of full batches, in an order that follows from the key and the epoch alone: so a run can go on."""
    order = np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), len(split.labels)))
    for start in range(0, len(order) - batch + 1, batch):
        at = order[start : start + batch]
        yield split.images[at], split.labels[at]


def train(
    trainer: Trainer,
    state: TrainState,
    key: PRNGKeyArray,
    *,
    after_epoch: Callable[[int, float, TrainState], None],
) -> TrainState:
    """Trains from wherever the state stands to the last epoch, a uniformly sampled architecture a step.

    Args:
      trainer: space, settings and data.
      state: new or restored; what a step does follows from the key and its number, so a resumed run ends the same.
      key: of the whole training.
      after_epoch: called with the number of epochs done, the epoch's mean loss and the state: to save and to show it.

    Raises:
      FloatingPointError: when the loss is not finite.

    References:
      Single Path One-Shot NAS with Uniform Sampling (arXiv:1904.00420).
      Differs: channels are sampled too; parameters that a step did not sample keep value and optimizer state.
    """
    data_key, arch_key, move_key = jax.random.split(key, 3)
    draw = jax.jit(partial(sample, space=trainer.space, n=trainer.settings.steps_per_epoch(trainer.data.train)))
    done = int(state.step) // trainer.settings.steps_per_epoch(trainer.data.train)
    for epoch in range(done, trainer.settings.epochs):
        archs = draw(jax.random.fold_in(arch_key, epoch))
        losses = []
        for i, (images, labels) in enumerate(batches(data_key, trainer.data.train, trainer.settings.batch, epoch)):
            number = epoch * len(archs) + i
            state, loss = trainer.step(
                state, jax.random.fold_in(move_key, number), archs[i], images, labels, trainer.learning_rate(number)
            )
            losses.append(loss)
        mean_loss = float(jnp.stack(losses).mean())
        if not np.isfinite(mean_loss):
            raise FloatingPointError(
                f"the loss is {mean_loss} in epoch {epoch + 1}; lower training.learning_rate"
                f" (now {trainer.settings.learning_rate})"
            )
        after_epoch(epoch + 1, mean_loss, state)
    return state


def fine_tune(
    trainer: Trainer, params: Any, key: PRNGKeyArray, arch: Int[Any, " choices"], epochs: int, learning_rate: float
) -> Any:
    """Trains one architecture's parameters only, from the shared ones, and returns the parameters.

    Runs in the masked reading: the supernet's compiled step serves here too, so no architecture costs a compile.
    """
    data_key, move_key = jax.random.split(key)
    state, row = trainer.restart(params), jnp.asarray(arch)
    steps = epochs * trainer.settings.steps_per_epoch(trainer.data.train)
    for epoch in range(epochs):
        for images, labels in batches(data_key, trainer.data.train, trainer.settings.batch, epoch):
            number = int(state.step)
            state, _ = trainer.step(
                state,
                jax.random.fold_in(move_key, number),
                row,
                images,
                labels,
                trainer.learning_rate(number, steps, learning_rate),
            )
    return state.params

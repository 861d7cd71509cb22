"""The loop over steps: batches and architectures in, states out; a loss that is not finite ends it at once."""

from collections import deque
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Int, PRNGKeyArray

from nas.training.feed import Feed
from nas.training.state import TrainState
from nas.training.trainer import Trainer

LATE = 4
"""A loss is looked at so many steps later, so that the device never waits for Python; the bad step is named exactly."""


class NotFiniteError(FloatingPointError):
    """A step's loss or gradient is not finite.

    Attributes:
      step: which, from 0.
    """

    def __init__(self, message: str, step: int):
        super().__init__(message)
        self.step = step


class Watch:
    """Looks at each step's loss, some steps later, in order."""

    def __init__(self, trainer: Trainer, doing: str, setting: str, learning_rate: float):
        """Has seen nothing yet.

        Args:
          trainer: whose steps they are.
          doing: what a step does to its architectures, for the message.
          setting: where the learning rate is set.
          learning_rate: as set there.
        """
        self.trainer, self.doing = trainer, doing
        self.way_out = f"lower {setting} (now {learning_rate})"
        self.waiting: deque[tuple[int, np.ndarray, Any]] = deque()

    def see(self, step: int, archs: Int[np.ndarray, "... choices"], loss: Any) -> None:
        """Takes a step's loss.

        Raises:
          NotFiniteError: when an earlier step's is not finite.
        """
        self.waiting.append((step, archs, loss))
        self.settle(LATE)

    def settle(self, late: int = 0) -> None:
        """Looks at all but the last so many losses.

        Raises:
          NotFiniteError: when one is not finite.
        """
        while len(self.waiting) > late:
            step, archs, loss = self.waiting.popleft()
            if not np.isfinite(loss):
                rows = archs.reshape(-1, archs.shape[-1]).tolist()
                shown = " and ".join(map(str, rows[:4])) + (f" and {len(rows) - 4} more" if len(rows) > 4 else "")
                raise NotFiniteError(
                    f"the loss is {float(loss)} at step {step + 1} (epoch {step // self.trainer.per_epoch + 1}),"
                    f" {self.doing} {shown}; {self.way_out}",
                    step,
                )


def train(
    trainer: Trainer,
    state: TrainState,
    key: PRNGKeyArray,
    *,
    after_epoch: Callable[[int, float, TrainState], None],
    after_steps: Callable[[TrainState], None] | None = None,
) -> TrainState:
    """Trains from wherever the state stands to the last epoch, by the rule of the settings.

    Args:
      trainer: space, settings and data.
      state: new or restored, and used up; what a step does follows from the key and its number, so a resumed run ends
        the same, bit for bit on the same devices.
      key: of the whole training.
      after_epoch: called with the number of epochs done, the epoch's mean loss and the state: to save and to show it.
        The state is good until it returns.
      after_steps: called with the state every `checkpoint_steps` steps inside an epoch.

    Raises:
      NotFiniteError: when a loss or a gradient is not finite; nothing after the last good step was handed out.
      ValueError: when the state was trained with another key.
    """
    state = _under(key, state, trainer)
    data_key, arch_key, step_key = jax.random.split(key, 3)
    settings, per_epoch = trainer.settings, trainer.per_epoch
    feed = Feed(data_key, trainer.data.train, settings.batch, trainer.part)
    number, watch = int(state.step), Watch(trainer, "training", "training.learning_rate", settings.learning_rate)
    stream = feed.steps(number, trainer.steps, settings.prefetch)
    for epoch in range(number // per_epoch, settings.epochs):
        end = (epoch + 1) * per_epoch
        all_archs, keys = trainer.draw(arch_key, step_key, number, end - number)
        for archs, step_data in zip(all_archs, keys, strict=True):
            images, labels = next(stream)
            state, loss = trainer.step(state, step_data, archs, images, labels, trainer.learning_rate(number))
            watch.see(number, archs, loss)
            number += 1
            if after_steps and settings.checkpoint_steps and number < end and number % settings.checkpoint_steps == 0:
                watch.settle()
                after_steps(state)
        watch.settle()
        after_epoch(epoch + 1, float(state.loss) / per_epoch, state)
    return state


def _under(key: PRNGKeyArray, state: TrainState, trainer: Trainer) -> TrainState:
    """The state with its key, which stays the same for good."""
    data = np.asarray(jax.random.key_data(key))
    if int(state.step) == 0:
        return trainer.place(state._replace(key=data))
    if not np.array_equal(np.asarray(state.key), data):
        raise ValueError(
            f"this training runs on the key {np.asarray(state.key).tolist()}, so it can't go on with"
            f" {data.tolist()}; give the same seed"
        )
    return trainer.place(state)


def fine_tune(
    trainer: Trainer, params: Any, key: PRNGKeyArray, arch: Int[Any, " choices"], epochs: int, learning_rate: float
) -> Any:
    """Trains one architecture's parameters only, from the shared ones, and returns the parameters.

    Runs as the supernet's training did: its compiled step (or blocks) serve here too, so no architecture costs a
    compile; with a rule of several architectures a step, one more for all.

    Raises:
      NotFiniteError: when a loss or a gradient is not finite.
    """
    data_key, step_key = jax.random.split(key)
    state, shown = trainer.restart(params), np.asarray(arch, np.int32)[None]
    row = np.broadcast_to(shown, (trainer.mesh.size, *shown.shape)) if trainer.settings.per_device else shown
    steps = epochs * trainer.per_epoch
    feed = Feed(data_key, trainer.data.train, trainer.settings.batch, trainer.part)
    watch = Watch(trainer, "fine-tuning", "fine_tune.learning_rate", learning_rate)
    for number, (images, labels) in enumerate(feed.steps(0, steps, trainer.settings.prefetch)):
        rate = trainer.learning_rate(number, steps, learning_rate)
        step_data = np.asarray(jax.random.key_data(jax.random.fold_in(step_key, number)))
        state, loss = trainer.step(state, step_data, row, images, labels, rate)
        watch.see(number, shown, loss)
    watch.settle()
    return trainer.weights(state)

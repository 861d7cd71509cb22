"""Judges an architecture by the weights it inherits: recalibrate batch norm, then count errors on validation images."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nas.data.dataset import Dataset
from nas.training import normalise
from search_spaces.reading import Reading, masked
from search_spaces.space import Space, check_arch
from search_spaces.static import Fixed, fixed_of, input_size, resize

PIECE = 100  # images at a time, at the most


class Judgement(NamedTuple):
    """What one architecture's inherited weights are worth.

    Attributes:
      val_error: fraction of the validation images that are classified wrongly.
      val_loss: mean cross-entropy over them, nats.
      stats: the batch-norm statistics it was judged with, under the masked reading.
    """

    val_error: Float[Any, ""]
    val_loss: Float[Any, ""]
    stats: Any


def calibrate(network: Any, read: Reading, images: Float[Array, "batch height width channels"]) -> Any:
    """The batch-norm statistics of one architecture on these (normalised, training) images: a pure function."""
    return network(read, images)[1]


class SupernetJudge:
    """One compiled function that judges every architecture of a space.

    Attributes:
      traces: how often it has been traced: once for each combination of static choices (resolutions).
    """

    def __init__(self, space: Space, data: Dataset, key: PRNGKeyArray, calibration_images: int = 128):
        """Draws the calibration images from the training split with `key`.

        Raises:
          ValueError: when there are not so many training images.
        """
        if not 2 <= calibration_images <= len(data.train.labels):
            raise ValueError(
                f"`calibration_images` must be 2 to the number of training images, {len(data.train.labels)};"
                f" got {calibration_images}"
            )
        self.space = space
        self.traces = 0
        at = np.asarray(jax.random.permutation(key, len(data.train.labels))[:calibration_images])
        self.calibration = normalise(data.train.images[at], data)
        self.images, self.labels = normalise(data.val.images, data), jnp.asarray(data.val.labels)
        self._judge = jax.jit(self._one, static_argnums=0)
        self._logits = jax.jit(self._inherited_logits, static_argnums=0)

    def __call__(self, supernet: Any, arch: Int[Any, " choices"]) -> Judgement:
        """Judges one architecture of the supernet.

        Raises:
          ValueError: when the architecture is not of the space.
        """
        fixed = fixed_of(self.space, check_arch(self.space, arch))
        return self._judge(fixed, supernet, jnp.asarray(arch), self.calibration, self.images, self.labels)

    def logits(
        self, supernet: Any, arch: Int[Any, " choices"], stats: Any, images: Float[Array, "images ..."]
    ) -> Float[Array, "images classes"]:
        """Logits of one architecture under the masked reading, with statistics as a `Judgement` holds them."""
        return self._logits(fixed_of(self.space, arch), supernet, jnp.asarray(arch), stats, images)

    def _one(
        self, fixed: Fixed, supernet: Any, arch: Array, calibration: Array, images: Array, labels: Array
    ) -> Judgement:
        self.traces += 1
        seen = resize(calibration, input_size(self.space, fixed))
        stats = calibrate(supernet, masked(self.space, arch, fixed), seen)
        logits = self._inherited_logits(fixed, supernet, arch, stats, images)
        wrong = (logits.argmax(-1) != labels).mean()
        return Judgement(wrong, optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), stats)

    def _inherited_logits(self, fixed: Fixed, supernet: Any, arch: Array, stats: Any, images: Array) -> Array:
        # Piece by piece: a piece's activations stay in the processor's cache, and memory doesn't grow with the split.
        read, size = masked(self.space, arch, fixed), input_size(self.space, fixed)
        count = len(images)
        number = -(-count // PIECE)
        piece = -(-count // number)
        padded = jnp.pad(images, ((0, number * piece - count), (0, 0), (0, 0), (0, 0)))
        logits = jax.lax.map(
            lambda x: supernet(read, resize(x, size), stats)[0], padded.reshape(number, piece, *images.shape[1:])
        )
        return logits.reshape(number * piece, -1)[:count]

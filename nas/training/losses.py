"""What one architecture is taught by one batch: labels, the step's first architecture, and a teacher from outside."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import optax
from jaxtyping import Array, Float

Logits = Float[Array, "batch classes"]


class Lesson(NamedTuple):
    """A batch, made ready.

    Attributes:
      images: augmented and normalised.
      targets: the labels' probabilities: smoothed, perhaps mixed.
      taught: the outside teacher's logits for these images; None without one.
    """

    images: Float[Array, "batch height width channels"]
    targets: Float[Array, "batch classes"]
    taught: Float[Array, "batch classes"] | None


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A trained network that teaches every architecture beside the labels.

    Attributes:
      run: folder of a finished run, whose largest network teaches; None where the caller hands the network over.
      weight: share of the loss that it teaches.
      temperature: its logits and the learner's are divided by this before they are compared; the higher, the more the
        unlikely classes count.

    References:
      Distilling the Knowledge in a Neural Network (arXiv:1503.02531).
    """

    run: str | None = None
    weight: float = 0.5
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1:
            raise ValueError(f"`training.teacher.weight` must be above 0 and at most 1, got {self.weight}")
        if self.temperature <= 0:
            raise ValueError(f"`training.teacher.temperature` must be above 0, got {self.temperature}")


def distilled(logits: Logits, teacher: Logits, temperature: float = 1.0) -> Float[Array, ""]:
    """Cross-entropy to a teacher's softened answer, times temperature squared, so that gradients keep their size."""
    soft = jax.nn.softmax(jax.lax.stop_gradient(teacher) / temperature)
    return temperature**2 * optax.softmax_cross_entropy(logits / temperature, soft).mean()


def row_loss(
    logits: Logits, lesson: Lesson, first: Logits, share: float | Float[Array, ""], teacher: Teacher | None
) -> Float[Array, ""]:
    """The loss of one row of a step.

    Args:
      logits: the row's own.
      lesson: the batch.
      first: logits of the step's first row.
      share: how much of the loss the first row teaches in place of the labels; a plain 0.0 leaves it out.
      teacher: how much the outside teacher has to say, and how softly.
    """
    loss = optax.softmax_cross_entropy(logits, lesson.targets).mean()
    if not (isinstance(share, float) and share == 0):
        loss = (1 - share) * loss + share * distilled(logits, first)
    if teacher is not None and lesson.taught is not None:
        loss = (1 - teacher.weight) * loss + teacher.weight * distilled(logits, lesson.taught, teacher.temperature)
    return loss

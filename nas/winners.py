"""From a search's front to finished networks: choose three, fine-tune, recalibrate, extract, test."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from nas.judge import Judgement, SupernetJudge
from nas.objective import Judged, Objective, cost_matrix, feasible
from nas.pareto import non_dominated
from nas.training import Trainer, fine_tune, normalise
from search_spaces.extract import Extracted, extract
from search_spaces.static import fixed_of, input_size, resize

ROLES = ("fastest", "balanced", "most accurate")


class Finished(NamedTuple):
    """An extracted network and how it does.

    Attributes:
      extracted: the standalone network.
      test_accuracy: fraction of the test images classified rightly, which no search has seen.
      inherited_test_accuracy: the same with the weights as the supernet gave them.
      val_error: fraction of the validation images classified wrongly.
      fine_tuned: whether fine-tuning lowered the validation loss; if not, it was dropped.
      logits: of the test images.
      masked_max_abs_diff: largest difference from the supernet's logits under the masked reading.
    """

    extracted: Extracted
    test_accuracy: float
    inherited_test_accuracy: float
    val_error: float
    fine_tuned: bool
    logits: Float[np.ndarray, "images classes"]
    masked_max_abs_diff: float


def front(judged: Sequence[Judged], objectives: Sequence[Objective]) -> list[Judged]:
    """The feasible networks that no other feasible one beats, in order of the first objective and then the second.

    Raises:
      ValueError: when no judged network keeps all bounds; says how near each bound came.
    """
    kept = [j for j, ok in zip(judged, feasible(judged, objectives), strict=True) if ok]
    if not kept:
        nearest = ", ".join(
            f"{o.label} at most {o.bound:g} (lowest judged: {min(j.costs[o.label].value for j in judged):g})"
            for o in objectives
            if o.bound is not None
        )
        raise ValueError(f"none of {len(judged)} judged networks keeps all bounds: {nearest}; raise a bound")
    costs = cost_matrix(kept, objectives)
    best = [kept[i] for i in np.flatnonzero(non_dominated(costs))]
    return sorted(best, key=lambda j: tuple(j.costs[o.label].value for o in objectives if o.minimised))


def choose(best: Sequence[Judged], error: str, speed: str) -> dict[str, Judged]:
    """Up to three networks of a front: the fastest, the most accurate, and one between.

    The one between is nearest to the ideal corner, both columns scaled to the front's range and speed on a log scale.

    Args:
      best: the front.
      error: the column of errors.
      speed: the column that says what is fast.
    """
    errors = np.array([j.costs[error].value for j in best])
    speeds = np.log([j.costs[speed].value for j in best])
    scale = lambda column: (column - column.min()) / (np.ptp(column) or 1)  # noqa: E731
    distance = np.hypot(scale(errors), scale(speeds))
    orders = {
        "fastest": np.lexsort((errors, speeds)),
        "most accurate": np.lexsort((speeds, errors)),
        "balanced": np.argsort(distance, kind="stable"),
    }
    taken: dict[str, int] = {}
    for role, order in orders.items():
        free = [int(i) for i in order if int(i) not in taken.values()]
        if free:
            taken[role] = free[0]
    return {role: best[taken[role]] for role in ROLES if role in taken}


def finish(
    trainer: Trainer,
    judge: SupernetJudge,
    params: Any,
    arch: Int[np.ndarray, " choices"],
    key: PRNGKeyArray,
    *,
    epochs: int,
    learning_rate: float,
) -> Finished:
    """Fine-tunes one architecture from the shared parameters, keeps that if it helps, extracts and tests it.

    Whether it helps is asked of the validation loss; the test images are only looked at afterwards.
    """
    data, space = trainer.data, trainer.space
    inherited: Judgement = judge(trainer.network(params), arch)
    chosen, judgement, fine_tuned = params, inherited, False
    if epochs:
        tuned = fine_tune(trainer, params, key, arch, epochs, learning_rate)
        after = judge(trainer.network(tuned), arch)
        if after.val_loss < inherited.val_loss:
            chosen, judgement, fine_tuned = tuned, after, True
    test_images = normalise(data.test.images, data)
    masked_logits = judge.logits(trainer.network(chosen), arch, judgement.stats, test_images)
    before = masked_logits
    if fine_tuned:
        before = judge.logits(trainer.network(params), arch, inherited.stats, test_images)
    extracted = extract(space, trainer.network(chosen), arch, judgement.stats)
    logits = run(extracted, test_images, input_size(space, fixed_of(space, arch)))
    return Finished(
        extracted=extracted,
        test_accuracy=accuracy(logits, data.test.labels),
        inherited_test_accuracy=accuracy(before, data.test.labels),
        val_error=float(judgement.val_error),
        fine_tuned=fine_tuned,
        logits=logits,
        masked_max_abs_diff=float(np.abs(logits - masked_logits).max()),
    )


def run(
    extracted: Extracted, images: Float[Any, "images height width channels"], size: int | None = None
) -> Float[np.ndarray, "images classes"]:
    """Logits of an extracted network for normalised images, compiled, in pieces that fit memory.

    Args:
      extracted: the network.
      images: normalised.
      size: the side that they are resized to, px: the network's resolution, where that was a choice.
    """
    forward = jax.jit(lambda network, piece: network(resize(piece, size)))
    return np.concatenate([np.asarray(forward(extracted, piece)) for piece in pieces(np.asarray(images))])


def pieces(images: Float[np.ndarray, "images ..."], size: int = 500) -> list[np.ndarray]:
    """Consecutive stretches of at most `size` images."""
    return [images[start : start + size] for start in range(0, len(images), size)]


def accuracy(logits: Float[Any, "images classes"], labels: Int[np.ndarray, " images"]) -> float:
    """The fraction of images whose largest logit is that of their label."""
    return float((np.asarray(logits).argmax(-1) == labels).mean())

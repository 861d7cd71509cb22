"""Masked or sliced? `auto` times a few steps of both and takes what is sooner done, compiles included."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Int, PRNGKeyArray

from nas.training.engines import SlicedEngine
from nas.training.state import TrainState
from nas.training.trainer import Execution, Trainer
from search_spaces.layers import total_macs
from search_spaces.sliced import distinct_blocks
from search_spaces.space import Space, largest
from search_spaces.static import grouped, input_size

SAMPLES = 4
"""Steps timed of each way, after what they need is compiled: the median counts."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """How steps are run, and on what grounds. Times are in seconds; None is what was not measured.

    Attributes:
      execution: what was chosen.
      reason: why, in words.
      steps: that were to come.
      masked_step_s: median masked step.
      masked_compile_s: for one combination of static choices, in the mean.
      masked_programs: combinations of static choices that were yet to be compiled, at the most.
      sliced_step_s: median sliced step.
      sliced_compile_s: of one block, in the mean.
      sliced_blocks: blocks that were yet to be compiled, at the most.
    """

    execution: Execution
    reason: str
    steps: int
    masked_step_s: float | None = None
    masked_compile_s: float | None = None
    masked_programs: int | None = None
    sliced_step_s: float | None = None
    sliced_compile_s: float | None = None
    sliced_blocks: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def settle(trainer: Trainer, state: TrainState, key: PRNGKeyArray) -> Decision:
    """Chooses how the steps that are left are run; measures only where that can pay.

    A network that is run sliced can't take less than its share of the largest one's MACs. Where even that would win
    less time than its compiles take (a block's taken as the masked step's over the number of blocks), it isn't tried.

    Args:
      trainer: with `execution="auto"`; runs as the decision says only once it is told (`trainer.execution`).
      state: where training stands; it is copied, and stays as it was.
      key: of the architectures that are timed.
    """
    settings, left = trainer.settings, trainer.steps - int(state.step)
    if settings.execution != "auto":
        return Decision(execution=settings.execution, reason="as set", steps=left)
    for name, asked in (
        ("several devices", trainer.mesh.size > 1),
        ("remat", settings.remat),
        ("architectures of each device's own", settings.per_device),
    ):
        if asked:
            return Decision(execution="masked", reason=f"{name} run masked", steps=left)
    if left <= 2 * SAMPLES:
        return Decision(execution="masked", reason="too few steps to measure anything", steps=left)

    archs, keys = trainer.draw(key, key, 0, SAMPLES)
    rows = archs.reshape(-1, archs.shape[-1])
    compiling, median = _timed(trainer, "masked", state, archs, keys)
    seen = len(grouped(trainer.space, rows))
    compile_s, programs = compiling / seen, min(_combinations(trainer.space) - seen, left * trainer.rows)
    found = {"steps": left, "masked_step_s": median, "masked_compile_s": compile_s, "masked_programs": programs}
    blocks, in_network = blocks_of(trainer.space, trainer.data.train.images.shape[1:])
    share = share_of_largest(trainer.space, rows)
    to_win = left * median * (1 - share) + programs * compile_s
    to_spend = min(blocks, left * trainer.rows * in_network) * compile_s / in_network
    if to_win < to_spend:
        reason = f"sliced could win {to_win:.0f} s at the most, and up to {blocks} blocks would take {to_spend:.0f} s"
        return Decision(execution="masked", reason=reason, **found, sliced_blocks=blocks)

    engine = trainer.engines["sliced"]
    assert isinstance(engine, SlicedEngine)
    before = engine.sliced.compiles["gradient"]
    compiling, sliced = _timed(trainer, "sliced", state, archs, keys)
    compiled = engine.sliced.compiles["gradient"] - before
    each = compiling / max(1, compiled)
    to_come = max(0, min(blocks - compiled, left * trainer.rows * in_network))
    masked_total, sliced_total = left * median + programs * compile_s, left * sliced + to_come * each
    chosen: Execution = "sliced" if sliced_total < masked_total else "masked"
    return Decision(
        execution=chosen,
        reason=f"{left} steps would take {masked_total:.0f} s masked, {sliced_total:.0f} s sliced, compiles included",
        **found,
        sliced_step_s=sliced,
        sliced_compile_s=each,
        sliced_blocks=to_come,
    )


def _timed(
    trainer: Trainer, execution: Execution, state: TrainState, archs: np.ndarray, keys: np.ndarray
) -> tuple[float, float]:
    """Seconds that some steps compile for, and the median of the same steps once more, when all is compiled."""
    data, batch = trainer.data.train, trainer.settings.batch
    images, labels = data.images[:batch], data.labels[:batch]
    copy, before = trainer.restart(state.params), trainer.execution
    seconds: list[float] = []
    trainer.execution = execution
    try:
        for i in [*range(len(archs))] * 2:
            begin = time.perf_counter()
            copy, loss = trainer.step(copy, keys[i], archs[i], images, labels, 1e-6)
            jax.block_until_ready((copy, loss))
            seconds.append(time.perf_counter() - begin)
    finally:
        trainer.execution = before
    first, again = seconds[: len(archs)], seconds[len(archs) :]
    return max(0.0, sum(first) - sum(again)), float(np.median(again))


def _combinations(space: Space) -> int:
    """Of static choices: programs of the masked step."""
    return math.prod(len(choice.options) for choice in space.choices if choice.static)


def share_of_largest(space: Space, archs: Int[np.ndarray, "pop choices"]) -> float:
    """Mean MACs of some architectures over the largest one's."""
    macs: Callable[[Any], int] = lambda arch: total_macs(space.layers(arch))  # noqa: E731
    return float(np.mean([macs(arch) for arch in archs]) / macs(largest(space)))


def blocks_of(space: Space, image: tuple[int, ...]) -> tuple[int, int]:
    """Distinct blocks that the sliced way may come to compile, over all static choices, and blocks of one network."""
    height, width, channels = image
    static = [choice for choice in space.choices if choice.static]
    fixed = [
        tuple((choice.name, index) for choice, index in zip(static, indices, strict=True))
        for indices in product(*(range(len(choice.options)) for choice in static))
    ]
    total = 0
    for each in fixed:
        size = input_size(space, each)
        total += distinct_blocks(space, (size or height, size or width, channels), each)
    return total, len(nnx.eval_shape(lambda: space.supernet(jax.random.key(0))).slots)

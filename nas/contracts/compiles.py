"""One compile serves all: training and judging are traced once for each combination of static choices."""

from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import TypeCheckError

from nas.contracts.case import Case, quick
from nas.contracts.contract import NotApplicable, require
from nas.data.dataset import Dataset, Split
from nas.judge import SupernetJudge
from nas.training import Trainer, Training
from search_spaces.extract import extract
from search_spaces.space import largest
from search_spaces.static import grouped

TRAINED, VALIDATED, STEP = 16, 8, 4  # images


def one_compile_serves_all(case: Case) -> None:
    """A training step and the judge are traced once for each combination of static choices, whatever is trained.

    Every architecture is trained and judged on abstract values, which compiles nothing; one is trained for real.
    """
    height, width, _ = case.shape
    if height != width:
        raise NotApplicable(f"data sets have square images, not {height} x {width}")
    data = noise(case)
    trainer = Trainer(case.space, Training(epochs=1, batch=STEP), data)
    judge = SupernetJudge(case.space, data, jax.random.key(0), calibration_images=TRAINED // 2)
    first = trainer.restart(nnx.split(case.supernet)[1])
    keys = [np.asarray(jax.random.key_data(jax.random.key(number))) for number in range(len(case.archs))]

    def step(state: Any, arch: np.ndarray, number: int) -> Any:
        rows = slice(2 * number, 2 * number + STEP)
        images, labels = data.train.images[rows], data.train.labels[rows]
        return trainer.step(state, keys[number], arch, images, labels, 1e-3)

    def judged(params: Any, arch: np.ndarray) -> Any:
        return judge(trainer.network(params), arch)

    state: Any = first
    for number, arch in enumerate(case.archs):
        state, _ = jax.eval_shape(lambda state, arch=arch, number=number: step(state, arch, number), shapes_of(state))
        jax.eval_shape(lambda params, arch=arch: judged(params, arch), state.params)
    combinations = len(grouped(case.space, np.stack(case.archs)))
    mend = "let blocks ask the reading, and read no index in Python; mark a choice whose options change shapes `static`"
    for what, traces in (("training step", trainer.traces), ("judge", judge.traces)):
        require(
            traces == combinations,
            f"the {what} was traced {traces} times for {combinations} combinations of static choices",
            mend,
        )
    arch = case.archs[-1]
    state, loss = quick(lambda state: step(state, arch, 0))(first)
    require(
        np.isfinite(loss) and int(state.step) == 1,
        f"a training step of the largest network gives the loss {float(loss)}",
        "normalise before activations grow, or guard what divides",
    )


def shapes_of(tree: Any) -> Any:
    """What programs are kept by: shapes and types, wherever the arrays lie."""

    def shape(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, weak_type=getattr(leaf, "weak_type", False))

    return jax.tree.map(shape, tree)


def noise(case: Case) -> Dataset:
    """Noise with labels, as a data set."""
    rng = np.random.default_rng(0)

    def split(n: int) -> Split:
        labels = rng.integers(0, case.classes, n).astype(np.int32)
        return Split(images=rng.integers(0, 256, (n, *case.shape)).astype(np.uint8), labels=labels)

    channels = case.shape[-1]
    return Dataset(
        name="noise",
        class_names=tuple(map(str, range(case.classes))),
        train=split(TRAINED),
        val=split(VALIDATED),
        test=split(VALIDATED),
        mean=(0.5,) * channels,
        std=(0.3,) * channels,
        native_size=case.shape[0],
        native_max=255,
        resample="none",
        fingerprint="",
    )


def what_is_no_architecture_is_refused(case: Case) -> None:
    """Extraction and layers refuse rows too long or too short, beyond the options or below 0, or of no integers."""
    space, row = case.space, largest(case.space)
    wrong = [np.append(row, 0).astype(np.int32)]
    if len(row):
        wrong += [row[:-1], row + 1, -1 - row, row.astype(float), np.full(len(row), np.nan)]
    for arch in wrong:
        for name, run in (
            ("layers", lambda arch=arch: space.layers(arch)),
            ("extract", lambda arch=arch: extract(space, case.supernet, arch, case.stats[-1])),
        ):
            try:
                run()
            except (ValueError, TypeCheckError):  # the latter where signatures are checked at run time
                continue
            require(
                False,
                f"`{name}` takes {arch.tolist()} for an architecture",
                "begin `layers` with `check_arch(self, arch)`, of search_spaces/space.py",
            )

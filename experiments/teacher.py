"""A teacher for a training: the largest network of another run, as its supernet was left."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray
from omegaconf import DictConfig, OmegaConf

from experiments.build import build
from experiments.resume import CONFIG
from nas.checkpoint import Checkpoints
from nas.data.dataset import Dataset
from nas.judge import SupernetJudge
from nas.training import Trainer
from search_spaces.extract import Extracted, extract
from search_spaces.space import canonical, largest
from search_spaces.static import fixed_of, input_size, resize


def teacher_of(folder: str, data: Dataset, plugins: Sequence[str], key: PRNGKeyArray) -> Callable[[Any], Any]:
    """The largest network of a finished run, recalibrated on that run's images: normalised images to logits.

    Args:
      folder: of the run.
      data: what is to be taught; its images must be of the size and classes that the teacher knows.
      plugins: packages that the run's settings may come from.
      key: of the images that it is recalibrated on.

    Raises:
      ValueError: when the folder is not a finished run's, or its data are of another shape.
    """
    path = Path(folder) / CONFIG
    settings = OmegaConf.load(path) if path.exists() else None
    if not isinstance(settings, DictConfig):
        raise ValueError(f"training.teacher.run={folder} is not the folder of a run: `{path}` is missing")
    kept: dict[str, Any] = OmegaConf.to_container(settings)  # pyright: ignore[reportAssignmentType]
    source = build(kept["data"], plugins)
    theirs = (source.image_size, source.image_channels, source.classes)
    ours = (data.image_size, data.image_channels, data.classes)
    if theirs != ours:
        raise ValueError(
            f"the teacher of `{folder}` knows images of (size, channels, classes) {theirs}, but here they are {ours};"
            " name a run on the same data"
        )
    space = build(kept["search_space"], plugins, image_size=theirs[0], image_channels=theirs[1], classes=theirs[2])
    training = {**kept["training"], "teacher": None}  # its own teacher taught it already
    trainer = Trainer(space, build(training, plugins), source.load(), alone=True)  # each process restores it by itself
    home = Path(kept["supernet"]["from"] or folder)
    if not (home / "checkpoints").is_dir():
        raise ValueError(f"`{folder}` holds no trained supernet; finish it with resume={folder}")
    with Checkpoints(home / "checkpoints", create=False) as checkpoints:
        state = trainer.place(checkpoints.restore(trainer.init(key)))
    if int(state.step) < trainer.steps:
        raise ValueError(f"the supernet of `{folder}` is not finished; finish it with resume={folder}")
    arch = np.asarray(canonical(space, largest(space)))
    supernet = trainer.network(trainer.weights(state))
    judge = SupernetJudge(space, trainer.data, key, kept["calibration_images"])
    network = extract(space, supernet, arch, judge(supernet, arch).stats)
    # A pytree, so that its weights are an argument of the compiled step and no constants in it.
    return jax.tree_util.Partial(partial(_answer, input_size(space, fixed_of(space, arch))), network)


def _answer(size: int | None, network: Extracted, images: Any) -> Any:
    return network(resize(images, size))

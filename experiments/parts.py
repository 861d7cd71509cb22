"""What a run works with: its settings, the objects they describe, and where it writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from experiments.build import build
from experiments.console import Console
from experiments.profile_file import read_profile
from experiments.settings import objectives_of
from experiments.teacher import teacher_of
from experiments.tracking import Tracking
from hardware.measuring.store import MeasurementStore
from hardware.target import Target
from nas.data.dataset import Dataset
from nas.judge import SupernetJudge
from nas.objective import Objective, Prices, check_reachable
from nas.training import Trainer, Training
from search_spaces.space import Space, smallest

KEYS = ("init", "train", "calibrate", "sample", "search", "random", "tune")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the settings describe, built.

    Attributes:
      target: what the networks are for; its latency is an objective.
      targets: that and the embedded board, once each.
      objectives: columns and bounds of the search.
    """

    space: Space
    data: Dataset
    target: Target
    targets: tuple[Target, ...]
    objectives: tuple[Objective, ...]
    trainer: Trainer
    judge: SupernetJudge


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run under way.

    Attributes:
      settings: resolved, as plain values.
      folder: where all of it is kept.
      identity: run, created, versions, device, commit; made when it was started.
      keys: a key for each use of randomness.
    """

    settings: Mapping[str, Any]
    folder: Path
    identity: Mapping[str, Any]
    keys: Mapping[str, jax.Array]
    console: Console
    tracking: Tracking
    parts: Parts

    @property
    def store(self) -> MeasurementStore:
        """The measurements, shared with other runs."""
        return MeasurementStore(path=Path(self.settings["measuring"]["store"]))

    def build(self, section: str, **given: Any) -> Any:
        """The object of one section of the settings."""
        return build(self.settings[section], self.settings["plugins"], **given)


def keys_of(seed: int) -> dict[str, jax.Array]:
    """One key for each use of randomness, all from the seed."""
    return dict(zip(KEYS, jax.random.split(jax.random.key(seed), len(KEYS)), strict=True))


def assemble(settings: Mapping[str, Any], calibration_key: jax.Array) -> Parts:
    """Builds what the settings describe, refusing before any work a bound that is known to be out of reach.

    Raises:
      ValueError: for a setting, a bound or a data file that won't do.
      OSError: for a data file that is missing.
    """
    plugins = settings["plugins"]
    source = build(settings["data"], plugins)
    space = build(
        settings["search_space"],
        plugins,
        image_size=source.image_size,
        image_channels=source.image_channels,
        classes=source.classes,
    )
    target, embedded = build(settings["target"], plugins), build(settings["embedded"], plugins)
    targets = (target,) if target.name == embedded.name else (target, embedded)
    objectives = objectives_of(settings["objectives"], target, embedded)
    prices = Prices(space, targets, {})
    to_come = {"val_error", *([f"latency_ms@{target.name}"] if target.measurable else [])}
    for objective in objectives:
        if objective.label not in {*to_come, *prices(smallest(space))}:
            raise ValueError(
                f"`{objective.label}` cannot be had: {objective.target} neither measures nor models it; choose another"
                f" target, or set objectives.{objective.cost}.minimised=false and its bound to null"
            )
    check_reachable(space, prices, [o for o in objectives if o.label not in to_come])
    training: Training = build(settings["training"], plugins)
    if (profile := settings["measuring"]["profile"]) is not None:  # refused now rather than after training
        read_profile(Path(profile), plugins).measured(space, target.name)
    if target.meter is not None:
        target.meter.check()
    data = source.load()
    teacher = None
    if training.teacher is not None:
        if training.teacher.run is None:
            raise ValueError("`training.teacher.run` must be the folder of a finished run, got null")
        teacher = teacher_of(training.teacher.run, data, plugins, calibration_key)
    return Parts(
        space=space,
        data=data,
        target=target,
        targets=targets,
        objectives=objectives,
        trainer=Trainer(space, training, data, teacher),
        judge=SupernetJudge(space, data, calibration_key, settings["calibration_images"]),
    )

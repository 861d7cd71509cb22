"""Checks the settings that no constructor sees, and says which target each objective's cost is of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments.build import build, check_type, nearest
from experiments.steps.exports import check_exports
from hardware.target import Target
from nas.objective import Objective
from nas.training import Distributed

OF_NO_TARGET = ("val_error", "macs", "params")
DEFAULTS = Path(__file__).parent / "configs" / "edgenas.yaml"

NUMBERS = {
    "seed": 0,
    "evaluations": 1,
    "calibration_images": 2,
    "fine_tune.epochs": 0,
    "measuring.networks": 3,
    "measuring.folds": 2,
    "measuring.front": 1,
}
"""Whole numbers, and the least that makes sense."""

TYPES: dict[str, Any] = {
    **dict.fromkeys(NUMBERS, int),
    **dict.fromkeys(("output", "measuring.store"), str),
    **dict.fromkeys(("resume", "compile_cache", "supernet.from", "measuring.profile"), str | None),
    **dict.fromkeys(("plugins", "exports"), tuple[str, ...]),
    "measuring.reuse": bool,
    "distributed.coordinator": str | None,
    **dict.fromkeys(("distributed.processes", "distributed.process"), int | None),
    "fine_tune.learning_rate": float,
}


def check_settings(plain: Mapping[str, Any]) -> None:
    """Refuses names that do not exist, values of another type, and numbers that make no sense, before any work.

    Raises:
      ValueError: naming the setting, the rule and the value.
    """
    defaults: Any = OmegaConf.to_container(OmegaConf.load(DEFAULTS))
    groups = [next(iter(group)).rpartition("@")[2] for group in defaults.pop("defaults")]
    groups = [group for group in groups if group[0] != "_" and not group.startswith("override ")]
    del defaults["hydra"]
    _check_names("", plain, {**defaults, **dict.fromkeys(groups)})
    for group in groups:
        if not isinstance(plain[group], Mapping) or "_target_" not in plain[group]:
            raise ValueError(f"`{group}` must describe an object, with a `_target_`, got {plain[group]}")

    def value(name: str) -> Any:
        section, _, key = name.rpartition(".")
        return build(plain[section][key] if section else plain[name])

    for name, hint in TYPES.items():
        check_type(f"`{name}`", value(name), hint)
    for cost, entry in plain["objectives"].items():
        check_type(f"`objectives.{cost}.bound`", entry["bound"], float | None)
        check_type(f"`objectives.{cost}.minimised`", entry["minimised"], bool)
    least = {**NUMBERS, "measuring.networks": max(NUMBERS["measuring.networks"], value("measuring.folds"))}
    for name, at_least in least.items():
        if value(name) < at_least:
            raise ValueError(f"`{name}` must be a whole number of at least {at_least}, got {value(name)}")
    if value("seed") >= 2**32:
        raise ValueError(f"`seed` must be below 2**32, got {value('seed')}")
    if value("fine_tune.learning_rate") <= 0:
        raise ValueError(f"`fine_tune.learning_rate` must be above 0, got {value('fine_tune.learning_rate')}")
    Distributed(**plain["distributed"])
    _check_objects(plain)
    check_exports(value("exports"))


def _check_objects(plain: Mapping[str, Any]) -> None:
    """Builds what the groups describe: a search that cannot be should not wait until the supernet is trained."""
    plugins = plain["plugins"]
    for group in ("target", "embedded", "predictor", "tracking"):
        build(plain[group], plugins)
    source = build(plain["data"], plugins)
    shape = {name: getattr(source, name) for name in ("image_size", "image_channels", "classes")}
    build(plain["search"], plugins, space=build(plain["search_space"], plugins, **shape))
    build(plain["training"], plugins)


def _check_names(prefix: str, given: Any, known: Mapping[str, Any]) -> None:
    """The same names all the way down, none more (`+name=...`) and none less (`~name`); groups know their own."""
    if not isinstance(given, Mapping):
        raise ValueError(f"`{prefix[:-1]}` must hold {', '.join(f'`{name}`' for name in known)}, got {given}")
    for name in given:
        if name not in known:
            raise ValueError(f"there is no setting `{prefix}{name}`{nearest(name, list(known), prefix)}")
    for name, default in known.items():
        if name not in given:
            raise ValueError(f"`{prefix}{name}` is missing; leave it at its default")
        if isinstance(default, Mapping):
            _check_names(f"{prefix}{name}.", given[name], default)


def objectives_of(settings: Mapping[str, Mapping[str, Any]], target: Target, embedded: Target) -> tuple[Objective, ...]:
    """The objectives and bounds of a run.

    `latency_ms` is the target's. A cost that a device model gives is the target's where it has a device, else the
    embedded board's. What the targets can hold (SRAM, flash) are bounds too.

    Raises:
      ValueError: when nothing is minimised, or a cost cannot be had.
    """
    board = target if target.device is not None else embedded
    found: list[Objective] = []
    for cost, entry in settings.items():
        if entry["bound"] is None and not entry["minimised"]:
            continue
        of = "" if cost in OF_NO_TARGET else (target if cost == "latency_ms" else board).name
        bound = None if entry["bound"] is None else float(entry["bound"])
        found.append(Objective(cost=cost, target=of, bound=bound, minimised=entry["minimised"]))
    if not any(objective.minimised for objective in found):
        raise ValueError("no objective is minimised; set objectives.val_error.minimised=true, say")
    known = {objective.label for objective in found if objective.bound is not None}
    for holder in dict.fromkeys((target.name, embedded.name)):
        for cost, limit in (target if holder == target.name else embedded).limits.items():
            objective = Objective(cost=cost, target=holder, bound=float(limit), minimised=False)
            if objective.label not in known:
                found.append(objective)
    return tuple(found)

"""Checks the settings that no constructor sees, and says which target each objective's cost is of."""

from collections.abc import Mapping
from typing import Any

from hardware.target import Target
from nas.objective import Objective

OF_NO_TARGET = ("val_error", "macs", "params")


def check_settings(plain: Mapping[str, Any]) -> None:
    """Refuses numbers that make no sense, before any work.

    Raises:
      ValueError: naming the setting, the rule and the value.
    """
    least: dict[str, tuple[Any, float]] = {
        "seed": (plain["seed"], 0),
        "evaluations": (plain["evaluations"], 1),
        "calibration_images": (plain["calibration_images"], 2),
        "fine_tune.epochs": (plain["fine_tune"]["epochs"], 0),
        "measuring.networks": (plain["measuring"]["networks"], max(3, plain["measuring"]["folds"])),
        "measuring.folds": (plain["measuring"]["folds"], 2),
        "measuring.front": (plain["measuring"]["front"], 1),
    }
    for name, (value, at_least) in least.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
            raise ValueError(f"`{name}` must be a whole number of at least {at_least}, got {value}")
    if plain["fine_tune"]["learning_rate"] <= 0:
        raise ValueError(f"`fine_tune.learning_rate` must be above 0, got {plain['fine_tune']['learning_rate']}")


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
        found.append(Objective(cost=cost, target=of, bound=entry["bound"], minimised=entry["minimised"]))
    if not any(objective.minimised for objective in found):
        raise ValueError("no objective is minimised; set objectives.val_error.minimised=true, say")
    known = {objective.label for objective in found if objective.bound is not None}
    for holder in dict.fromkeys((target.name, embedded.name)):
        for cost, limit in (target if holder == target.name else embedded).limits.items():
            objective = Objective(cost=cost, target=holder, bound=float(limit), minimised=False)
            if objective.label not in known:
                found.append(objective)
    return tuple(found)

"""What is known of a target, as plain values: where its numbers come from, and how far each is to be trusted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

from experiments.build import build, check_type, locate
from experiments.target_settings import header, option_tree
from hardware.energy.meter import Meter
from hardware.model.device import FIGURES, Confidence, Device

CONFIDENCES: tuple[str, ...] = get_args(Confidence)
"""From the surest on."""
WORTH = ("median_ape", "kendall", "relative_std", "rows", "families")
"""What a latency model may say of how near it came to published times of families that it had not seen."""
ORIGIN = ("measured_on", "source")
"""Where its numbers come from."""
SHOWN = {"precision", "threads", "sram_bytes", "flash_bytes"}
POWERS = ("idle_w", "core_w")
"""Figures that modelled energy follows from."""


def card(name: str, path: Path, plugins: Sequence[str] = ()) -> dict[str, Any]:
    """A target in short, for the list of all: runtimes are not imported, so that all take no time.

    Args:
      name: of the target.
      path: of its settings.
      plugins: packages that it may come from.

    Returns:
      name, device, kind, precision, threads, `latency` and `energy` (each with a `status` in words and, where there is
      a model, what it is worth), and limits; or `unusable`, with the reason, for settings that don't build.
    """
    try:
        tree = option_tree("target", name, plugins)
        device: Device | None = build(tree.get("device"), plugins)
        model = build(tree.get("latency_model"), plugins)
        meter: Meter | None = build(tree.get("meter"), plugins)
        hints = get_type_hints(locate(tree.get("_target_"), plugins))
        for field in SHOWN & tree.keys() & hints.keys():
            check_type(f"`{name}`: `{field}`", tree[field], hints[field])
    except ValueError as error:
        return {"name": name, "path": str(path), "unusable": str(error)}
    board = tree.get("board")
    return {
        "name": name,
        "device": device.name if device else "a board" if board else "this machine",
        "kind": device.kind if device else None,
        "precision": tree.get("precision"),
        "threads": tree.get("threads", 1),
        "runtime": _class(tree.get("runtime")),
        "board": _class(board),
        "latency": _latency(tree, model),
        "energy": _energy(device, meter),
        "limits": {limit: tree.get(limit) for limit in ("sram_bytes", "flash_bytes")},
    }


def full(name: str, path: Path, plugins: Sequence[str] = ()) -> dict[str, Any]:
    """A target with all that stands behind it: each figure of its device with source and confidence, and the header.

    Raises:
      ValueError: when its settings don't build.
    """
    tree = option_tree("target", name, plugins)
    build(tree, plugins)
    found = card(name, path, plugins)
    device: Device | None = build(tree.get("device"), plugins)
    figures: list[dict[str, Any]] = []
    if device is not None:
        figures = [{"figure": each, "value": _plain(getattr(device, each)), **device.sources[each]} for each in FIGURES]
    return {**found, "about": header(path), "chip": device.chip if device else None, "figures": figures}


def _latency(tree: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """How the time of a network is come by, and what a model is worth where that was found out."""
    measured = "measured on a board" if tree.get("board") else "measured here"
    found: dict[str, Any] = {"status": "modelled only" if tree.get("runtime") is None else measured}
    if model is not None:
        words = {name: getattr(model, name, None) for name in (*WORTH, *ORIGIN)}
        found |= {"model": type(model).__name__, **{name: said for name, said in words.items() if said is not None}}
        if tree.get("runtime") is None and "median_ape" in found:
            found["status"] = f"calibrated, median error {found['median_ape']:.1%}"
    return found


def _energy(device: Device | None, meter: Meter | None) -> dict[str, Any]:
    if meter is not None:
        return {"status": "measured", "meter": meter.name}
    if device is None:
        return {"status": "none: no meter and no figures"}
    worst = max((device.sources[name]["confidence"] for name in POWERS), key=CONFIDENCES.index)
    power = {name: device.sources[name]["source"] for name in POWERS}
    return {"status": f"modelled, power of {worst} confidence", "power": power}


def _class(tree: Any) -> str | None:
    return tree["_target_"].rpartition(".")[2] if isinstance(tree, Mapping) and "_target_" in tree else None


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value

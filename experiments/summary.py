"""A run's summary: what `summary.json` holds, and the lines that end the run."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from experiments.files import read_json
from experiments.parts import Run
from experiments.resume import NOT_KEPT
from experiments.steps.search import Searched
from experiments.steps.supernet import BANDS, EXECUTION
from hardware.costs.cost import Cost
from hardware.target import Target
from nas.profiling import Fitted
from search_spaces.layers import total_macs
from search_spaces.space import largest, size


def summarise(
    run: Run,
    *,
    losses: list[float],
    sampled: Int[np.ndarray, "networks choices"],
    costs: list[Cost],
    fitted: Fitted | None,
    searched: Searched,
    networks: list[dict[str, Any]],
    front: list[dict[str, Any]],
    command: str,
) -> dict[str, Any]:
    """All that a run found, as JSON."""
    parts, settings, counts = run.parts, run.settings, list(searched.evaluations.values())
    return {
        "space": run.identity["space"],
        "space_class": settings["search_space"]["_target_"],
        "space_size": size(parts.space),
        "choices": len(parts.space.choices),
        "data": {
            "name": parts.data.name,
            "image_size": parts.data.image_size,
            "fingerprint": parts.data.fingerprint,
            **{name: len(getattr(parts.data, name).labels) for name in ("train", "val", "test")},
        },
        "target": parts.target.name,
        "targets": {target.name: _target(run, target, fitted is not None) for target in parts.targets},
        "objectives": [o.label for o in parts.objectives if o.minimised],
        "bounds": {o.label: o.bound for o in parts.objectives if o.bound is not None},
        "training": {  # a converted supernet was trained elsewhere
            "epochs": len(losses),
            "steps": parts.trainer.steps if losses else 0,
            "final_loss": losses[-1] if losses else None,
            "losses": losses,
            "execution": _kept(run, EXECUTION),
            "bands": _kept(run, BANDS),
        },
        "predictor": None if fitted is None else _predictor(run, fitted, sampled, costs),
        "search": settings["search"]["_target_"],
        "reference": searched.reference,
        "hypervolume": searched.hypervolume,
        "evaluations": max(counts) if len(set(counts)) == 1 else None,
        "evaluations_by_search": searched.evaluations,
        "networks": networks,
        "front": front,
        "seconds": dict(run.console.seconds),
        **{name: run.identity[name] for name in ("run", "versions", "commit", "device", "created")},
        "seed": settings["seed"],
        "command": command,
        "config": {name: value for name, value in settings.items() if name not in NOT_KEPT},
    }


def _kept(run: Run, name: str) -> Any:
    """A file of the run that trained the supernet; None where that kept none."""
    path = Path(run.settings["supernet"]["from"] or run.folder) / name
    return read_json(path) if path.exists() else None


def _target(run: Run, target: Target, predicted: bool) -> dict[str, Any]:
    """What this run knows of a target, and of what kind each cost is."""
    costs = target.modelled(run.parts.space.layers(largest(run.parts.space)))
    kinds: dict[str, str] = {name: cost.kind for name, cost in costs.items()}
    if predicted and target.name == run.parts.target.name:
        kinds["latency_ms"] = "predicted, and measured on the front"
    limits = {f"largest_{name}": limit for name, limit in target.limits.items()}
    return {"precision": target.precision, "threads": target.threads, **kinds, **limits}


def _predictor(
    run: Run, fitted: Fitted, sampled: Int[np.ndarray, "networks choices"], costs: list[Cost]
) -> dict[str, Any]:
    figures = ("spearman", "kendall", "mape", "within_5", "within_10")
    v, m = fitted.validation, fitted.macs
    return {
        "name": run.settings["predictor"]["_target_"].rpartition(".")[2],
        **{name: getattr(v, name) for name in figures},
        **{f"macs_{name}": getattr(m, name) for name in figures},
        "networks": v.networks,
        "folds": run.settings["measuring"]["folds"],
        "points": [
            {
                "measured": cost.value,
                "std": cost.std,
                "predicted": float(v.predicted[i]),
                "macs_predicted": float(m.predicted[i]),
                "macs": total_macs(run.parts.space.layers(sampled[i])),
            }
            for i, cost in enumerate(costs)
        ],
    }


def last_lines(summary: dict[str, Any]) -> list[str]:
    """The table of the three networks, kinds in columns of their own."""
    kind = "predicted" if summary["predictor"] else "modelled"
    energy_of = next((o.partition("@")[2] for o in summary["objectives"] if o.startswith("energy_mj")), "")
    lines = [
        f"{'':<14} {'test':>8}   {'latency_ms on ' + summary['target']:^33}   {'energy_mj':>10}",
        f"{'network':<14} {'accuracy':>8}   {kind:>16} {'measured':>16}   {'modelled':>10} {'params':>9} {'MACs':>11}",
    ]
    for network in summary["networks"]:
        here = {(c["name"], c["kind"]): c for c in network["costs"] if c["target"] == summary["target"]}
        energy = next((c for c in network["costs"] if c["name"] == "energy_mj" and c["target"] == energy_of), None)
        lines.append(
            f"{network['role']:<14} {network['test_accuracy']:>8.4f}   {_spread(here.get(('latency_ms', kind))):>16}"
            f" {_spread(here.get(('latency_ms', 'measured'))):>16}"
            f"   {_spread(energy):>10} {network['params']:>9,} {network['macs']:>11,}"
        )
    if energy_of:
        lines.append(f"energy: of {energy_of}, by its hardware model")
    return [*lines, *_file_lines(summary)]


def _file_lines(summary: dict[str, Any]) -> list[str]:
    """The table of the networks' files, all of it measured; none where ONNX is all there is."""
    if not summary["config"]["exports"]:
        return []
    lines = [
        "",
        f"{'':<14} {'':<24} {'':>11} {'test':>8}   {'against model.onnx':^23}",
        f"{'network':<14} {'file':<24} {'bytes':>11} {'accuracy':>8}   {'same top-1':>10} {'logits +-':>12}",
    ]
    for network in summary["networks"]:
        for file in network["files"]:
            if "failure" in file:
                lines.append(f"{network['role']:<14} {file['export']:<24} {'none':>11}")
                continue
            top1 = "-" if file["same_top1"] is None else f"{file['same_top1']:.4f}"
            difference = "-" if file["max_abs_diff"] is None else f"{file['max_abs_diff']:.2g}"
            lines.append(
                f"{network['role']:<14} {file['file']:<24} {file['bytes']:>11,} {file['test_accuracy']:>8.4f}"
                f"   {top1:>10} {difference:>12}"
            )
    return lines


def _spread(cost: dict[str, Any] | None) -> str:
    if cost is None:
        return "-"
    return f"{cost['value']:.4f}" + ("" if cost["std"] is None else f" +- {cost['std']:.4f}")

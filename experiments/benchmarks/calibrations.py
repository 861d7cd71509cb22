"""Fitted latency models as settings, one file a group of published times."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import yaml

from experiments import files
from hardware.model.fitted import Fitted
from hardware.tables.published import Group


def write(models: Mapping[Group, Fitted], folder: Path) -> list[Path]:
    """Writes each model as `<group's name>.yaml`; what was there of that name is written over.

    Raises:
      ValueError: when two groups have one name.
    """
    texts = {group.name: text(group, model) for group, model in models.items()}
    if len(texts) < len(models):
        raise ValueError("two groups of the table differ in words that their names leave out; rename one of them")
    return [files.write(folder / f"{name}.yaml", content) for name, content in texts.items()]


def text(group: Group, model: Fitted) -> str:
    """A model's settings, headed by what it is and how near it came."""
    tree = {"_target_": f"{Fitted.__module__}.{Fitted.__qualname__}", **dataclasses.asdict(model)}
    tree["precisions"] = list(model.precisions)
    tree |= {name: float(f"{tree[name]:.3g}") for name in ("median_ape", "kendall", "relative_std")}
    return (
        f"# {group.runtime} on {group.device}: costs fitted to published times, by\n"
        "# `python -m experiments.benchmarks.hardware_model --write`.\n"
        f"# Used:    latency_model={group.name} in a target's defaults\n"
        f"# Expect:  median error {model.median_ape:.1%}, Kendall's tau {model.kendall:.3f}, of {model.rows} networks"
        f" ({model.families} families),\n#          each predicted with its whole family left out of the fit\n"
        + yaml.safe_dump(tree, sort_keys=False, width=100, allow_unicode=True)
    )

"""What `edgenas profile` is asked for: its words, and the objects that they describe."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import hydra
from omegaconf import OmegaConf

from experiments.build import build, check_type, describe, nearest
from experiments.options import names, tree
from experiments.plugins import named, with_search_path
from experiments.profile_source import FromTable, OnBoard, Source
from experiments.space_words import values
from hardware.measuring.store import MeasurementStore
from hardware.tables.table import Table
from predictors.protocol import Predictor

OWN = {"n": 200, "metric": "latency_ms", "image_size": None, "image_channels": None, "classes": None}
SHAPE = ("image_size", "image_channels", "classes")
MOST = 100_000
"""Networks: what more of them would take is not worth it, and their layers are all held at once."""
SECTIONS = ("target", "search_space", "data", "predictor", "measuring", "table", "plugins", "seed", "output")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked for, built.

    Attributes:
      source: of the costs.
      space: what the space is called.
      predictor: what learns.
      n: how many networks.
      seed: of the choice and of the folds.
      folds: of the cross-validation.
      folder: where the profile goes.
      command: as typed.
    """

    source: Source
    space: str
    predictor: Predictor
    n: int
    seed: int
    folds: int
    folder: Path
    command: str


def asked_for(words: Sequence[str]) -> Asked:
    """What the words ask for.

    Raises:
      ValueError: when a word, a name or a value is wrong, or the target cannot be measured.
    """
    own, typed = [], []
    for word in words:
        name, assigned, _ = word.partition("=")
        place = name.removeprefix("+").partition("@")[2] if "@" in name else name  # +meter@target.meter=rapl
        section = place.partition(".")[0]
        if not assigned:
            raise ValueError(f"a setting is written {word}=<value>; edgenas profile --help says which there are")
        if name not in OWN and section not in SECTIONS:
            raise ValueError(f"`profile` has no setting `{name}`{nearest(section, [*OWN, *SECTIONS])}")
        (own if name in OWN else typed).append(word)
    said = {**OWN, **values(own)}
    table = next((word[7:] for word in reversed(typed) if word.startswith("target=") and _of_table(word[7:])), "")
    if table:
        typed = [f"+table={table.partition('/')[0]}", *(word for word in typed if not word.startswith("target="))]
    _check_table(table.partition("/")[0], typed)
    with hydra.initialize_config_module("experiments.configs", version_base="1.3"):
        composed = hydra.compose("edgenas", with_search_path(typed))
    settings: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # pyright: ignore[reportAssignmentType]
    _check(settings, said)
    plugins, chosen = named(typed), [word.partition("=")[2] for word in typed if word.startswith("search_space=")]
    source: Source = _from_table(settings, table, said, typed) if table else _on_board(settings, said, plugins)
    space = (chosen or [describe(source.space)["_target_"].split(".")[-2]])[-1]
    return Asked(
        source=source,
        space=space,
        predictor=build(settings["predictor"], plugins),
        n=said["n"],
        seed=settings["seed"],
        folds=settings["measuring"]["folds"],
        folder=Path(settings["output"]) / "profiles" / "_".join([*source.name.split("/"), *_more(said), space]),
        command=shlex.join(["edgenas", "profile", *words]),
    )


def _of_table(name: str) -> bool:
    """Whether a target is named like a column of a table."""
    return "/" in name or (name in names("table") and name not in names("target"))


def _check_table(table: str, typed: Sequence[str]) -> None:
    """Refuses settings that the table doesn't have; what is no table is refused where all is composed."""
    if table in names("table"):
        known = [name for name in tree("table", table) if name != "_target_"]
        for word in typed:
            section, _, name = word.partition("=")[0].partition(".")
            if section == "table" and name not in known:
                raise ValueError(f"there is no setting `table.{name}`{nearest(name, known, 'table.')}")


def _more(said: Mapping[str, Any]) -> list[str]:
    """What a folder is also called by: the metric, where it is not the usual one."""
    return [said["metric"]] if said["metric"] != OWN["metric"] else []


def _check(settings: Mapping[str, Any], said: Mapping[str, Any]) -> None:
    """Refuses values of another type, and numbers that make no sense."""
    types: dict[str, Any] = {"n": int, "metric": str, **dict.fromkeys(SHAPE, int | None)}
    for name, hint in types.items():
        check_type(f"`{name}`", said[name], hint)
    for name, hint in {"seed": int, "output": str}.items():
        check_type(f"`{name}`", settings[name], hint)
    measuring = settings["measuring"]
    for name, hint in {"store": str, "reuse": bool, "folds": int}.items():
        check_type(f"`measuring.{name}`", measuring[name], hint)
    if not 0 <= settings["seed"] < 2**32:
        raise ValueError(f"`seed` must be 0 to 2**32 - 1, got {settings['seed']}")
    if measuring["folds"] < 2:
        raise ValueError(f"`measuring.folds` must be a whole number of at least 2, got {measuring['folds']}")
    if said["n"] < fewest(measuring["folds"]):
        raise ValueError(f"`n` must be a whole number of at least {fewest(measuring['folds'])}, got {said['n']}")
    if said["n"] > MOST:
        raise ValueError(f"`n` must be at most {MOST}, got {said['n']}")


def fewest(folds: int) -> int:
    """The fewest networks that can be divided into so many parts, three being left to learn from without any part."""
    return next(n for n in count(max(3, folds)) if n - math.ceil(n / folds) >= 3)


def _from_table(settings: Mapping[str, Any], name: str, said: Mapping[str, Any], typed: Sequence[str]) -> FromTable:
    """A column of a table, whose space may be named but not changed."""
    table: Table = build(settings["table"]).load()
    own = describe(FromTable(table=table, column=table.columns[0]).space)["_target_"]
    for word in typed:
        if word.startswith("target.") or "@target" in word.partition("=")[0]:
            raise ValueError(f"table `{table.name}` was measured by others, as its columns say; leave `{word}` out")
    column = name.partition("/")[2]
    if not column:
        there = dict.fromkeys(each.name for each in table.columns if each.metric == said["metric"])
        raise ValueError(f"say which column of the table: target={table.name}/<column>, of {', '.join(there)}")
    found = FromTable(table=table, column=table.column(column, said["metric"]))
    others = ("search_space=", "search_space.", "data=", "data.")
    given = [word for word in typed if word.startswith(others)] + [name for name in SHAPE if said[name] is not None]
    if given and not (given[0].startswith("search_space=") and settings["search_space"]["_target_"] == own):
        raise ValueError(f"table `{table.name}` brings its own space, {own}; leave `{given[0]}` out")
    if len(given) > 1:
        raise ValueError(f"table `{table.name}` brings its own space as it was published; leave `{given[1]}` out")
    return found


def _on_board(settings: Mapping[str, Any], said: Mapping[str, Any], plugins: Sequence[str]) -> OnBoard:
    """Networks of a space for the images of a data set, or for those said apart."""
    given = {name: said[name] for name in SHAPE if said[name] is not None}
    source = build(settings["data"], plugins) if len(given) < len(SHAPE) else None
    shape = {name: given.get(name, getattr(source, name, None)) for name in SHAPE}
    return OnBoard(
        target=build(settings["target"], plugins),
        metric=said["metric"],
        space=build(settings["search_space"], plugins, **shape),
        store=MeasurementStore(path=Path(settings["measuring"]["store"])),
        reuse=settings["measuring"]["reuse"],
    )

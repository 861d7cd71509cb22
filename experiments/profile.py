"""`edgenas profile`: what networks of a space take on a target, and a predictor of it; stopped, it can go on."""

import json
import sys
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.build import describe, nearest
from experiments.console import Console
from experiments.environment import environment
from experiments.files import LOCK, locked, read_json, write_json
from experiments.options import names
from experiments.profile_file import FIGURE, PROFILE, TABLE, write_profile
from experiments.profile_source import OnBoard, Taken
from experiments.profile_words import Asked, asked_for, fewest
from hardware.costs.cost import Cost
from nas.profiling import Fitted, learn
from search_spaces.derived.serial import short_hash
from search_spaces.space import size

USAGE = """\
edgenas profile target=<option> [search_space=<option>] [n=200] [setting=value ...]
                                      measures networks of the space on the target and learns its latency from them
edgenas profile target=<table>/<column> [n=200]
                                      the same with what a published table says of its networks

  n=<networks>      how many, spread from the cheapest to the dearest; 200
  metric=<cost>     energy_mj where the target has a meter (+meter@target.meter={meters}),
                    or the table has it; latency_ms
  seed=<n>          which networks, and how they are divided for cross-validation; 0
  predictor=<option>
                    what learns: {predictors}
  output=<folder>   the profile is made in <folder>/profiles/<target>_<space>, and measurements are kept in <folder>;
                    runs
  data=<option>; image_size=<px>, image_channels=<n>, classes=<n>
                    whose images the space is for, as in a run; or said apart
  target.<...>, search_space.<...>, predictor.<...>, table.<...>, measuring.<store, reuse, folds>
                    settings of these; plugins=[<package>] where one is of a plug-in
  --json            one JSON object as the last line

Killed and started again with the same words, it measures only what is missing.
A board of yours: configs/target/<name>.yaml with a runtime, a board and a protocol (hardware/README.md).
Tables: {tables}"""

FLAGS = ("--json", "--help", "-h")
STARTED = "started.json"
"""The campaign of a profile that is being made; gone when it is there."""
SHOWN = 10
"""Failures that are told one by one."""


def profile_command(arguments: Sequence[str]) -> None:
    """Makes a profile and prints how far it can be trusted; exits with 1 where most networks have no cost.

    Args:
      arguments: what stands behind `profile`; `--help` says what may.

    Raises:
      ValueError: when a word, a name or a value is wrong, or the target cannot be measured.
      OSError: when a file cannot be read or written.
    """
    flags = [word for word in arguments if word.startswith("-")]
    for flag in flags:
        if flag not in FLAGS:
            raise ValueError(f"`profile` has no option `{flag}`{nearest(flag, FLAGS)}")
    if {"--help", "-h"} & set(flags):
        tables = [name for name in names("table") if name.startswith(("help", "hw"))]
        listed = {"predictors": ", ".join(names("predictor")), "tables": ", ".join(tables)}
        print(USAGE.format(**listed, meters="|".join(names("meter"))))
        return
    asked = asked_for([word for word in arguments if not word.startswith("-")])
    absent = [path for path in (asked.folder, *asked.folder.parents) if not path.exists()]
    with ExitStack() as stack:
        try:
            asked.folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(asked.folder))
        except OSError as error:
            raise OSError(
                f"`{asked.folder}` cannot be written ({error.strerror}); choose another with output=<folder>"
            ) from error
        try:
            summary = _made(asked)
        except (ValueError, OSError):
            _forget(asked.folder, absent)
            raise
    if "--json" in flags:
        print(json.dumps(summary, allow_nan=False))
    if 2 * summary["networks"] < summary["asked"]:
        sys.exit(1)


def _forget(folder: Path, absent: Sequence[Path]) -> None:
    """Removes the folder of a profile that came to nothing, and those that were made to hold it."""
    if folder in absent and {path.name for path in folder.iterdir()} <= {LOCK, STARTED}:
        for path in folder.iterdir():
            path.unlink()
        with suppress(OSError):  # what holds something else stays
            for path in absent:
                path.rmdir()


def _made(asked: Asked) -> dict[str, Any]:
    """Measures, learns, writes and tells."""
    source, said = asked.source, asked.source.said()
    print(f"edgenas profile · {source.name} · {asked.space}: {size(source.space):,} networks", flush=True)
    archs = source.choose(jax.random.key(asked.seed), asked.n)
    if len(archs) < fewest(asked.folds):
        raise ValueError(
            f"`{asked.space}` has {len(archs)} networks to choose from, and {asked.folds} folds need"
            f" {fewest(asked.folds)} at least; lower `measuring.folds`, or choose a larger space"
        )
    if len(archs) < asked.n:
        print(f"{len(archs)} networks, as there are no more to choose from")
    taken = _taken(asked, archs)
    kept = [i for i in range(len(archs)) if i in taken.costs]
    costs = [taken.costs[i] for i in kept]
    _tell(asked, archs, taken)
    networks = [source.space.layers(archs[i]) for i in kept]
    fitted = learn(asked.predictor, networks, costs, asked.folds, asked.seed)
    _tell_validation(asked, fitted)
    failures = [
        {"arch": archs[i].tolist(), "hash": short_hash(source.space, archs[i]), "reason": reason}
        for i, reason in taken.failures.items()
    ]
    reference = source.reference_ms(_campaign(asked)) if isinstance(source, OnBoard) else None
    content = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": asked.command,
        "seed": asked.seed,
        "asked": len(archs),
        "networks": len(kept),
        "metric": costs[0].name,
        "unit": costs[0].unit,
        "kind": costs[0].kind,
        "target": source.name,
        "taken_from": said,
        "space": {"name": asked.space, "settings": describe(source.space)},
        "reference_ms": reference,
        "environment": environment(),
        "failures": failures,
    }
    if (asked.folder / PROFILE).exists():
        print(f"the profile that was in {asked.folder} is replaced")
    whole = write_profile(
        asked.folder,
        content,
        space=source.space,
        archs=archs[kept],
        costs=costs,
        predictor=asked.predictor,
        fitted=fitted,
    )
    (asked.folder / STARTED).unlink(missing_ok=True)
    print(f"written to {asked.folder}: {PROFILE}, {TABLE}, {FIGURE} and the predictor's weights")
    told = ("target", "metric", "unit", "kind", "asked", "networks", "seed", "validation", "environment", "failures")
    return {"folder": str(asked.folder), **{name: whole[name] for name in told}}


def _campaign(asked: Asked) -> str:
    """What this go is called in the store: a new name, but the same one when it goes on."""
    path = asked.folder / STARTED
    if path.exists() and (started := read_json(path)).get("command") == asked.command:
        return started["campaign"]
    campaign = f"profile {uuid.uuid4().hex[:12]}"
    write_json(path, {"campaign": campaign, "command": asked.command})
    return campaign


def _taken(asked: Asked, archs: np.ndarray) -> Taken:
    campaign = _campaign(asked)
    with Console.bar(len(archs), asked.source.verb, "cost") as bar:

        def progress(done: int, asked_for: int) -> None:
            bar.total = asked_for
            bar.update(done - bar.n)

        try:
            taken = asked.source.take(archs, campaign, progress)
        except KeyboardInterrupt:
            print("\nedgenas: stopped; what was measured is kept, the same command goes on", file=sys.stderr)
            sys.exit(130)
    if len(taken.costs) < fewest(asked.folds):
        first = next(iter(taken.failures.values()), "no network has a cost")
        raise ValueError(f"{len(taken.costs)} of {len(archs)} networks {asked.source.verb}: {first}")
    return taken


def _tell(asked: Asked, archs: np.ndarray, taken: Taken) -> None:
    costs: list[Cost] = list(taken.costs.values())
    found = np.array([cost.value for cost in costs])
    known = [cost.std / cost.value for cost in costs if cost.std is not None]
    spread = f", spread {100 * np.median(known):.1f} % (median)" if known else ""
    print(
        f"{len(costs)} of {len(archs)} networks {asked.source.verb}: {costs[0].name} {found.min():.4g} to"
        f" {found.max():.4g} {costs[0].unit}{spread}"
    )
    for i, reason in list(taken.failures.items())[:SHOWN]:
        print(f"  {short_hash(asked.source.space, archs[i])} has none: {reason}")
    if len(taken.failures) > SHOWN:
        print(f"  and {len(taken.failures) - SHOWN} more, in {PROFILE}")


def _tell_validation(asked: Asked, fitted: Fitted) -> None:
    head = f"{asked.folds}-fold cross-validation, pooled"
    print(f"{head:<34}  Spearman  Kendall    MAPE  within 5 %  within 10 %")
    for name, v in ((type(asked.predictor).__name__, fitted.validation), ("linear in MACs", fitted.macs)):
        print(
            f"  {name:<32}  {v.spearman:>8.3f}  {v.kendall:>7.3f}  {v.mape:>4.1f} %  {100 * v.within_5:>8.0f} %"
            f"  {100 * v.within_10:>9.0f} %"
        )

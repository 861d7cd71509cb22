"""Are the named networks what was published? Parameters and MACs, beside the integers of the reference table.

    python -m experiments.benchmarks.counts [--table FILE] [--only WORD] [--no-network] [--train] [--json]

Of every row whose family edgenas has and that has exact integers: what the layers of its named network say, and what
the real network holds (its parameters) and computes (its MACs, traced from its jaxpr). A row that no network matches is
listed with the reason, and so is one without exact integers that is known not to be built. `--train`: each named
network also takes one step and answers alike once exported.
"""

import argparse
import csv
import json
import os
import pkgutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from experiments.benchmarks.named_training import real_counts, step_and_export
from experiments.environment import environment
from search_spaces import networks
from search_spaces.layers import total_macs, total_params
from search_spaces.networks import NAMED

FAMILIES = (
    *("VGG", "ResNet", "SqueezeNet", "AlexNet", "MobileNetV1", "MobileNetV2", "MobileNetV3", "ShuffleNetV1"),
    *("ShuffleNetV2", "GhostNet", "MnasNet", "ProxylessNAS", "FBNet", "OFA-MBv3", "OFA-Proxyless", "OFA-ResNet50D"),
    *("EfficientNet", "EfficientNet-Lite", "SPOS", "DARTS", "AutoFormer", "DeiT", "ViT", "NAS-Bench-201", "RegNet"),
    *("MobileViT", "MCUNet", "SPNASNet"),
)
"""Families that edgenas has spaces or networks of; rows of others are counted, and no more."""

NOT_BUILT = {
    "MobileViT": "its attention is among equal places of all patches, which no layer here speaks of; the hybrid space"
    " attends among all positions, as NASViT does"
}
"""Families of which there is a space but no network, and why."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A row of the table.

    Attributes:
      name: of the network.
      family: of the network.
      resolution: side of its images, px; None where it isn't one number.
      params: trained numbers; None where no exact integer was published.
      macs: multiply-accumulates for an image, likewise.
    """

    name: str
    family: str
    resolution: int | None
    params: int | None
    macs: int | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table and what we have of it; None where there is nothing.

    Attributes:
      name: of the table.
      resolution: of the table, px.
      network: our name of it.
      params: what its layers say.
      params_exact: of the table.
      macs: what its layers say.
      macs_exact: of the table.
      network_params: what the real network holds.
      traced_macs: what the real network computes.
      match: whether all integers of the table are ours.
      reason: why not.
    """

    name: str
    resolution: int | None
    network: str | None = None
    params: int | None = None
    params_exact: int | None
    macs: int | None = None
    macs_exact: int | None
    network_params: int | None = None
    traced_macs: int | None = None
    match: bool = False
    reason: str | None = None


def table_path() -> Path:
    """The table beside the data folder: `EDGENAS_DATA`'s neighbour, else `../shared/reference`."""
    return Path(os.environ.get("EDGENAS_DATA", "../shared/data")).parent / "reference" / "networks.csv"


def references(path: Path) -> list[Reference]:
    """The rows of the table that have an exact integer.

    Raises:
      ValueError: when there is no such table.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise ValueError(
            f"no table of reference counts at `{path}`; set EDGENAS_DATA to the data folder beside it, or --table"
        ) from error
    found = []
    try:
        for row in rows:
            params, macs = (int(row[name]) if row[name] else None for name in ("params_exact", "macs_exact"))
            side = int(row["input_resolution"]) if row["input_resolution"].isdigit() else None
            if params or macs:
                found.append(
                    Reference(name=row["name"], family=row["family"], resolution=side, params=params, macs=macs)
                )
    except (KeyError, ValueError) as error:
        raise ValueError(f"`{path}` is no table of reference counts: {error}") from error
    return found


def reasons() -> dict[str, str]:
    """Why some rows have no network, as the modules of named networks say, by the names of the rows."""
    found: dict[str, str] = {}
    for info in pkgutil.iter_modules(networks.__path__):
        found |= getattr(import_module(f"{networks.__name__}.{info.name}"), "UNRECONCILED", {})
    return found


def compare(table: Sequence[Reference], is_built: Callable[[str], bool]) -> list[Row]:
    """The table's rows of our families, each with its named network.

    Args:
      table: all rows.
      is_built: whether the real network of this name is made (as shapes alone) and counted too: up to seconds each.
    """
    points = {name: make() for name, make in NAMED.items()}
    named: dict[tuple[str, int | None], str] = {
        (point.row, point.layers()[0].shape[0]): name
        for name, point in reversed(points.items())
        if point.row is not None
    }
    why, found = reasons(), []
    for each in table:
        if each.family not in FAMILIES:
            continue
        row = Row(
            name=each.name,
            resolution=each.resolution,
            params_exact=each.params,
            macs_exact=each.macs,
            reason=why.get(each.name) or NOT_BUILT.get(each.family),
        )
        name = named.get((each.name, each.resolution))
        if name is not None:
            layers = points[name].layers()
            row = replace(row, network=name, params=total_params(layers), macs=total_macs(layers))
            if is_built(name):
                network_params, traced_macs = real_counts(points[name])
                row = replace(row, network_params=network_params, traced_macs=traced_macs)
            if _is_match(row):
                row = replace(row, match=True, reason=None)
        found.append(row)
    return found


def _is_match(row: Row) -> bool:
    """Whether what was counted is what the table says, where it says anything."""
    params, macs = {row.params, row.network_params or row.params}, {row.macs, row.traced_macs or row.macs}
    return (row.params_exact is None or params == {row.params_exact}) and (
        row.macs_exact is None or macs == {row.macs_exact}
    )


def summary_of(rows: Sequence[Row]) -> dict[str, int]:
    """How many rows there are, match by layers and by real networks, and match or have a reason."""
    return {
        "rows": len(rows),
        "params_rows": sum(row.params_exact is not None for row in rows),
        "params_match": sum(row.params == row.params_exact is not None for row in rows),
        "network_params_match": sum(row.network_params == row.params_exact is not None for row in rows),
        "macs_rows": sum(row.macs_exact is not None for row in rows),
        "macs_match": sum(row.macs == row.macs_exact is not None for row in rows),
        "traced_macs_match": sum(row.traced_macs == row.macs_exact is not None for row in rows),
        "explained": sum(row.match or row.reason is not None for row in rows),
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs the benchmark, prints its table and returns the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.counts", description=__doc__)
    parser.add_argument("--table", type=Path, help="of reference counts; default: beside the data folder")
    parser.add_argument("--only", default="", help="only rows, and networks, whose name has this in it")
    parser.add_argument("--no-network", action="store_true", help="leaves the real networks out: seconds, not minutes")
    parser.add_argument("--train", action="store_true", help="one step of each named network, exported: many minutes")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    given = parser.parse_args(arguments)
    word = given.only.lower()
    try:
        table = references(given.table or table_path())
        rows = compare([each for each in table if word in each.name.lower()], lambda name: not given.no_network)
    except ValueError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    summary = summary_of(rows)
    compared = {each.name for each in table}
    without = {name: why for name, why in reasons().items() if word in name.lower() and name not in compared}
    _show(rows, summary, without)
    result: dict[str, Any] = {"summary": summary, "rows": [asdict(row) for row in rows], "without_integers": without}
    result["outside"] = dict(Counter(each.family for each in table if each.family not in FAMILIES))
    if given.train:
        result["trained"] = [_trained(name) for name in NAMED if word in name]
    result |= environment()
    if given.json:
        print(json.dumps(result))
    return result


def _show(rows: Sequence[Row], summary: dict[str, int], without: dict[str, str]) -> None:
    print(f"{'row':<60} {'px':>4} {'parameters':>12} {'MACs':>14}  our network")
    for row in rows:
        numbers = (f"{'-' if n is None else f'{n:,}'}" for n in (row.params_exact, row.macs_exact))
        said = row.network if row.match else f"NO MATCH: {row.reason or 'unexplained'}"
        print(f"{row.name[:60]:<60} {row.resolution or '':>4} " + "{:>12} {:>14}".format(*numbers) + f"  {said}")
    for name, why in without.items():
        print(f"{name[:60]:<60} {'':>4} {'-':>12} {'-':>14}  NOT BUILT: {why}")
    print(", ".join(f"{name} {count}" for name, count in summary.items()))


def _trained(name: str) -> dict[str, Any]:
    """What came of a network's step, or why nothing did."""
    try:
        step = step_and_export(name)
    except ValueError as error:
        print(f"{name:<40} FAILED: {error}", flush=True)
        return {"network": name, "error": str(error)}
    print(
        f"{name:<40} {step.image[0]:>4} px: loss {step.loss:.3f}, then {step.loss_after:.3f};"
        f" exported answers differ by {step.differs:.1e}",
        flush=True,
    )
    return {"network": name, **asdict(step)}


if __name__ == "__main__":
    main()

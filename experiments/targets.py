"""`edgenas targets`: what networks can be made for, and how far the numbers of each are to be trusted."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.build import nearest
from experiments.options import CONFIGS
from experiments.plugins import named
from experiments.target_card import card, full
from experiments.target_settings import header, target_files
from hardware.energy.found import meter_here
from hardware.measuring.store import host

USAGE = """\
edgenas targets                       every target: its device, and how its latency and energy are come by
edgenas targets <name>                one of them: each figure with its source and how sure it is

  plugins=[<package>]   with those that a package of yours brings (its configs/target/*.yaml)
  --json                one JSON object as the last line

measured: by timing the network, here or on a board. calibrated: by a model fitted to published times, with its median
error on families of networks that the fit had not seen. modelled only: by a model of which no such error is known, from
figures of the device and what is usual of its kind or a few times; good for telling apart what is far apart."""

FLAGS = ("--json", "--help", "-h")
HEAD = ("target", "device", "kind", "precision", "threads", "latency", "energy", "SRAM", "flash")


def targets_command(arguments: Sequence[str]) -> None:
    """Lists all targets, or shows one.

    Args:
      arguments: what stands behind `targets`; `--help` says what may.

    Raises:
      ValueError: when a word is unknown, or the target that is asked for cannot be built.
    """
    names = [word for word in arguments if not word.startswith("-") and "=" not in word]
    for word in set(arguments) - set(names):
        if "=" in word and not word.startswith("plugins="):
            raise ValueError(f"`targets` has no setting `{word.partition('=')[0]}`{nearest(word, ['plugins'])}")
        if "=" not in word and word not in FLAGS:
            raise ValueError(f"`targets` has no flag `{word}`{nearest(word, FLAGS)}")
    if {"--help", "-h"} & set(arguments):
        print(USAGE)
        return
    if len(names) > 1:
        raise ValueError(f"`targets` shows one target at a time, got `{names[0]}` and `{names[1]}`")
    plugins = named(arguments)
    files, tables = target_files(plugins), _tables()
    if not names:
        said = {"targets": [card(name, path, plugins) for name, path in files.items()]}
        said["tables"] = [{"name": name, "about": header(path)[0]} for name, path in tables.items()]
        _show_all(said["targets"], said["tables"])
    elif names[0] in files:
        said = full(names[0], files[names[0]], plugins)
        said |= _here() if "measured here" in said["latency"]["status"] else {}
        _show(said)
    elif names[0] in tables:
        said = {"name": names[0], "about": header(tables[names[0]])}
        print("\n".join([names[0], *(f"  {line}" for line in said["about"])]))
    else:
        raise ValueError(f"there is no target `{names[0]}`{nearest(names[0], [*files, *tables])}")
    if "--json" in arguments:
        print(json.dumps(said, allow_nan=False))


def _tables() -> dict[str, Path]:
    """Published tables: what they say of their devices is quoted."""
    return {path.stem: path for path in sorted((CONFIGS / "table").glob("*.yaml"))}


def _here() -> dict[str, Any]:
    """What a target that is measured on this machine is: read now, nothing of it is a setting."""
    try:
        meter = meter_here().name
    except ValueError as error:
        meter = str(error)
    return {"machine": {"processor": host(), "meter": meter}}


def _show_all(targets: Sequence[dict[str, Any]], tables: Sequence[dict[str, Any]]) -> None:
    rows: list[tuple[str, ...]] = [HEAD]
    for each in targets:
        if "unusable" in each:
            rows.append((each["name"], "", "", "", "", "unusable", "", "", ""))
            continue
        words = (each["name"], each["device"], each["kind"] or "", each["precision"], str(each["threads"]))
        limits = (_bytes(each["limits"][name]) for name in ("sram_bytes", "flash_bytes"))
        rows.append((*words, each["latency"]["status"], each["energy"]["status"], *limits))
    _print(rows)
    for each in targets:
        if "unusable" in each:
            print(f"\n{each['path']} is unusable: {each['unusable']}")
    if tables:
        print("\npublished tables, quoted where they were measured:")
        _print([(f"  {each['name']}", each["about"]) for each in tables])
    print("\n`edgenas targets <name>` shows one in full; `edgenas target=<name>` searches for it")


def _show(said: dict[str, Any]) -> None:
    print(said["name"])
    for line in said["about"]:
        print(f"  {line}")
    print()
    limits = [f"{name} {_bytes(value)}" for name, value in said["limits"].items() if value is not None]
    latency = said["latency"]
    worth = ""
    if "median_ape" in latency:
        worth = (
            f"Kendall's tau {latency['kendall']:.3f}, of {latency['rows']} networks of {latency['families']} families,"
            " each family left out"
        )
    lines = [
        ("device", f"{said['device']} ({said['kind']}): {said['chip']}" if said["kind"] else said["device"]),
        ("runs", f"{said['precision']}, {said['threads']} thread{'s' if said['threads'] != 1 else ''}"),
        ("runtime", said["runtime"]),
        ("board", said["board"]),
        ("latency", ", ".join(filter(None, (latency["status"], worth)))),
        ("  model", latency.get("model")),
        ("  fitted to", latency.get("measured_on")),
        ("  source", latency.get("source")),
        ("energy", said["energy"]["status"]),
        ("  meter", said["energy"].get("meter")),
        ("limits", ", ".join(limits) or "none"),
    ]
    lines += [(f"  {name}", text) for name, text in said.get("machine", {}).items()]
    for name, text in lines:
        if text:
            print(f"  {name:<11} {' '.join(text.split())}")
    if said["figures"]:
        print()
        rows = [("  figure", "value", "confidence", "source")]
        for each in said["figures"]:
            rows.append(
                (f"  {each['figure']}", _value(each["value"]), each["confidence"], " ".join(each["source"].split()))
            )
        _print(rows)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(each)}" for name, each in value.items())
    return "unknown" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _bytes(value: int | None) -> str:
    return "" if value is None else f"{value / 1024:,.0f} KiB"


def _print(rows: Sequence[Sequence[str]]) -> None:
    """Columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())

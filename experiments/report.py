"""The page a run leaves for people: `report.html`, self-contained, written from `summary.json` and `study.sqlite`.

Run: `python -m experiments.report <folder of a run>` writes it anew; nothing is trained or measured again.
"""

import argparse
import math
import sqlite3
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from experiments import figures
from experiments.drawing import draw
from experiments.files import read_json, write
from hardware.costs.cost import Cost
from nas.objective import Judged, Objective
from nas.study import Study

SEARCHES = ("evolution", "random")
"""Names in the study; the first is the one whose front is shown."""
KINDS = {
    "measured": "read off by running the network itself: latency on the target, accuracy on labelled images",
    "predicted": "by a model fitted to measurements of other networks",
    "modelled": "by a formula with the target's published or assumed figures; no such device was touched",
    "quoted": "from a publication",
}
LATENCY_KINDS = ("measured", "predicted", "modelled", "quoted")
"""Of one network's latencies, the one to quote first."""
NONE = "–"
SAID = ("created", "device", "commit", "seed", "command", "resume", "space_class")


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that was extracted: what `summary.json` says of it."""

    role: str
    folder: str
    arch: tuple[int, ...]
    options: Mapping[str, Any]
    test_accuracy: float
    inherited_test_accuracy: float | None
    val_error: float | None
    fine_tuned: bool
    costs: tuple[Cost, ...]
    params: int | None
    macs: int | None
    onnx_max_abs_diff: float | None
    files: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Network":
        """Reads one entry of `networks`."""
        return cls(
            role=str(entry["role"]),
            folder=str(entry["folder"]),
            arch=tuple(int(gene) for gene in entry["arch"]),
            options=dict(entry["options"]),
            test_accuracy=float(entry["test_accuracy"]),
            inherited_test_accuracy=entry.get("inherited_test_accuracy"),
            val_error=entry.get("val_error"),
            fine_tuned=bool(entry.get("fine_tuned", False)),
            costs=_costs(entry["costs"]),
            params=entry.get("params"),
            macs=entry.get("macs"),
            onnx_max_abs_diff=entry.get("onnx_max_abs_diff"),
            files=tuple(map(_file, entry.get("files") or ())),
        )

    def cost(self, label: str, *kinds: str) -> Cost | None:
        """The cost of this column's name and of the first of these kinds that it has."""
        found = {cost.kind: cost for cost in self.costs if _label(cost) == label}
        return next((found[kind] for kind in kinds or KINDS if kind in found), None)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What `summary.json` says; all that a run may lack is None or empty."""

    space: str
    target: str
    objectives: tuple[str, ...]
    front: tuple[tuple[tuple[int, ...], tuple[Cost, ...]], ...]
    networks: tuple[Network, ...]
    bounds: Mapping[str, float]
    reference: tuple[float, ...]
    hypervolume: Mapping[str, float]
    evaluations: int | None
    losses: tuple[float, ...]
    predictor: Mapping[str, Any] | None
    seconds: Mapping[str, float]
    targets: Mapping[str, Mapping[str, Any]]
    raw: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Summary":
        """Reads and checks the file.

        Raises:
          ValueError: when it is missing, damaged or not the summary of a run, naming the file.
        """
        raw = read_json(path)
        try:
            training, hypervolume = raw.get("training") or {}, raw.get("hypervolume") or {}
            predictor = raw.get("predictor")
            _check_points((predictor or {}).get("points") or ())
            return cls(
                space=str(raw["space"]),
                target=str(raw["target"]),
                objectives=tuple(map(str, raw["objectives"])),
                front=tuple((tuple(map(int, row["arch"])), _costs(row["costs"])) for row in raw["front"]),
                networks=tuple(map(Network.of, raw["networks"])),
                bounds={str(label): float(bound) for label, bound in (raw.get("bounds") or {}).items()},
                reference=tuple(map(float, raw.get("reference") or ())),
                hypervolume={str(name): float(volume) for name, volume in hypervolume.items()},
                evaluations=None if raw.get("evaluations") is None else int(raw["evaluations"]),
                losses=tuple(map(float, training.get("losses") or ())),
                predictor=dict(predictor) if predictor else None,
                seconds={str(step): float(value) for step, value in (raw.get("seconds") or {}).items()},
                targets={str(name): dict(said or {}) for name, said in (raw.get("targets") or {}).items()},
                raw=dict(raw),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"`{path}` is not a run's summary ({what}); start the run again to write it") from error

    @property
    def latency(self) -> str:
        """Label of the target's latency."""
        return f"latency_ms@{self.target}"

    @property
    def searches(self) -> tuple[str, ...]:
        """Names of the searches, the one whose front is shown first."""
        return tuple(self.hypervolume) or SEARCHES

    @property
    def columns(self) -> list[Objective]:
        """The objectives, and after them what is only bounded."""
        labels = dict.fromkeys((*self.objectives, *self.bounds))
        parts = {label: label.partition("@") for label in labels}
        return [
            Objective(
                cost=parts[label][0],
                target=parts[label][2],
                bound=self.bounds.get(label),
                minimised=label in self.objectives,
            )
            for label in labels
        ]


class Column(NamedTuple):
    """The head of a column: what, on what, in which unit, how it was come by."""

    title: str
    detail: str = ""
    unit: str = ""
    kind: str = ""


class Table(NamedTuple):
    """Text to be laid out; the first column is left-aligned, the others hold numbers."""

    columns: list[Column]
    rows: list[list[Any]]


def write_report(folder: Path) -> Path:
    """Writes `figures/*.png`, `figures/*.svg` and `report.html` into the folder of a finished run.

    The page needs no other file, no network and no script. It can be written again at any time: the same folder gives
    the same page, and a reader of the old one never sees half of the new.

    Returns:
      Path of the page.

    Raises:
      ValueError: when the folder's `summary.json` or `study.sqlite` is missing or damaged, naming the file.
    """
    summary = Summary.read(folder / "summary.json")
    judged = _read_study(folder / "study.sqlite", summary)
    svgs: dict[str, Markup] = {}
    for name, figure in _figures(summary, judged).items():
        svg = figures.to_svg(figure, name)
        write(folder / "figures" / f"{name}.svg", svg)
        write(folder / "figures" / f"{name}.png", figures.to_png(figure))
        svgs[name] = Markup(svg)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(_content(summary, judged, folder), figures=svgs)
    return write(folder / "report.html", page)


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the page of the folder named on the command line; 2 when that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description="Write a run's page anew.")
    parser.add_argument("folder", type=Path, help="a run's folder, with summary.json and study.sqlite in it")
    folder: Path = parser.parse_args(argv).folder
    try:
        print(write_report(folder))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def result(summary: Summary) -> str:
    """What came out, in one sentence for anyone."""
    if not summary.networks:
        return f"On {summary.target}, no network was taken from the search."

    def chosen(role: str, otherwise: Network) -> Network:
        return next((network for network in summary.networks if network.role == role), otherwise)

    def place(network: Network, words: str, said: str = "") -> str:
        """Its accuracy and its latency, with how that was come by unless it was said already."""
        cost = network.cost(summary.latency, *LATENCY_KINDS)
        text = f"{percent(network.test_accuracy, summary)}{words}"
        if cost is None:
            return text
        return f"{text} in {_value(cost)}" + ("" if cost.kind == said else f" ({cost.kind})")

    top = max(summary.networks, key=lambda network: network.test_accuracy)
    # The search chose by validation error: to take the best on the test images here would be to choose by those.
    best = chosen("most accurate", top)
    kind = cost.kind if (cost := best.cost(summary.latency, *LATENCY_KINDS)) else ""
    who = (
        "most accurate network found" if best.test_accuracy == top.test_accuracy else "network chosen as most accurate"
    )
    if len(summary.networks) == 1:
        return f"On {summary.target}, the network found reaches {place(best, ' test accuracy')}."
    sentence = f"On {summary.target}, the {who} reaches {place(best, ' test accuracy')}"
    fastest = chosen("fastest", best)
    return f"{sentence}." if fastest is best else f"{sentence}, the fastest {place(fastest, '', kind)}."


def verdict(summary: Summary) -> str:
    """Which search found the better front and by how much, whichever it was."""
    volumes = list(summary.hypervolume.items())
    if len(volumes) < 2:
        return "Only one search ran, so there is nothing to compare it with."
    (first, a), (second, b) = volumes[:2]
    each = f" Both judged {summary.evaluations:,} networks." if summary.evaluations else ""
    if math.isclose(a, b, rel_tol=5e-4):
        return f"Neither won: {first} and {second} reach the same hypervolume, {significant(a, 4)}.{each}"
    (winner, high), (loser, low) = ((first, a), (second, b)) if a > b else ((second, b), (first, a))
    more = f"{significant(100 * (high - low) / low, 2)} % more than" if low > 0 else "more than"
    said = f"{winner} won: its hypervolume is {significant(high, 4)}, {more} {loser}'s {significant(low, 4)}."
    return said[:1].upper() + said[1:] + each


def significant(value: Any, digits: int = 3) -> str:
    """A number to so many significant digits; a dash for None."""
    if value is None:
        return NONE
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    magnitude = int(power)
    if -4 <= magnitude < 9:
        return f"{value:,.{max(0, digits - 1 - magnitude)}f}"
    raised = str(magnitude).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa} × 10{raised}"


def percent(fraction: Any, summary: Summary | None = None) -> str:
    """A fraction in per cent: as many digits as the images allow; a dash for None."""
    if fraction is None:
        return NONE
    images = summary.raw.get("data", {}).get("test", 0) if summary else 0
    return f"{100 * fraction:.{2 if images > 2000 else 1}f} %"


def with_spread(cost: Cost | None) -> str:
    """A cost's value in the unit people read, ± its std where it has one; a dash for None."""
    if cost is None:
        return NONE
    value = figures.readable(cost.name, cost.value, cost.unit)[0]
    if not cost.std:
        return f"{value:,.0f}" if cost.name in ("macs", "params") else significant(value)
    std = figures.readable(cost.name, cost.std, cost.unit)[0]
    # The spread to one digit, or two where the first is a 1; the value as far, but never to fewer than two digits.
    first = math.floor(math.log10(std))
    decimals = max(0, (1 if std / 10**first < 2 else 0) - first, 1 - math.floor(math.log10(abs(value) or 1)))
    return f"{value:,.{min(decimals, 9)}f} ± {std:,.{min(decimals, 9)}f}"


def _costs(entries: Sequence[Mapping[str, Any]]) -> tuple[Cost, ...]:
    """Costs as JSON has them; what is not a field of `Cost` is passed over."""
    return tuple(
        Cost(
            name=str(entry["name"]),
            value=float(entry["value"]),
            std=None if entry.get("std") is None else float(entry["std"]),
            unit=str(entry.get("unit", "")),
            kind=entry["kind"] if entry["kind"] in KINDS else _unknown_kind(entry["kind"]),
            target=str(entry.get("target", "")),
        )
        for entry in entries
    )


def _file(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of a network's file; all of it must be there."""
    judged = ("file", "runtime", "bytes", "test_accuracy", "same_top1", "max_abs_diff")
    return {name: entry[name] for name in (("export", "runtime", "failure") if "failure" in entry else judged)}


def _check_points(points: Sequence[Mapping[str, Any]]) -> None:
    for point in points:
        for key in ("measured", "predicted"):
            if not math.isfinite(float(point[key])):
                raise ValueError(f"`{key}` of a predictor's point must be a finite number, got {point[key]}")


def _unknown_kind(kind: Any) -> Any:
    raise ValueError(f"a cost's kind must be one of {tuple(KINDS)}, got {kind!r}")


def _value(cost: Cost) -> str:
    """A cost without its spread, as its table has it."""
    return f"{with_spread(cost).partition(' ± ')[0]} {cost.unit}"


def _label(cost: Cost) -> str:
    return f"{cost.name}@{cost.target}" if cost.target else cost.name


def _searched(costs: Sequence[Cost]) -> dict[str, Cost]:
    """The costs that the search went by: of two with one label, the one that was not measured afterwards."""
    found: dict[str, Cost] = {}
    for cost in costs:
        if _label(cost) not in found or cost.kind != "measured":
            found[_label(cost)] = cost
    return found


def _read_study(path: Path, summary: Summary) -> dict[str, list[Judged]]:
    """What each search judged.

    Raises:
      ValueError: when the file is missing, damaged or lacks an objective of the summary.
    """
    if not path.is_file():
        raise ValueError(f"`{path}` is missing; is `{path.parent}` the folder of a run?")
    try:
        study = Study(path)
        judged = {search: rows for search in summary.searches if (rows := study.judged(search))}
    except (sqlite3.DatabaseError, TypeError) as error:
        raise ValueError(f"`{path}` cannot be read as a study ({error}); start the run again to write it") from error
    for search, rows in judged.items():
        for label in (*summary.objectives, *summary.bounds):
            if any(label not in row.costs for row in rows):
                raise ValueError(f"`{path}` has networks of `{search}` without `{label}`; is it of another run?")
    return judged


def _figures(summary: Summary, judged: Mapping[str, Sequence[Judged]]) -> dict[str, Figure]:
    made: dict[str, Figure] = {}
    across = summary.latency if any(summary.latency in r.costs for rows in judged.values() for r in rows) else ""
    others = [label for label in summary.objectives if label not in ("val_error", summary.latency)]
    if not across and others:
        across = others.pop(0)
    if across:
        made["pareto"] = figures.pareto(
            judged,
            [Judged(arch=arch, costs=_searched(costs)) for arch, costs in summary.front],
            _chosen(summary, judged, across),
            across=across,
            colour=others[0] if others else "",
            bounds=summary.bounds,
        )
    if summary.predictor and summary.predictor.get("points"):
        made["predictor"] = _predictor_figure(summary.predictor, summary.target)
    if summary.reference and judged:
        progress = {name: figures.progress(rows, summary.columns, summary.reference) for name, rows in judged.items()}
        made["hypervolume"] = figures.hypervolumes(progress)
    if summary.losses:
        made["training"] = figures.training(summary.losses)
    everyone = [network.options for network in summary.networks]
    for i, network in enumerate(summary.networks):
        made[f"network_{i + 1}"] = draw(network.options, title=network.role, beside=everyone)
    return made


def _chosen(summary: Summary, judged: Mapping[str, Sequence[Judged]], across: str) -> list[figures.Chosen]:
    """The extracted networks at the error the search knew them by, which stands in the study and on the front."""
    known = {row.arch: row.costs for rows in judged.values() for row in rows}
    known |= {arch: _searched(costs) for arch, costs in summary.front}
    chosen = []
    for network in summary.networks:
        error = known.get(network.arch, {}).get("val_error")
        fraction = network.val_error if error is None else error.value
        if fraction is not None:
            searched = known.get(network.arch, {}).get(across)
            searched = searched or network.cost(across, "predicted", "modelled", "quoted")
            measured = network.cost(across, "measured")
            chosen.append(
                figures.Chosen(role=network.role, error=float(fraction), searched=searched, measured=measured)
            )
    return chosen


def _predictor_figure(said: Mapping[str, Any], target: str) -> Figure:
    points = said["points"]

    def column(key: str) -> Any:
        return np.array([point.get(key) or 0.0 for point in points], np.float64)

    def title(name: str, prefix: str) -> str:
        spearman, mape = said.get(f"{prefix}spearman"), said.get(f"{prefix}mape")
        return f"{name}\nSpearman {_digits(spearman)}, MAPE {significant(mape, 2)} %"

    panels = {title(str(said.get("name", "predictor")), ""): column("predicted")}
    if all(point.get("macs_predicted") is not None for point in points):
        panels[title("linear in MACs", "macs_")] = column("macs_predicted")
    return figures.predictor(column("measured"), column("std"), panels, target=target)


def _digits(correlation: Any) -> str:
    return NONE if correlation is None else f"{correlation:.3f}"


def _content(summary: Summary, judged: Mapping[str, Sequence[Judged]], folder: Path) -> dict[str, Any]:
    """All that the template lays out, as text."""
    raw = summary.raw
    data = raw.get("data") or {}
    used = {cost.kind for network in summary.networks for cost in network.costs}
    used |= {"measured", "predicted", "modelled"}
    missing = "" if summary.predictor else _no_predictor(summary)
    return {
        "summary": summary,
        "raw": {key: raw.get(key) for key in SAID},
        "data": _data_note(summary),
        "data_name": str(data.get("name") or ""),
        "result": result(summary),
        "tiles": _tiles(summary, judged),
        "networks": _network_table(summary),
        "all_costs": _all_costs(summary),
        "files": _file_table(summary),
        "front": _front_table(summary),
        "accuracy_note": _accuracy_note(summary),
        "drawings": [
            (f"network_{i + 1}", network.role, quote(network.folder)) for i, network in enumerate(summary.networks)
        ],
        "predictor": _predictor_table(summary.predictor) if summary.predictor else None,
        "predictor_note": missing or _predictor_note(summary.predictor or {}, summary.target),
        "verdict": verdict(summary),
        "objectives": _objective_table(summary, judged),
        "training": _training_note(summary),
        "targets": _target_table(summary),
        "seconds": _seconds_table(summary),
        "versions": (raw.get("versions") or {}).items(),
        "kinds": [(kind, meaning) for kind, meaning in KINDS.items() if kind in used],
        "folder": folder.resolve().name,
        "path": _shown(folder),
        "other": next((name for name in summary.targets if name != summary.target), "<another>"),
    }


def _tiles(summary: Summary, judged: Mapping[str, Sequence[Judged]]) -> list[tuple[str, str]]:
    """The run in four numbers."""
    size, said = summary.raw.get("space_size"), summary.predictor or {}
    tiles = [(f"{size:,}" if size < 10**13 else significant(float(size)), "networks in the space")] if size else []
    searched = " + ".join(f"{len(rows):,}" for rows in judged.values())
    tiles += [(searched, "judged by " + " + ".join(judged))] if judged else []
    if said.get("mape") is not None:
        tiles.append((f"{significant(said['mape'], 2)} %", "mean error of predicted latency"))
    return [*tiles, (f"{len(summary.front):,}", "networks on the front")]


def _shown(folder: Path) -> str:
    """The folder as one would type it here."""
    whole = folder.resolve()
    here = Path.cwd()
    return (whole.relative_to(here) if whole.is_relative_to(here) else whole).as_posix()


def _column(cost: Cost) -> Column:
    unit = figures.readable(cost.name, 0.0, cost.unit)[1]
    return Column(figures.quantity(cost.name), cost.target, unit, cost.kind)


def _network_table(summary: Summary) -> Table:
    """The extracted networks, one a row; every kind of number has a column of its own."""
    first = [summary.latency, *(label for label in summary.objectives if label != "val_error")]
    first += [f"peak_bytes@{label.partition('@')[2] or summary.target}" for label in reversed(first)][:1]
    order = {kind: i for i, kind in enumerate(("predicted", "measured", "modelled", "quoted"))}
    found: dict[tuple[str, str], Cost] = {}
    for label in dict.fromkeys(first):
        costs = [cost for network in summary.networks for cost in network.costs if _label(cost) == label]
        for cost in sorted(costs, key=lambda cost: order[cost.kind]):
            found.setdefault((label, cost.kind), cost)
    columns = [
        Column("network"),
        Column("test accuracy", unit="%", kind="measured"),
        Column("with inherited weights", unit="%", kind="measured"),
        *map(_column, found.values()),
        Column("parameters"),
        Column("MACs"),
        Column("ONNX − JAX", "largest difference", kind="measured"),
    ]
    rows = [
        [
            Markup('<a href="{}/">{}</a>').format(f"./{quote(network.folder)}", network.role)
            + ("" if network.fine_tuned else Markup("<br><small>not fine-tuned</small>")),
            percent(network.test_accuracy, summary).removesuffix(" %"),
            percent(network.inherited_test_accuracy, summary).removesuffix(" %"),
            *(with_spread(network.cost(label, kind)) for label, kind in found),
            NONE if network.params is None else f"{network.params:,}",
            NONE if network.macs is None else f"{network.macs:,}",
            significant(network.onnx_max_abs_diff, 2),
        ]
        for network in summary.networks
    ]
    return Table(columns, rows)


def _all_costs(summary: Summary) -> Table:
    """Every cost of the extracted networks, one a row, its number under its kind."""
    kinds = [kind for kind in KINDS if any(c.kind == kind for n in summary.networks for c in n.costs)]
    columns = [Column("network"), Column("quantity"), Column("unit"), *(Column("", kind=kind) for kind in kinds)]
    rows = [
        [
            network.role,
            figures.quantity(cost.name) + (f" on {cost.target}" if cost.target else ""),
            figures.readable(cost.name, 0.0, cost.unit)[1],
            *(with_spread(network.cost(label, kind)) for kind in kinds),
        ]
        for network in summary.networks
        for label, cost in {_label(cost): cost for cost in network.costs}.items()
    ]
    return Table(columns, rows)


def _file_table(summary: Summary) -> Table | None:
    """The files of the extracted networks, each as it answered when it was run; None where ONNX is all there is."""
    if all(len(network.files) < 2 for network in summary.networks):
        return None
    columns = [
        Column("network"),
        Column("file"),
        Column("run by"),
        Column("size", unit="KiB"),
        Column("test accuracy", unit="%", kind="measured"),
        Column("same answer", "as model.onnx", "%", "measured"),
        Column("logits", "largest difference from model.onnx", kind="measured"),
    ]
    rows: list[list[Any]] = []
    for network in summary.networks:
        for file in network.files:
            if "failure" in file:
                reason = Markup("{}<br><small>none: {}</small>").format(file["export"], file["failure"])
                rows.append([network.role, reason, file["runtime"], *[NONE] * 4])
                continue
            address = f"./{quote(network.folder)}/{quote(file['file'])}"
            rows.append(
                [
                    network.role,
                    Markup('<a href="{}">{}</a>').format(address, file["file"]),
                    file["runtime"],
                    f"{file['bytes'] / 1024:,.1f}",
                    percent(file["test_accuracy"], summary).removesuffix(" %"),
                    percent(file["same_top1"], summary).removesuffix(" %"),
                    significant(file["max_abs_diff"], 2),
                ]
            )
    return Table(columns, rows)


def _front_table(summary: Summary) -> Table:
    """The whole front, the most accurate first."""
    order = {kind: i for i, kind in enumerate(("predicted", "measured", "modelled", "quoted"))}
    rows = [(arch, {(_label(cost), cost.kind): cost for cost in costs}) for arch, costs in summary.front]
    keys = {key: cost for _, costs in rows for key, cost in costs.items()}
    wanted = [key for key in keys if key[0] in (*summary.objectives, *summary.bounds, summary.latency)]
    wanted.sort(key=lambda key: ((*summary.objectives, *summary.bounds, summary.latency).index(key[0]), order[key[1]]))
    rows.sort(key=lambda row: [row[1][key].value if key in row[1] else math.inf for key in wanted])
    columns = [*(_column(keys[key]) for key in wanted), Column("architecture (option indices)")]
    body = [[*(with_spread(costs.get(key)) for key in wanted), " ".join(map(str, arch))] for arch, costs in rows]
    return Table(columns, body)


def _accuracy_note(summary: Summary) -> str:
    images = (summary.raw.get("data") or {}).get("test")
    if not images:
        return ""
    return (
        f"Test accuracy is over {images:,} images that no search and no choice of network saw;"
        f" one image is {significant(100 / images, 2)} points."
    )


def _no_predictor(summary: Summary) -> str:
    kinds = {c.kind for n in summary.networks for c in n.costs if _label(c) == summary.latency}
    how = f" Its latency is {' and '.join(sorted(kinds))}." if kinds else ""
    return f"No latency predictor was fitted, since networks were not timed on {summary.target} for one.{how}"


def _predictor_table(said: Mapping[str, Any]) -> Table:
    columns = [Column("predictor"), Column("Spearman"), Column("Kendall"), Column("mean error", "MAPE", "%")]
    columns += [Column("within 5 %"), Column("within 10 %")]

    def row(name: str, prefix: str) -> list[Any]:
        near = [said.get(f"{prefix}within_{n}") for n in (5, 10)]
        return [
            name,
            _digits(said.get(f"{prefix}spearman")),
            _digits(said.get(f"{prefix}kendall")),
            significant(said.get(f"{prefix}mape"), 2),
            *(NONE if part is None else f"{100 * part:.0f} %" for part in near),
        ]

    return Table(columns, [row(str(said.get("name", "predictor")), ""), row("linear in MACs", "macs_")])


def _predictor_note(said: Mapping[str, Any], target: str) -> str:
    points = said.get("points") or []
    many = said.get("networks") or len(points)
    text = f"{many:,} networks were measured on {target}; each is predicted by a fit that did not see it"
    text += f" ({said['folds']} folds)." if said.get("folds") else "."
    spreads = sorted(point["std"] / point["measured"] for point in points if point.get("std") and point["measured"] > 0)
    if spreads:
        text += f" The measurements themselves spread by {significant(100 * spreads[len(spreads) // 2], 2)} % (median)."
    return text


def _objective_table(summary: Summary, judged: Mapping[str, Sequence[Judged]]) -> Table:
    """What was minimised and bounded, and where the hypervolume is counted from."""
    costs = {label: cost for rows in judged.values() for row in rows[:1] for label, cost in row.costs.items()}
    columns = [Column("objective"), Column("kind"), Column("unit"), Column("reference"), Column("bound")]
    reference = dict(zip(summary.objectives, summary.reference, strict=False))
    rows = []
    for label in dict.fromkeys((*summary.objectives, *summary.bounds)):
        cost = costs.get(label)
        name, unit = label.partition("@")[0], cost.unit if cost else ""

        def shown(value: float | None, name: str = name, unit: str = unit) -> str:
            return NONE if value is None else significant(figures.readable(name, value, unit)[0])

        rows.append(
            [
                label,
                cost.kind if cost else NONE,
                figures.readable(name, 0.0, unit)[1],
                shown(reference.get(label)),
                shown(summary.bounds.get(label)),
            ]
        )
    return Table(columns, rows)


def _data_note(summary: Summary) -> str:
    data = summary.raw.get("data") or {}
    splits = (("train", "train"), ("val", "validation"), ("test", "test"))
    counts = ", ".join(f"{data[key]:,} {word}" for key, word in splits if data.get(key) is not None)
    parts = [
        str(data.get("name") or ""),
        f"{data['image_size']} px" if data.get("image_size") else "",
        f"{counts} images" if counts else "",
        f"fingerprint {data['fingerprint']}" if data.get("fingerprint") else "",
    ]
    return "; ".join(part for part in parts if part)


def _training_note(summary: Summary) -> str:
    said, data = summary.raw.get("training") or {}, summary.raw.get("data") or {}
    if said.get("steps") == 0:
        return "The supernet's weights were converted from elsewhere; nothing is known here of its training."
    parts = [f"{said['epochs']:,} epochs"] if said.get("epochs") else []
    parts += [f"{said['steps']:,} steps"] if said.get("steps") else []
    text = ", ".join(parts)
    if data.get("train"):
        text += f"{' on ' if text else ''}{data['train']:,} images"
        text += f" of {data['name']}" if data.get("name") else ""
    if said.get("final_loss") is not None:
        text += f"; final loss {significant(said['final_loss'])}"
    return f"The supernet was trained for {text}." if text else ""


def _target_table(summary: Summary) -> Table | None:
    """What each target's numbers are."""
    if not summary.targets:
        return None
    keys = list(Counter(key for said in summary.targets.values() for key in said))
    rows = [
        [name, *(NONE if said.get(key) is None else str(said[key]) for key in keys)]
        for name, said in summary.targets.items()
    ]
    return Table([Column("target"), *(Column(figures.quantity(key)) for key in keys)], rows)


def _seconds_table(summary: Summary) -> Table | None:
    if not summary.seconds:
        return None
    total = sum(summary.seconds.values())
    rows = [
        [step, f"{value:,.1f}", f"{100 * value / total:.0f} %" if total else NONE]
        for step, value in summary.seconds.items()
    ]
    return Table([Column("step"), Column("time", unit="s"), Column("share")], [*rows, ["all", f"{total:,.1f}", ""]])


if __name__ == "__main__":
    sys.exit(main())

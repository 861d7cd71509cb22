"""How near are modelled latencies to published ones, for networks of families that the model never saw?

    python -m experiments.benchmarks.hardware_model [--table FILE] [--write [FOLDER]] [--json]

Of every device, runtime, precision and number of threads with the published times of at least 6 networks: the fitted
model's error and rank correlation, each network predicted with its whole family (all widths and resolutions of an
architecture) left out of the fit, on all devices. The program chooses nothing by these errors; its terms and priors
were written with them in sight. Beside it two baselines, left out alike: MACs times a constant, and costs of 0 or more
of an image, a MAC and a parameter. A network that a group has several times at one resolution is one row, the median.
`--write` fits to all rows and writes each group's model as settings. Energies: the mean power of a board's other
networks times the published time, over the published energy.

Last measured, in 12 s on one core: 35 groups of 404 networks, median error of the groups 11.0 %, Kendall's tau 0.855
(32 groups of high confidence: 11.1 %, 0.852); MACs alone 32 %, 0.778; linear 19 %, 0.727. At most 15 % in 25 groups,
nearer than both baselines in 30. 43 energies: median error 3.1 %.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from experiments.benchmarks.calibrations import write
from experiments.environment import environment
from hardware.model.fitting import families_out
from hardware.tables.calibration import Rows, enough, fitted, rows_of, validation
from hardware.tables.published import Group, Measured, PublishedRow, measured, read
from search_spaces.layers import total_macs, total_params

CONFIDENCES = ("high", "medium", "low")
FOLDER = Path(__file__).parents[1] / "configs" / "latency_model"


def table_path() -> Path:
    """The table beside the data folder: `EDGENAS_DATA`'s neighbour, else `../shared/reference`."""
    return Path(os.environ.get("EDGENAS_DATA", "../shared/data")).parent / "reference" / "device_measurements.csv"


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs the benchmark, prints its table and returns the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.hardware_model", description=__doc__)
    parser.add_argument("--table", type=Path, help="of published times; default: beside the data folder")
    parser.add_argument("--write", type=Path, nargs="?", const=FOLDER, help="settings; default folder: the project's")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    given = parser.parse_args(arguments)
    try:
        published = read(given.table or table_path())
        times = measured(published)
        if not enough(times):
            raise ValueError(f"`{given.table or table_path()}` has no device with the times of enough of our networks")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    rows = rows_of(times)
    predicted = families_out(rows.evidence, rows.families)
    results = [row_of(times[group], rows, predicted, group) for group in enough(times)]
    energies = energy_rows(published)
    result = {
        "benchmark": "hardware_model",
        "rows": results,
        "energy_rows": energies,
        "summary": summary_of(results, energies),
        "environment": environment(),
    }
    _show(result)
    if given.write:
        for path in write(fitted(rows, predicted, times), given.write):
            print(f"wrote {path}")
    if given.json:
        print(json.dumps(result))
    return result


def row_of(timed: Sequence[Measured], rows: Rows, predicted: Float[np.ndarray, " all"], group: Group) -> dict[str, Any]:
    """A group's row of the result."""
    mine = rows.group == rows.groups.index(group)
    published, families = np.exp(rows.evidence.log_ms[mine]), rows.families[mine]
    graphs = [each.meaning.layers() for each in timed]
    sizes = np.array([[total_macs(layers), total_params(layers)] for layers in graphs], float)
    ours = validation(predicted[mine], published, len(np.unique(families)))
    constant, linear = (
        validation(baseline(sizes, published, families), published, ours.families) for baseline in (_constant, _linear)
    )
    return {
        "device": group.device,
        "runtime": group.runtime,
        "precision": group.precision,
        "threads": group.threads,
        "name": group.name,
        "n": ours.rows,
        "families": ours.families,
        "published_rows": sum(each.rows for each in timed),
        "confidence": max((each.confidence for each in timed), key=CONFIDENCES.index),  # the lowest of its rows
        "median_ape": ours.median_ape,
        "kendall": ours.kendall,
        "relative_std": ours.relative_std,
        "baseline_median_ape": constant.median_ape,
        "baseline_kendall": constant.kendall,
        "baseline2_median_ape": linear.median_ape,
        "baseline2_kendall": linear.kendall,
        "predictions": {each.meaning.name: float(ms) for each, ms in zip(timed, predicted[mine], strict=True)},
    }


def _constant(
    sizes: Float[np.ndarray, "n 2"], ms: Float[np.ndarray, " n"], families: np.ndarray
) -> Float[np.ndarray, " n"]:
    """MACs times the median of time over MACs of the other families."""
    found = np.zeros(len(ms))
    for family in np.unique(families):
        out = families == family
        found[out] = sizes[out, 0] * np.median(ms[~out] / sizes[~out, 0])
    return found


def _linear(
    sizes: Float[np.ndarray, "n 2"], ms: Float[np.ndarray, " n"], families: np.ndarray
) -> Float[np.ndarray, " n"]:
    """Costs of 0 or more of an image, a MAC and a parameter, with the least squares of relative errors."""
    columns = np.column_stack([np.ones(len(ms)), sizes / sizes.max(0)])
    found = np.zeros(len(ms))
    for family in np.unique(families):
        out = families == family
        costs, _ = nnls(columns[~out] / ms[~out, None], np.ones((~out).sum()))
        found[out] = columns[out] @ costs
    return found


def energy_rows(published: Sequence[PublishedRow]) -> list[dict[str, Any]]:
    """Energies that a board's power, as its other networks show it, gives; over those that were published."""
    known = [row for row in published if row.energy_mj is not None and row.batch == "1"]
    found = []
    for row in known:
        others = [
            each.energy_mj / each.latency_ms
            for each in known
            if each.group == row.group and each.network != row.network and each.energy_mj is not None
        ]
        if others and row.energy_mj is not None:
            modelled_mj = sum(others) / len(others) * row.latency_ms
            found.append(
                {
                    "device": row.device,
                    "runtime": row.runtime,
                    "network": row.network,
                    "published_mj": row.energy_mj,
                    "modelled_over_published": modelled_mj / row.energy_mj,
                }
            )
    return found


def summary_of(rows: Sequence[Mapping[str, Any]], energies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the rows come to."""
    high = [row for row in rows if row["confidence"] == "high"]
    errors = [abs(row["modelled_over_published"] - 1) for row in energies]

    def medians(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        names = ("median_ape", "kendall", "baseline_median_ape", "baseline2_median_ape")
        more = ("baseline_kendall", "baseline2_kendall")
        return {name: median(row[name] for row in rows) if rows else None for name in (*names, *more)}

    return {
        "groups": len(rows),
        "networks": sum(row["n"] for row in rows),
        "high_confidence_groups": len(high),
        "better_than_both_baselines": sum(
            row["median_ape"] < min(row["baseline_median_ape"], row["baseline2_median_ape"]) for row in rows
        ),
        "ranks_no_worse_than_both_baselines": sum(
            row["kendall"] >= max(row["baseline_kendall"], row["baseline2_kendall"]) for row in rows
        ),
        "median_ape_at_most_0.15": sum(row["median_ape"] <= 0.15 for row in rows),
        "kendall_at_least_0.85": sum(row["kendall"] >= 0.85 for row in rows),
        "both": sum(row["median_ape"] <= 0.15 and row["kendall"] >= 0.85 for row in rows),
        "medians": medians(rows),
        "medians_high_confidence": medians(high),
        "energy_rows": len(energies),
        "energy_median_ape": median(errors) if errors else None,
    }


def _show(result: Mapping[str, Any]) -> None:
    print(
        f"{'device':<28} {'runtime':<26} {'n':>3} {'families':>8} {'confidence':<10}"
        f" {'error':>6} {'tau':>6} | {'MACs':>6} {'tau':>6} | {'linear':>6} {'tau':>6}"
    )
    for row in result["rows"]:
        print(
            f"{row['device'][:28]:<28} {row['runtime'][:26]:<26} {row['n']:>3} {row['families']:>8}"
            f" {row['confidence']:<10} {row['median_ape']:>6.1%} {row['kendall']:>6.3f}"
            f" | {row['baseline_median_ape']:>6.1%} {row['baseline_kendall']:>6.3f}"
            f" | {row['baseline2_median_ape']:>6.1%} {row['baseline2_kendall']:>6.3f}"
        )
    for name, value in result["summary"].items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()

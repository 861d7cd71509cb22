"""Does the main job's search beat random search? Both again on a trained supernet, over seeds, with equal evaluations.

    python -m experiments.benchmarks.main_search [--run FOLDER] [--seeds 5] [--evaluations 256] [--json]

Without `--run` it trains the default supernet first. Distinct networks count as evaluations; the reference point is one
for all. Hypervolumes are parts of the box between the origin and that point.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import jax
import numpy as np
from omegaconf import OmegaConf

from experiments.console import Console
from experiments.environment import environment
from experiments.parts import Run, assemble, keys_of
from experiments.resume import CONFIG
from experiments.steps.latency import MEASURED, learn_latency, measure_samples, prices_of
from experiments.steps.search import both, judge_of, reference_point, volume
from experiments.steps.supernet import train_supernet
from experiments.tracking import NoTracking
from nas.objective import Judged
from nas.search.loop import run_search
from nas.study import Study


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs the benchmark, prints its table and returns the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.main_search", description=__doc__)
    parser.add_argument("--run", type=Path, help="folder of a finished run, whose supernet and settings are used")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--evaluations", type=int, help="by each search; default: the run's setting")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    given = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            result = compare(given.run, given.seeds, given.evaluations, Path(scratch))
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    if given.json:
        print(json.dumps(result))
    return result


def compare(source: Path | None, seeds: int, evaluations: int | None, scratch: Path) -> dict[str, Any]:
    """Both searches with each seed.

    Raises:
      ValueError: when the folder is not a run's, or there are no seeds.
    """
    for name, value in (("seeds", seeds), ("evaluations", evaluations)):
        if value is not None and value < 1:
            raise ValueError(f"`--{name}` must be at least 1, got {value}")
    run = _open(source, scratch)
    params, _ = train_supernet(run)
    supernet = run.parts.trainer.network(params)
    fitted = learn_latency(run, *measure_samples(run, supernet))
    prices = prices_of(run, fitted)
    reference = reference_point(run.parts, prices)
    judge = _remembering(judge_of(run.parts, supernet, prices))
    budget = evaluations or run.settings["evaluations"]
    controllers = both(run.build("search", space=run.parts.space))
    study = Study(scratch / "study.sqlite")
    rows = []
    print(
        f"{'seed':>4}  "
        + "  ".join(f"{name:>9}" for name in controllers)
        + f"   hypervolume after {budget} distinct networks each"
    )
    for seed in range(seeds):
        row: dict[str, Any] = {"seed": seed}
        for number, (name, each) in enumerate(controllers.items()):
            found = run_search(
                each,
                judge,
                run.parts.objectives,
                key=jax.random.fold_in(jax.random.key(seed), number),
                evaluations=budget,
                study=study,
                name=f"{name} {seed}",
            )
            row[name] = volume(found, run.parts.objectives, reference)
            row[f"{name}_networks"] = len(found)
        rows.append(row)
        print(f"{seed:>4}  " + "  ".join(f"{row[name]:>9.4f}" for name in controllers), flush=True)
    summary: dict[str, Any] = {}
    for name in controllers:
        values = np.array([row[name] for row in rows])
        summary[f"{name}_mean"] = float(values.mean())
        summary[f"{name}_std"] = float(values.std(ddof=1)) if seeds > 1 else 0.0
    print("mean  " + "  ".join(f"{summary[f'{name}_mean']:>9.4f}" for name in controllers))
    print("std   " + "  ".join(f"{summary[f'{name}_std']:>9.4f}" for name in controllers))
    return {
        "rows": rows,
        "summary": summary,
        "evaluations": budget,
        "reference": reference.tolist(),
        "objectives": [o.label for o in run.parts.objectives if o.minimised],
        **environment(),
    }


def _open(source: Path | None, scratch: Path) -> Run:
    """A run of its own in the scratch folder, on the supernet and the measurements of the source."""
    if source is None:
        with hydra.initialize_config_module("experiments.configs", version_base="1.3"):
            config: Any = hydra.compose("edgenas", [f"output={scratch}"])
    else:
        if not (source / CONFIG).exists():
            raise ValueError(f"`{source}` is not the folder of a run: `{source / CONFIG}` is missing")
        config = OmegaConf.load(source / CONFIG)
        if (source / MEASURED).exists():  # so that the predictor is the run's own
            shutil.copy(source / MEASURED, scratch / MEASURED)
        config = OmegaConf.merge(config, {"supernet": {"from": str(config.supernet["from"] or source)}})
    settings: Any = OmegaConf.to_container(config, resolve=True)
    keys = keys_of(settings["seed"])
    return Run(
        settings=settings,
        folder=scratch,
        identity={"run": "main_search", "space": "benchmark", **environment()},
        keys=keys,
        console=Console(scratch, 1),
        tracking=NoTracking(),
        parts=assemble(settings, keys["calibrate"]),
    )


def _remembering(judge: Any) -> Any:
    """The judge with a memory across seeds: what it says of a network does not depend on the search that asks."""
    known: dict[tuple[int, ...], Judged] = {}

    def remembered(row: tuple[int, ...]) -> Judged:
        if row not in known:
            known[row] = judge(row)
        return known[row]

    return remembered


if __name__ == "__main__":
    main()

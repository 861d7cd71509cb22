"""What Hydra tells of: a sweep leaves one table and one `sweep.json`; a run's folder may be made with others above."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from experiments.files import read_json, write_json

ERROR = "error.txt"
"""Where a job of a sweep leaves the line that says why it failed."""

_failures: list[str] = []
_absent: set[Path] = set()


def failures() -> list[str]:
    """Why jobs of the sweep that has just ended failed, a line each; asked for once."""
    lines = list(_failures)
    _failures.clear()
    return lines


def made_above(folder: Path) -> list[Path]:
    """The folders that weren't there before the run of this folder began, the innermost first."""
    return [path for path in folder.absolute().parents if path in _absent]


class Merge(Callback):
    """Hydra calls this before a run has a folder, and once all jobs of a sweep have written a `summary.json`."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Keeps in mind which folders are about to be made."""
        _absent.clear()
        _absent.update(path for path in Path(config.hydra.run.dir).absolute().parents if not path.exists())

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Merges the summaries and prints a line for each run."""
        folder = Path(config.hydra.sweep.dir)
        runs = sorted(folder.glob("*/summary.json"), key=lambda path: (len(path.parent.name), path.parent.name))
        if runs:
            print(table(folder, runs))
        for path in sorted(folder.glob(f"*/{ERROR}")):
            if not (path.parent / "summary.json").exists():
                _failures.append(f"{path.parent}: {path.read_text().strip()}")


def table(folder: Path, runs: list[Path]) -> str:
    """Writes `sweep.json` and gives the table to print."""
    rows = []
    for path in runs:
        summary = read_json(path)
        # By validation error: choosing by the test images would make them part of the search.
        best = min(summary["networks"], key=lambda network: network["val_error"])
        rows.append(
            {
                "run": path.parent.name,
                **{name: summary[name] for name in ("space", "target", "seed", "hypervolume")},
                "test_accuracy": best["test_accuracy"],
                "folder": str(path.parent),
            }
        )
    write_json(folder / "sweep.json", rows)
    lines = [f"{'run':>4}  {'space':<14} {'target':<16} {'seed':>4}  {'test accuracy':>13}  {'hypervolume':>11}"]
    lines += [
        f"{row['run']:>4}  {row['space']:<14} {row['target']:<16} {row['seed']:>4}  {row['test_accuracy']:>13.4f}"
        f"  {next(iter(row['hypervolume'].values())):>11.4f}"
        for row in rows
    ]
    return "\n".join([f"sweep of {len(rows)} runs: {folder / 'sweep.json'}", *lines])

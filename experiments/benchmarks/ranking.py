"""Does a supernet rank architectures as training each of them alone does? NAS-Bench-201 on CIFAR-10 knows the truth.

    python -m experiments.benchmarks.ranking [--reduced] [--rules strict_fairness single_path] [--seeds 3] [--json]

Each training rule trains supernets with several seeds and the same number of passes (an image seen by an architecture).
Architectures drawn uniformly, the same for all, are judged with the weights they inherit; their accuracies are ranked
against the published test accuracies after 200 epochs of training alone. MACs, parameters and chance are ranked beside
them: a supernet that ranks worse than MACs is no use. Without `--reduced` it wants a GPU.
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from experiments.benchmarks.agreement import agreement
from experiments.benchmarks.inherited import MODES, Inherited
from experiments.environment import environment
from nas.data.cifar10 import Cifar10
from nas.data.dataset import Dataset
from nas.tabular import open_truth, table_path
from nas.training import Trainer, Training, train
from nas.training.rules import Rule, Sandwich, SinglePath, StrictFairness
from search_spaces.layers import total_macs, total_params
from search_spaces.nas_bench_201 import NasBench201, is_connected

RULES: Mapping[str, Rule] = {  # the one that ranks best first: the summary is its
    "strict_fairness": StrictFairness(),
    "single_path": SinglePath(),
    "sandwich": Sandwich(),
}
SUBSETS = {
    "all": "every architecture drawn",
    "connected": "those whose image reaches the classifier",
    "top_half": "the better half of them by the truth",
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is trained, for how long and how it is judged.

    Attributes:
      image_size: px, to which CIFAR-10 is resized.
      channels: of the space's first stage.
      cells: in each stage.
      stages: of the space.
      images: training images kept; 0 keeps all.
      passes: over the training images, summed over the architectures of a step.
      batch: images a step.
      optimizer: sgd or adamw.
      learning_rate: at its peak.
      weight_decay: as the optimizer has it.
      shift: px that training images are moved by, at the most.
      execution: masked or sliced, in training and judging.
      seeds: supernets of each rule.
      architectures: ranked.
      val_images: that each is judged on.
      val_batch: that are judged at once; as many training images recalibrate batch norm.
      resamples: of the bootstrap.
    """

    image_size: int = 32
    channels: int = 16
    cells: int = 5
    stages: int = 3
    images: int = 0
    passes: int = 150
    batch: int = 256
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    shift: int = 4
    execution: str = "masked"
    seeds: int = 3
    architectures: int = 1000
    val_images: int = 5000
    val_batch: int = 1000
    resamples: int = 300

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 0 if field.name in ("images", "shift", "weight_decay") else 1
            if field.type is int and value < least:
                raise ValueError(f"`--{field.name}` must be at least {least}, got {value}")
        if self.architectures < 4:
            raise ValueError(f"`--architectures` must be at least 4 to be ranked, got {self.architectures}")


FULL = Setting()
REDUCED = Setting(
    image_size=16,
    channels=8,
    cells=1,
    images=10_000,
    passes=60,  # after 12, single path, all-convolution cells were no better than skips; trained alone they are
    batch=64,
    optimizer="adamw",
    learning_rate=4e-3,
    weight_decay=1e-2,
    shift=2,
    execution="sliced",
    architectures=200,
    val_images=1000,
)
REDUCED_RULES = ("strict_fairness", "single_path")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs the benchmark, prints its table and returns the JSON object."""
    data = Path(os.environ.get("EDGENAS_DATA", "../shared/data"))
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.ranking", description=__doc__)
    parser.add_argument("--reduced", action="store_true", help="small images and networks, for a CPU")
    parser.add_argument("--rules", nargs="+", choices=RULES, help=f"default: all; reduced: {' '.join(REDUCED_RULES)}")
    parser.add_argument("--batch-norm", nargs="+", choices=MODES, default=list(MODES), help="statistics to judge with")
    parser.add_argument("--data", type=Path, default=data / "cifar10", help="folder of CIFAR-10")
    parser.add_argument("--table", type=Path, default=table_path(), help="the truth")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    for field in dataclasses.fields(Setting):
        kind = field.type if callable(field.type) else str
        name = f"--{field.name.replace('_', '-')}"
        parser.add_argument(name, type=kind, help=f"default {field.default}; reduced {getattr(REDUCED, field.name)}")
    given = parser.parse_args(arguments)
    changed = {f.name: getattr(given, f.name) for f in dataclasses.fields(Setting)}
    try:
        setting = replace(
            REDUCED if given.reduced else FULL, **{name: value for name, value in changed.items() if value is not None}
        )
        result = rank(
            setting,
            given.rules or (REDUCED_RULES if given.reduced else tuple(RULES)),
            given.batch_norm,
            given.data,
            given.table,
        )
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    if given.json:
        print(json.dumps(result))
    return result


def rank(setting: Setting, rules: Sequence[str], modes: Sequence[str], data: Path, table: Path) -> dict[str, Any]:
    """Trains, judges and compares.

    Raises:
      ValueError: when a setting, the table or the images don't fit.
      OSError: when a file isn't there.
    """
    began = time.perf_counter()
    known = open_truth("cifar10", table)
    rows_drawn = np.random.default_rng(0).choice(len(known.test_error), setting.architectures, replace=False)
    archs, truth = known.cells.table.archs[rows_drawn], 1 - known.test_error[rows_drawn]
    images = Cifar10(root=data, image_size=setting.image_size, limit=setting.images or None).load()
    space = NasBench201(
        image_size=setting.image_size, channels=setting.channels, cells=setting.cells, stages=setting.stages
    )
    inherited = Inherited(space, images, setting.val_images, setting.val_batch, setting.execution == "sliced")
    scores: dict[tuple[str, str], np.ndarray] = {}
    seconds: dict[str, float] = {}
    for rule in rules:
        trainer = trainer_of(setting, rule, space, images)
        judged: list[dict[str, np.ndarray]] = []
        started = time.perf_counter()
        for seed in range(setting.seeds):
            network, loss = trained(trainer, seed)
            judged.append(inherited.accuracy(network, archs, modes))
            accuracies = ", ".join(f"{mode} {values.mean():.3f}" for mode, values in judged[-1].items())
            spent = time.perf_counter() - started
            print(f"{rule}, seed {seed}: last loss {loss:.3f}, mean accuracy {accuracies}; {spent:.0f} s", flush=True)
        seconds[rule] = time.perf_counter() - started
        for mode in modes:
            scores[rule, mode] = np.stack([one[mode] for one in judged])
    rows = table_of(setting, scores, archs, truth, space)
    show(rows)
    return {
        "rows": rows,
        "summary": summary_of(rows, rules, modes) | {"seconds": time.perf_counter() - began},
        "setting": dataclasses.asdict(setting),
        "seconds": seconds,
        "device": jax.devices()[0].device_kind,
        **environment(),
    }


def trainer_of(setting: Setting, rule: str, space: NasBench201, images: Dataset) -> Trainer:
    """One rule's trainer; a rule of several architectures a step gets as many fewer epochs."""
    execution: Any = setting.execution
    optimizer: Any = setting.optimizer
    settings = Training(
        epochs=max(1, round(setting.passes / RULES[rule].rows(space))),
        batch=setting.batch,
        rule=RULES[rule],
        optimizer=optimizer,
        learning_rate=setting.learning_rate,
        weight_decay=setting.weight_decay,
        clip_norm=5.0,
        label_smoothing=0.0,
        shift=setting.shift,
        flip=True,
        execution=execution,
    )
    return Trainer(space, settings, images)


def trained(trainer: Trainer, seed: int) -> tuple[Any, float]:
    """A supernet and its last epoch's mean loss."""
    losses: list[float] = []
    init_key, train_key = jax.random.split(jax.random.key(seed))
    state = train(
        trainer, trainer.init(init_key), train_key, after_epoch=lambda _, loss, __: losses.append(float(loss))
    )
    return trainer.network(trainer.weights(state)), losses[-1]


def subsets_of(
    archs: Int[np.ndarray, "archs choices"], truth: Float[np.ndarray, " archs"]
) -> dict[str, Bool[np.ndarray, " archs"]]:
    """Which architectures are compared, by the subset's name."""
    return {
        "all": np.ones(len(archs), bool),
        "connected": np.array([is_connected(arch) for arch in archs]),
        "top_half": truth >= np.median(truth),
    }


def table_of(
    setting: Setting,
    scores: Mapping[tuple[str, str], Float[np.ndarray, "seeds archs"]],
    archs: Int[np.ndarray, "archs choices"],
    truth: Float[np.ndarray, " archs"],
    space: NasBench201,
) -> list[dict[str, Any]]:
    """One row for each ranking and subset; `kendall_more` is by how much a supernet beats MACs."""
    layers = [space.layers(arch) for arch in archs]
    macs = np.array([total_macs(each) for each in layers], np.float64)
    baselines = {
        ("macs", ""): macs[None],
        ("params", ""): np.array([[total_params(each) for each in layers]], np.float64),
        ("random", ""): np.random.default_rng(1).random((setting.seeds, len(archs))),
    }
    rows = []
    for subset, chosen in subsets_of(archs, truth).items():
        for (by, mode), values in {**baselines, **scores}.items():
            than = macs[chosen] if mode else None
            found = agreement(truth[chosen], values[:, chosen], setting.resamples, than)
            rows.append({"by": by, "batch_norm": mode, "subset": subset, "archs": int(chosen.sum()), **found})
    return rows


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints the table."""
    print(f"\n{'ranked by':>15} {'batch norm':>13} {'of':>10} {'archs':>6}   Kendall [95 %] (std of seeds)   Spearman")
    for row in rows:
        spread = "" if row["kendall_std"] is None else f"({row['kendall_std']:.3f})"
        print(
            f"{row['by']:>15} {row['batch_norm']:>13} {row['subset']:>10} {row['archs']:>6}   {row['kendall']:>6.3f}"
            f" [{row['kendall_low']:.3f}, {row['kendall_high']:.3f}] {spread:>7}   {row['spearman']:>10.3f}"
        )


def summary_of(rows: Sequence[Mapping[str, Any]], rules: Sequence[str], modes: Sequence[str]) -> dict[str, Any]:
    """The figures to look at first, over all architectures: those of the first rule and batch-norm mode, and the rest.

    `more_than_macs` is the difference in Kendall with its interval, paired over the same draws.
    """
    whole = {(row["by"], row["batch_norm"]): row for row in rows if row["subset"] == "all"}
    first = whole[rules[0], modes[0]]
    return {
        "rule": rules[0],
        "batch_norm": modes[0],
        **{name: first[name] for name in ("kendall", "kendall_low", "kendall_high", "kendall_std", "spearman")},
        "kendall_macs": whole["macs", ""]["kendall"],
        "kendall_params": whole["params", ""]["kendall"],
        "more_than_macs": first["kendall_more"],
        "more_than_macs_low": first["kendall_more_low"],
        "more_than_macs_high": first["kendall_more_high"],
        "kendall_by_rule": {f"{rule}/{mode}": whole[rule, mode]["kendall"] for rule in rules for mode in modes},
    }


if __name__ == "__main__":
    main()

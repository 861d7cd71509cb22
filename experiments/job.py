"""The main job: data, supernet, measure, learn, search, answer, report; every step stored, so that it can go on."""

import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
from omegaconf import DictConfig, OmegaConf

from experiments.build import build
from experiments.console import Console
from experiments.environment import environment
from experiments.files import read_json, write_json
from experiments.report import write_report
from experiments.resume import adopt, remember
from experiments.settings import check_settings, objectives_of
from experiments.tracking import Tracking
from experiments.winner import save
from hardware.cost import Cost
from hardware.onnx_export import to_onnx
from hardware.onnx_runtime import OnnxRuntime
from hardware.store import MeasurementStore
from hardware.target import Network, Target, measure_networks, reference_time
from nas.checkpoint import Checkpoints
from nas.data.dataset import Dataset
from nas.judge import SupernetJudge
from nas.objective import Judged, Objective, Prices, check_reachable, cost_matrix, feasible
from nas.pareto import hypervolume
from nas.profiling import Fitted, learn, spread
from nas.search.loop import run_search
from nas.search.random_search import RandomSearch
from nas.study import Study
from nas.training import Trainer, TrainState, normalise, train
from nas.winners import choose, finish, front
from search_spaces.extract import extract, weights
from search_spaces.layers import total_macs, total_params
from search_spaces.space import Space, largest, options, size

STEPS = ("data", "supernet", "measure", "learn", "search", "answer", "report")
EVOLUTION, RANDOM = "evolution", "random"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the configuration describes, built."""

    space: Space
    data: Dataset
    target: Target
    targets: tuple[Target, ...]
    objectives: tuple[Objective, ...]
    trainer: Trainer
    judge: SupernetJudge


def run(config: DictConfig, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Runs the main job in a folder, from wherever the folder says it stands, and returns the summary.

    Args:
      config: as Hydra composed it.
      folder: made if need be; a folder that holds a finished run is answered with its summary at once.
      overrides: what the user typed.

    Raises:
      ValueError: when a setting, a file or a bound cannot be met; one line says which and what to do.
      OSError: when the folder cannot be written.
    """
    config = adopt(config, overrides)
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportAssignmentType]
    check_settings(plain)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remember(folder, plain, overrides)
    except OSError as error:
        raise OSError(
            f"`{folder}` cannot be written ({error.strerror}); choose another with output=<folder>"
        ) from error
    if (folder / "summary.json").exists() and (folder / "report.html").exists():
        print(f"{folder} is finished; its report is {folder / 'report.html'}")
        return read_json(folder / "summary.json")

    identity = _identity(folder)
    tracking: Tracking = build(plain["tracking"], plain["plugins"])
    tracking.start(folder, plain)
    console = Console(folder, len(STEPS))
    print(f"edgenas · {folder} · {identity['device']}")
    try:
        summary = _steps(plain, folder, identity, console, tracking, overrides)
    finally:
        tracking.finish()
    return summary


def _identity(folder: Path) -> dict[str, Any]:
    """What the run is known by and ran in; made once, kept when it goes on."""
    path = folder / "environment.json"
    if not path.exists():
        write_json(path, {"run": uuid.uuid4().hex[:12], "created": datetime.now(UTC).isoformat(), **environment()})
    return read_json(path)


def _steps(
    plain: dict[str, Any],
    folder: Path,
    identity: dict[str, Any],
    console: Console,
    tracking: Tracking,
    overrides: Sequence[str],
) -> dict[str, Any]:
    keys = dict(zip(
        ("init", "train", "calibrate", "sample", EVOLUTION, RANDOM, "tune"),
        jax.random.split(jax.random.key(plain["seed"]), 7),
        strict=True,
    ))  # fmt: skip
    with console.step("data", plain["data"]["_target_"].rpartition(".")[2]):
        parts = _build(plain, keys["calibrate"])
        console.say(_say_data(parts))
    with console.step("supernet", f"{_name(plain)}, {size(parts.space):,} networks"):
        params, losses = _train(plain, parts, folder, keys, console, tracking)
        supernet = parts.trainer.network(params)
    store = MeasurementStore(path=Path(plain["measuring"]["store"]))
    with console.step("measure", f"networks on {parts.target.name}"):
        sampled, costs = _measure(plain, parts, supernet, store, identity, keys, console)
    with console.step("learn", f"latency on {parts.target.name}"):
        fitted = _learn(plain, parts, sampled, costs, console)
        predictors = (
            {parts.target.name: (build(plain["predictor"], plain["plugins"]), fitted.weights)} if fitted else {}
        )
        prices = Prices(parts.space, parts.targets, predictors)
        check_reachable(parts.space, prices, parts.objectives)
        if fitted:
            tracking.log({"predictor/spearman": fitted.validation.spearman, "predictor/mape": fitted.validation.mape})
    with console.step("search", f"{plain['evaluations']} networks by each search"):
        searched = _search(plain, parts, supernet, prices, folder, keys, console, tracking)
    with console.step("answer", "three networks of the front"):
        answer = _answer(plain, parts, params, prices, searched, store, identity, folder, keys, console)
    summary = {
        "space": _name(plain),
        "space_class": plain["search_space"]["_target_"],
        "space_size": size(parts.space),
        "choices": len(parts.space.choices),
        "data": _data_summary(parts.data),
        "target": parts.target.name,
        "targets": {target.name: _target_summary(target, parts, bool(fitted)) for target in parts.targets},
        "objectives": [o.label for o in parts.objectives if o.minimised],
        "bounds": {o.label: o.bound for o in parts.objectives if o.bound is not None},
        "training": {"epochs": len(losses), "final_loss": losses[-1] if losses else None, "losses": losses},
        "predictor": _predictor_summary(plain, fitted, sampled, costs, parts),
        **{name: searched[name] for name in ("reference", "hypervolume", "evaluations")},
        **answer,
        "seconds": console.seconds,
        **{name: identity[name] for name in ("versions", "commit", "device", "created")},
        "seed": plain["seed"],
        "command": " ".join(["edgenas", *[o for o in overrides if not o.startswith("resume=")]]),
        "config": plain,
    }
    tracking.log({f"hypervolume/{name}": value for name, value in summary["hypervolume"].items()})
    with console.step("report", str(folder / "report.html")):
        write_json(folder / "summary.json", summary)
        write_report(folder)
    write_json(folder / "summary.json", {**summary, "seconds": console.seconds})
    _say_answer(summary, folder, console)
    return summary


def _name(plain: Mapping[str, Any]) -> str:
    """The space's name: the option chosen, or its class."""
    return plain["search_space"]["_target_"].rpartition(".")[2].lower()


def _build(plain: dict[str, Any], key: jax.Array) -> Parts:
    plugins = plain["plugins"]
    source = build(plain["data"], plugins)
    space = build(
        plain["search_space"],
        plugins,
        image_size=source.image_size,
        image_channels=source.image_channels,
        classes=source.classes,
    )
    target, embedded = build(plain["target"], plugins), build(plain["embedded"], plugins)
    targets = (target,) if target.name == embedded.name else (target, embedded)
    objectives = objectives_of(plain["objectives"], target, embedded)
    # What can be known to be out of reach before anything is loaded or trained.
    known = [o for o in objectives if not (o.cost == "latency_ms" and target.measurable)]
    check_reachable(space, Prices(space, targets, {}), known)
    training = build(plain["training"], plugins)
    data = source.load()
    return Parts(
        space=space,
        data=data,
        target=target,
        targets=targets,
        objectives=objectives,
        trainer=Trainer(space, training, data),
        judge=SupernetJudge(space, data, key, plain["calibration_images"]),
    )


def _train(
    plain: dict[str, Any], parts: Parts, folder: Path, keys: Mapping[str, Any], console: Console, tracking: Tracking
) -> tuple[Any, list[float]]:
    """The trained parameters, from another run, from this one's last checkpoint, or new; and the losses by epoch."""
    trainer, settings = parts.trainer, parts.trainer.settings
    source = plain["supernet"]["from"]
    home = Path(source) if source else folder
    path = home / "losses.json"
    losses: list[float] = read_json(path) if path.exists() else []
    state = trainer.init(keys["init"])
    with Checkpoints(home / "checkpoints") as checkpoints:
        done = checkpoints.latest() or 0
        if source and done < settings.epochs:
            raise ValueError(
                f"the supernet of `{source}` has {done} of {settings.epochs} epochs; finish it with resume={source}"
            )
        if done:
            state = checkpoints.restore(state)
            losses = losses[:done]
            console.say(f"trained to epoch {done} of {settings.epochs}, from {home / 'checkpoints'}")
        if done == settings.epochs:
            return state.params, losses
        if not done:
            losses = []
        with console.bar(settings.epochs, "training", "epoch") as bar:
            bar.update(done)

            def after_epoch(epoch: int, loss: float, state: TrainState) -> None:
                losses.append(loss)
                bar.set_postfix(loss=f"{loss:.3f}")
                bar.update()
                tracking.log({"supernet/epoch": epoch, "supernet/loss": loss})
                if epoch % settings.checkpoint_every == 0 or epoch == settings.epochs:
                    write_json(path, losses)
                    checkpoints.save(epoch, state)

            state = train(trainer, state, keys["train"], after_epoch=after_epoch)
    console.say(
        f"{settings.epochs} epochs, {trainer.steps} steps, a random architecture each, compiled {trainer.traces} time;"
        f" loss {losses[0]:.3f} -> {losses[-1]:.3f}"
    )
    return state.params, losses


def _measure(
    plain: dict[str, Any],
    parts: Parts,
    supernet: Any,
    store: MeasurementStore,
    identity: dict[str, Any],
    keys: Mapping[str, Any],
    console: Console,
) -> tuple[np.ndarray, list[Cost]]:
    """Sampled architectures and their measured latencies; none where the target cannot be measured here."""
    target, space = parts.target, parts.space
    if not target.measurable:
        console.say(f"{target.name} cannot be run from this machine: its costs are modelled, none is measured")
        return np.zeros((0, len(space.choices)), np.int32), []
    sampled = spread(keys["sample"], space, plain["measuring"]["networks"])
    networks: dict[str, Network] = {}
    with console.bar(len(sampled), "extracting", "network") as bar:
        for i, arch in enumerate(sampled):
            layers = space.layers(arch)
            networks[f"sample {i}"] = (
                layers,
                weights(extract(space, supernet, arch, parts.judge(supernet, arch).stats)),
            )
            bar.update()
    costs = _timed(target, networks, store, f"{identity['run']}/sample", plain["measuring"]["reuse"], console)
    values = np.array([cost.value for cost in costs])
    spreads = np.array([(cost.std or 0) / cost.value for cost in costs])
    console.say(
        f"{len(values)} networks measured: {values.min():.3f} to {values.max():.3f} ms,"
        f" spread {100 * np.median(spreads):.1f} % (median)"
    )
    return sampled, costs


def _timed(
    target: Target,
    networks: Mapping[str, Network],
    store: MeasurementStore,
    campaign: str,
    reuse: bool,
    console: Console,
    reference_ms: float | None = None,
) -> list[Cost]:
    with console.bar(len(networks), "timing", "network") as bar:

        def progress(done: int, _: int) -> None:
            bar.update(done - bar.n)

        return list(
            measure_networks(
                target, networks, store, campaign=campaign, reuse=reuse, reference_ms=reference_ms, progress=progress
            ).values()
        )


def _learn(
    plain: dict[str, Any], parts: Parts, sampled: np.ndarray, costs: list[Cost], console: Console
) -> Fitted | None:
    if not costs:
        console.say("nothing was measured, so nothing is learned")
        return None
    predictor = build(plain["predictor"], plain["plugins"])
    fitted = learn(
        predictor, [parts.space.layers(arch) for arch in sampled], costs, plain["measuring"]["folds"], plain["seed"]
    )
    folds = plain["measuring"]["folds"]
    console.say(f"{folds}-fold cross-validation, pooled:   Spearman    MAPE   within 10 %")
    for name, v in ((type(predictor).__name__, fitted.validation), ("linear in MACs", fitted.macs)):
        console.say(f"  {name:<32} {v.spearman:>8.3f}  {v.mape:>5.1f} %  {100 * v.within_10:>8.0f} %")
    return fitted


def _search(
    plain: dict[str, Any],
    parts: Parts,
    supernet: Any,
    prices: Prices,
    folder: Path,
    keys: Mapping[str, Any],
    console: Console,
    tracking: Tracking,
) -> dict[str, Any]:
    """Both searches with equal evaluations, and their hypervolumes under one reference point."""
    search = build(plain["search"], plain["plugins"], space=parts.space)
    searches = {EVOLUTION: search, RANDOM: RandomSearch(space=parts.space, pop_size=search.pop_size)}
    judge = supernet_and_prices(parts, supernet, prices)
    study = Study(
        folder / "study.sqlite",
        {
            "measured": "supernet weights on the validation split",
            "predicted": plain["predictor"]["_target_"],
            "modelled": "hardware model of the target",
        },
    )
    reference = reference_point(parts, prices)
    found: dict[str, list[Judged]] = {}
    for name, controller in searches.items():
        with console.bar(plain["evaluations"], name, "network") as bar:
            found[name] = run_search(
                controller,
                judge,
                parts.objectives,
                key=keys[name],
                evaluations=plain["evaluations"],
                study=study,
                name=name,
                progress=lambda done, bar=bar: bar.update(done - bar.n),  # type: ignore[misc]
            )
    volumes = {name: volume(judged, parts.objectives, reference) for name, judged in found.items()}
    best = front(found[EVOLUTION], parts.objectives)
    for name, judged in found.items():
        console.say(f"{name:<10} {len(judged)} networks, hypervolume {volumes[name]:.4f}")
    console.say(f"{len(best)} networks on the front of the {EVOLUTION}")
    tracking.log({"search/front": len(best)})
    return {
        "found": found,
        "front": best,
        "reference": reference.tolist(),
        "hypervolume": volumes,
        "evaluations": len(found[EVOLUTION]),
    }


def supernet_and_prices(parts: Parts, supernet: Any, prices: Prices) -> Any:
    """A function that judges one architecture: its validation error by inherited weights, and its prices."""

    def judge(row: tuple[int, ...]) -> Judged:
        arch = np.array(row, np.int32)
        error = float(parts.judge(supernet, arch).val_error)
        measured = Cost(name="val_error", value=error, std=None, unit="1", kind="measured", target="")
        return Judged(arch=row, costs={"val_error": measured, **prices(arch)})

    return judge


def reference_point(parts: Parts, prices: Prices) -> np.ndarray:
    """The worst values of interest: guessing the class, and a tenth more than the largest network costs."""
    worst = {label: 1.1 * cost.value for label, cost in prices(largest(parts.space)).items()}
    worst["val_error"] = 1 - 1 / len(parts.data.class_names)
    return np.array([worst[o.label] for o in parts.objectives if o.minimised])


def volume(judged: Sequence[Judged], objectives: Sequence[Objective], reference: np.ndarray) -> float:
    """The hypervolume of the feasible networks, as a fraction of the box between the origin and the reference."""
    kept = [j for j, ok in zip(judged, feasible(judged, objectives), strict=True) if ok]
    return hypervolume(cost_matrix(kept, objectives), reference) / float(reference.prod()) if kept else 0.0


def _answer(
    plain: dict[str, Any],
    parts: Parts,
    params: Any,
    prices: Prices,
    searched: dict[str, Any],
    store: MeasurementStore,
    identity: dict[str, Any],
    folder: Path,
    keys: Mapping[str, Any],
    console: Console,
) -> dict[str, Any]:
    """Finishes three networks, measures the front again, and writes the winners' folders."""
    best: list[Judged] = searched["front"]
    minimised = [o.label for o in parts.objectives if o.minimised]
    error = "val_error" if "val_error" in minimised else minimised[0]
    speed = next((label for label in minimised if label.startswith("latency_ms")), minimised[-1])
    chosen = choose(best, error, speed)
    tune = plain["fine_tune"]
    finished = {}
    with console.bar(len(chosen), "finishing", "network") as bar:
        for i, (role, judged) in enumerate(chosen.items()):
            finished[role] = finish(
                parts.trainer,
                parts.judge,
                params,
                np.array(judged.arch, np.int32),
                jax.random.fold_in(keys["tune"], i),
                epochs=tune["epochs"],
                learning_rate=tune["learning_rate"],
            )
            bar.update()
    measured = _measure_front(plain, parts, params, best, list(chosen.values()), store, identity, console)
    runtime = OnnxRuntime(threads=1)
    networks = []
    for role, judged in chosen.items():
        done, arch = finished[role], np.array(judged.arch, np.int32)
        layers = parts.space.layers(arch)
        model = to_onnx(layers, weights(done.extracted))
        images = np.asarray(_test_images(parts)).transpose(0, 3, 1, 2)
        difference = float(np.abs(runtime.run(runtime.prepare(model), images) - done.logits).max())
        costs = [
            *(cost.to_dict() for label, cost in judged.costs.items() if label not in ("val_error", "macs", "params")),
            *([measured[judged.arch].to_dict()] if judged.arch in measured else []),
        ]
        facts = {
            "role": role,
            "test_accuracy": done.test_accuracy,
            "inherited_test_accuracy": done.inherited_test_accuracy,
            "val_error": done.val_error,
            "fine_tuned": done.fine_tuned,
            "costs": costs,
            "params": total_params(layers),
            "macs": total_macs(layers),
            "onnx_max_abs_diff": difference,
            "masked_max_abs_diff": done.masked_max_abs_diff,
        }
        save(
            folder / "networks" / role.replace(" ", "_"),
            done.extracted,
            model.SerializeToString(),
            space=parts.space,
            arch=judged.arch,
            data=parts.data,
            facts={**facts, "seed": plain["seed"], **{n: identity[n] for n in ("commit", "versions", "device", "run")}},
        )
        networks.append(
            {
                **facts,
                "arch": list(judged.arch),
                "folder": f"networks/{role.replace(' ', '_')}",
                "options": options(parts.space, arch),
            }
        )
    return {
        "networks": networks,
        "front": [
            {
                "arch": list(judged.arch),
                "costs": [
                    *({"label": label, **cost.to_dict()} for label, cost in judged.costs.items()),
                    *(
                        [{"label": f"latency_ms@{parts.target.name}", **measured[judged.arch].to_dict()}]
                        if judged.arch in measured
                        else []
                    ),
                ],
            }
            for judged in best
        ],
    }


def _test_images(parts: Parts) -> Any:
    return normalise(parts.data.test.images, parts.data)


def _measure_front(
    plain: dict[str, Any],
    parts: Parts,
    params: Any,
    best: list[Judged],
    chosen: list[Judged],
    store: MeasurementStore,
    identity: dict[str, Any],
    console: Console,
) -> dict[tuple[int, ...], Cost]:
    """Measured latencies of the front (its most telling part where it is long), taken anew for this run."""
    if not parts.target.measurable:
        return {}
    count = min(plain["measuring"]["front"], len(best))
    evenly = [best[round(i)] for i in np.linspace(0, len(best) - 1, count)]
    archs = list(dict.fromkeys(j.arch for j in [*chosen, *evenly]))
    supernet = parts.trainer.network(params)
    networks: dict[str, Network] = {}
    for row in archs:
        arch = np.array(row, np.int32)
        extracted = extract(parts.space, supernet, arch, parts.judge(supernet, arch).stats)
        networks[str(row)] = (parts.space.layers(arch), weights(extracted))
    # On the scale of the measurements that the predictor learned from: the machine may be slower or faster by now.
    scale = reference_time(parts.target, store, None if plain["measuring"]["reuse"] else f"{identity['run']}/sample")
    costs = _timed(parts.target, networks, store, f"{identity['run']}/front", False, console, scale)
    return dict(zip(archs, costs, strict=True))


def _say_data(parts: Parts) -> str:
    data = parts.data
    return (
        f"{data.name}: {len(data.train.labels):,} train, {len(data.val.labels):,} val, {len(data.test.labels):,} test"
        f" images of {data.image_size}x{data.image_size}x{data.image_channels}, {len(data.class_names)} classes"
    )


def _data_summary(data: Dataset) -> dict[str, Any]:
    return {
        "name": data.name,
        "image_size": data.image_size,
        "fingerprint": data.fingerprint,
        **{name: len(getattr(data, name).labels) for name in ("train", "val", "test")},
    }


def _target_summary(target: Target, parts: Parts, predicted: bool) -> dict[str, Any]:
    """What this run knows of a target, and of what kind each cost is."""
    kinds = {name: cost.kind for name, cost in target.modelled(parts.space.layers(largest(parts.space))).items()}
    if predicted and target.name == parts.target.name:
        kinds["latency_ms"] = "predicted, and measured on the front"
    return {"precision": target.precision, "threads": target.threads, "costs": kinds, "limits": target.limits}


def _predictor_summary(
    plain: dict[str, Any], fitted: Fitted | None, sampled: np.ndarray, costs: list[Cost], parts: Parts
) -> dict[str, Any] | None:
    if fitted is None:
        return None
    v, m = fitted.validation, fitted.macs
    return {
        "name": plain["predictor"]["_target_"].rpartition(".")[2],
        **{name: getattr(v, name) for name in ("spearman", "kendall", "mape", "within_5", "within_10", "networks")},
        **{f"macs_{name}": getattr(m, name) for name in ("spearman", "kendall", "mape", "within_5", "within_10")},
        "folds": plain["measuring"]["folds"],
        "points": [
            {
                "measured": cost.value,
                "std": cost.std,
                "predicted": float(v.predicted[i]),
                "macs_predicted": float(m.predicted[i]),
                "macs": total_macs(parts.space.layers(sampled[i])),
            }
            for i, cost in enumerate(costs)
        ],
    }


def _say_answer(summary: dict[str, Any], folder: Path, console: Console) -> None:
    head = f"{'network':<14} {'test acc.':>9} {'latency_ms predicted':>21} {'measured':>17} {'energy_mj modelled':>19}"
    console.say(f"{head} {'params':>9} {'MACs':>11}")
    for network in summary["networks"]:
        costs = {(c["name"], c["kind"]): c for c in network["costs"] if c["target"] == summary["target"]}
        energy = next((c for c in network["costs"] if c["name"] == "energy_mj"), None)
        predicted, measured = costs.get(("latency_ms", "predicted")), costs.get(("latency_ms", "measured"))
        console.say(
            f"{network['role']:<14} {network['test_accuracy']:>9.4f}"
            f" {_with_std(predicted):>21} {_with_std(measured):>17}"
            f" {energy['value'] if energy else float('nan'):>19.3f} {network['params']:>9,} {network['macs']:>11,}"
        )
    seconds = sum(summary["seconds"].values())
    print(f"\n{seconds:.0f} s in all. Report: {folder / 'report.html'}", file=sys.stdout)


def _with_std(cost: dict[str, Any] | None) -> str:
    return "-" if cost is None else f"{cost['value']:.3f} +- {cost['std'] or 0:.3f}"

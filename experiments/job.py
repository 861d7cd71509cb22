"""The main job: data, supernet, measure, learn, search, answer, report; every step stored, so that it can go on."""

import shlex
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
from omegaconf import DictConfig, OmegaConf

from experiments.build import build
from experiments.console import Console
from experiments.environment import environment
from experiments.files import locked, read_json, write_json
from experiments.parts import Run, assemble, keys_of
from experiments.report import write_report
from experiments.resume import adopt, remember
from experiments.settings import check_settings
from experiments.steps.answer import answer
from experiments.steps.latency import learn_latency, measure_samples, prices_of
from experiments.steps.search import search
from experiments.steps.supernet import follow, train_supernet
from experiments.summary import last_lines, summarise
from nas.objective import check_reachable
from nas.training import Distributed, Trainer
from nas.training.devices import is_first, stop
from search_spaces.space import size

STEPS = 7


def run(
    config: DictConfig, folder: Path, overrides: Sequence[str], choices: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Runs the main job in a folder, from wherever the folder says it stands, and returns the summary.

    Args:
      config: as Hydra composed it.
      folder: made if need be; one that holds a finished run is answered with its summary at once.
      overrides: what the user typed.
      choices: the option chosen in each group, to call things by.

    Raises:
      ValueError: when a setting, a file or a bound cannot be met; one line says which and what to do.
      OSError: when the folder cannot be written.
    """
    config = adopt(config, overrides)
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportAssignmentType]
    check_settings(settings)
    typed = [override for override in overrides if not override.startswith(("resume=", "hydra.", "distributed."))]
    Distributed(**settings["distributed"]).start()
    if not is_first():
        return _follow(settings, folder)
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder))
            remember(folder, settings, typed)
        except OSError as error:
            raise OSError(
                f"`{folder}` cannot be written ({error.strerror}); choose another with output=<folder>"
            ) from error
        return _run(settings, folder, typed, choices or {})


def _follow(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """This process's share of a training that another one keeps; it writes nothing, and there is no summary of it."""
    with suppress(OSError):
        folder.rmdir()  # Hydra's; one that holds anything stays
    if settings["supernet"]["from"] is None:
        keys = keys_of(settings["seed"])
        follow(assemble(settings, keys["calibrate"]), keys)
    stop()
    return {}


def _run(settings: dict[str, Any], folder: Path, typed: list[str], choices: Mapping[str, str]) -> dict[str, Any]:
    if (folder / "summary.json").exists() and (folder / "report.html").exists():
        print(f"{folder} is finished; its report is {folder / 'report.html'}")
        return read_json(folder / "summary.json")
    if settings["compile_cache"]:
        jax.config.update("jax_compilation_cache_dir", str(Path(settings["compile_cache"]).expanduser()))

    identity = _identity(folder, settings, choices)
    console = Console(folder, STEPS)
    print(f"edgenas · {folder} · {identity['device']}", flush=True)
    keys = keys_of(settings["seed"])
    with console.step("data", settings["data"]["_target_"].rpartition(".")[2]):
        parts = assemble(settings, keys["calibrate"])
        data = parts.data
        counts = ", ".join(f"{len(getattr(data, name).labels):,} {name}" for name in ("train", "val", "test"))
        shape = f"{data.image_size}x{data.image_size}x{data.image_channels}"
        console.say(f"{data.name}: {counts} images of {shape}, {len(data.class_names)} classes")
    tracking = build(settings["tracking"], settings["plugins"])
    tracking.start(folder, settings)
    try:
        return _steps(
            Run(
                settings=settings,
                folder=folder,
                identity=identity,
                keys=keys,
                console=console,
                tracking=tracking,
                parts=parts,
            ),
            typed,
        )
    finally:
        tracking.finish()


def _identity(folder: Path, settings: Mapping[str, Any], choices: Mapping[str, str]) -> Mapping[str, Any]:
    """What the run is known by and ran in; made when it is started, and kept, with each change, when it goes on."""
    path, now = folder / "environment.json", environment()
    if not path.exists():
        source = settings["supernet"]["from"]
        named = read_json(Path(source) / "environment.json")["space"] if source else choices.get("search_space")
        space = named or settings["search_space"]["_target_"].rpartition(".")[2].lower()
        started = {"run": uuid.uuid4().hex[:12], "created": datetime.now(UTC).isoformat(), "space": space}
        write_json(path, {**started, **now, "resumed_with": []})
    identity = read_json(path)
    known = [{name: identity[name] for name in now}, *identity["resumed_with"]]
    if now != known[-1]:
        identity["resumed_with"].append(now)
        write_json(path, identity)
        print(f"note: versions, device or commit differ from when {folder} was started; both are in {path.name}")
    return identity


def _steps(run: Run, overrides: Sequence[str]) -> dict[str, Any]:
    parts, console, target = run.parts, run.console, run.parts.target.name
    with console.step("supernet", f"{run.identity['space']}, {size(parts.space):,} networks"):
        params, losses = train_supernet(run)
        if jax.process_count() > 1:  # what follows is done here alone
            stop()
            shared = parts.trainer
            trainer = Trainer(parts.space, shared.settings, parts.data, shared.given_teacher, alone=True)
            parts = replace(parts, trainer=trainer)
            run = replace(run, parts=parts)
        supernet = parts.trainer.network(params)
    with console.step("measure", f"sampled networks on {target}"):
        sampled, costs = measure_samples(run, supernet)
    with console.step("learn", f"latency on {target}"):
        fitted = learn_latency(run, sampled, costs)
        prices = prices_of(run, fitted)
        check_reachable(parts.space, prices, parts.objectives)
    with console.step("search", f"{run.settings['evaluations']} networks by each search"):
        searched = search(run, supernet, prices)
    with console.step("answer", "three networks of the front"):
        networks, front = answer(run, params, searched.front)
    summary = summarise(
        run,
        losses=losses,
        sampled=sampled,
        costs=costs,
        fitted=fitted,
        searched=searched,
        networks=networks,
        front=front,
        command=shlex.join(["edgenas", *overrides]),
    )
    with console.step("report", str(run.folder / "report.html")):
        write_json(run.folder / "summary.json", summary)
        write_report(run.folder)
    summary["seconds"] = dict(console.seconds)
    write_json(run.folder / "summary.json", summary)
    for line in last_lines(summary):
        console.say(line)
    print(f"\n{sum(console.seconds.values()):.0f} s in all. Report: {run.folder / 'report.html'}", flush=True)
    return summary

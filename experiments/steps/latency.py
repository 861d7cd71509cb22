"""Steps: measure sampled networks on the target, and learn its latency from them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from experiments.files import read_json, write_json
from experiments.parts import Run
from experiments.profile_file import read_profile
from hardware.costs.cost import Cost
from hardware.measuring.campaign import Outcome, measure_networks, reference_time
from hardware.runtimes.artifact import Network
from nas.objective import Prices
from nas.profiling import Fitted, learn, spread
from search_spaces.extract import extract, weights

MEASURED = "measured.json"
"""The run's own copy of what its predictor learned from, and of the reference network's time on that scale."""


def measure_samples(run: Run, supernet: Any) -> tuple[Int[np.ndarray, "networks choices"], list[Cost]]:
    """Sampled architectures and their measured latencies; none where the target cannot be run from this machine."""
    target, space, console = run.parts.target, run.parts.space, run.console
    if not target.measurable:
        console.say(f"{target.name} cannot be run from this machine: its costs are modelled, none is measured")
        return np.zeros((0, len(space.choices)), np.int32), []
    path, profile = run.folder / MEASURED, run.settings["measuring"]["profile"]
    if profile is not None and not path.exists():
        write_json(path, read_profile(Path(profile), run.settings["plugins"]).measured(space, target.name))
    if path.exists():
        kept = read_json(path)
        console.say(f"{len(kept['archs'])} networks measured before, from {profile or path}")
        return np.array(kept["archs"], np.int32), [Cost(**cost) for cost in kept["costs"]]
    sampled = spread(run.keys["sample"], space, run.settings["measuring"]["networks"])
    networks: dict[str, Network] = {}
    with console.bar(len(sampled), "extracting", "network") as bar:
        for i, arch in enumerate(sampled):
            networks[f"sample {i}"] = network_of(run, supernet, arch)
            bar.update()
    reuse, folds = run.settings["measuring"]["reuse"], run.settings["measuring"]["folds"]
    found = measured(run, networks, "sample", reuse=reuse)
    kept = [i for i in range(len(sampled)) if f"sample {i}" in found.costs]
    for failure in list(found.failures.values())[:1]:
        if len(kept) < folds:
            raise ValueError(
                f"{len(kept)} of {len(sampled)} networks could be measured, fewer than `measuring.folds`={folds}:"
                f" {failure.reason}"
            )
        console.say(f"{len(found.failures)} networks could not be measured, the first: {failure.reason}")
    sampled, costs = sampled[kept], [found.costs[f"sample {i}"] for i in kept]
    scale = reference_time(target, run.store, None if reuse else campaign_of(run, "sample"))
    # Kept with the run: what it learned from must not change when it goes on, whatever becomes of the shared store.
    write_json(path, {"archs": sampled.tolist(), "costs": [cost.to_dict() for cost in costs], "reference_ms": scale})
    values = np.array([cost.value for cost in costs])
    spreads = np.array([(cost.std or 0) / cost.value for cost in costs])
    console.say(
        f"{len(values)} networks measured: {values.min():.3f} to {values.max():.3f} ms,"
        f" spread {100 * np.median(spreads):.1f} % (median)"
    )
    return sampled, costs


def campaign_of(run: Run, name: str) -> str:
    """What a go at measuring is called in the store: the run's own id stands before it."""
    return f"{run.identity['run']}/{name}"


def network_of(run: Run, supernet: Any, arch: Int[np.ndarray, " choices"]) -> Network:
    """An architecture's layers, and its weights as the supernet has them, batch norm recalibrated."""
    stats = run.parts.judge(supernet, arch).stats
    return run.parts.space.layers(arch), weights(extract(run.parts.space, supernet, arch, stats))


def measured(
    run: Run, networks: Mapping[str, Network], campaign: str, *, reuse: bool, reference_ms: float | None = None
) -> Outcome:
    """Measured costs of networks on the run's target; a campaign is known by the run's own id."""
    asked = len(networks) * (1 if run.parts.target.meter is None else 2)
    with run.console.bar(asked, "measuring", "cost") as bar:

        def progress(done: int, _: int) -> None:
            bar.update(done - bar.n)

        return measure_networks(
            run.parts.target,
            networks,
            run.store,
            campaign=campaign_of(run, campaign),
            reuse=reuse,
            reference_ms=reference_ms,
            progress=progress,
        )


def learn_latency(run: Run, sampled: Int[np.ndarray, "networks choices"], costs: list[Cost]) -> Fitted | None:
    """The fitted predictor and its cross-validation; None where nothing was measured."""
    if not costs:
        run.console.say("nothing was measured, so nothing is learned")
        return None
    predictor, folds = run.build("predictor"), run.settings["measuring"]["folds"]
    fitted = learn(predictor, [run.parts.space.layers(a) for a in sampled], costs, folds, run.settings["seed"])
    run.console.say(f"{folds}-fold cross-validation, pooled:   Spearman    MAPE   within 10 %")
    for name, v in ((type(predictor).__name__, fitted.validation), ("linear in MACs", fitted.macs)):
        run.console.say(f"  {name:<32} {v.spearman:>8.3f}  {v.mape:>5.1f} %  {100 * v.within_10:>8.0f} %")
    run.tracking.log({"predictor/spearman": fitted.validation.spearman, "predictor/mape": fitted.validation.mape})
    return fitted


def prices_of(run: Run, fitted: Fitted | None) -> Prices:
    """The costs that need no running: predicted where something was learned, else modelled."""
    predictors = {run.parts.target.name: (run.build("predictor"), fitted.weights)} if fitted else {}
    return Prices(run.parts.space, run.parts.targets, predictors)

"""Step: three networks of the front, fine-tuned, tested, exported, measured, and saved for use."""

from typing import Any

import jax
import numpy as np

from experiments.files import read_json
from experiments.parts import Run
from experiments.steps.exports import FLOAT, PARITY, Seen, export
from experiments.steps.exports import judged as judged_file
from experiments.steps.latency import MEASURED, measured, network_of
from experiments.winner import save
from hardware.costs.cost import Cost
from hardware.runtimes.artifact import Network
from hardware.runtimes.onnx_runtime import OnnxRuntime
from nas.objective import Judged
from nas.winners import Finished, choose, finish
from search_spaces.extract import weights
from search_spaces.layers import total_macs, total_params
from search_spaces.space import options
from search_spaces.static import fixed_of, input_size

NOT_SHOWN = ("val_error", "macs", "params")  # these stand beside the costs


def answer(run: Run, params: Any, best: list[Judged]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Finishes three networks, measures the front anew and saves the winners.

    Returns:
      What the summary says of the three networks, and of the whole front.
    """
    minimised = [o.label for o in run.parts.objectives if o.minimised]
    error = "val_error" if "val_error" in minimised else minimised[0]
    speed = next((label for label in minimised if label.startswith("latency_ms")), minimised[-1])
    chosen = choose(best, error, speed)
    finished: dict[str, Finished] = {}
    with run.console.bar(len(chosen), "finishing", "network") as bar:
        for i, (role, judged) in enumerate(chosen.items()):
            finished[role] = finish(
                run.parts.trainer,
                run.parts.judge,
                params,
                np.array(judged.arch, np.int32),
                jax.random.fold_in(run.keys["tune"], i),
                **run.settings["fine_tune"],
            )
            bar.update()
    anew = _measure_front(run, params, best, list(chosen.values()))
    networks: list[dict[str, Any]] = []
    with run.console.bar(len(chosen), "exporting", "network") as bar:
        for role, judged in chosen.items():
            networks.append(_deliver(run, role, judged, finished[role], anew))
            bar.update()
    return networks, [_front_row(run, judged, anew) for judged in best]


Measured = dict[tuple[int, ...], list[Cost]]
"""Measured costs by architecture."""


def _measure_front(run: Run, params: Any, best: list[Judged], chosen: list[Judged]) -> Measured:
    """Latencies of the front (evenly picked where it is long), measured anew for this run; energies, with a meter."""
    if not run.parts.target.measurable:
        return {}
    count = min(run.settings["measuring"]["front"], len(best))
    evenly = [best[round(i)] for i in np.linspace(0, len(best) - 1, count)]
    archs = list(dict.fromkeys(judged.arch for judged in [*chosen, *evenly]))
    supernet = run.parts.trainer.network(params)
    networks: dict[str, Network] = {str(arch): network_of(run, supernet, np.array(arch, np.int32)) for arch in archs}
    # On the scale of the measurements that the predictor learned from: the machine may be slower or faster by now.
    scale = read_json(run.folder / MEASURED)["reference_ms"]
    found = measured(run, networks, "front", reuse=False, reference_ms=scale)
    for name, failure in {**found.failures, **found.energy_failures}.items():
        run.console.say(f"{name} was not measured: {failure.reason}")
    return {arch: [got[str(arch)] for got in (found.costs, found.energies) if str(arch) in got] for arch in archs}


def _deliver(run: Run, role: str, judged: Judged, done: Finished, anew: Measured) -> dict[str, Any]:
    """Exports one network, checks the ONNX against JAX, saves its folder, and says what it is worth."""
    arch, space = np.array(judged.arch, np.int32), run.parts.space
    layers = space.layers(arch)
    network, runtime = (layers, weights(done.extracted)), OnnxRuntime(threads=1)
    seen = Seen.of(run.parts.data, input_size(space, fixed_of(space, arch)))
    model = runtime.prepare(*network)
    logits = seen.logits(runtime, model)
    difference = float(np.abs(logits - done.logits).max())
    if not difference <= PARITY:  # or it is no number
        raise ValueError(f"the ONNX of `{role}` differs from JAX by {difference:.2g}, more than {PARITY}; report this")
    files, models = [judged_file(FLOAT, model, runtime, logits, seen.labels)], {"model.onnx": model.content}
    for artifact, said in export(run.settings["exports"], network, seen, logits):
        files.append(said)
        if artifact is None:
            run.console.say(f"`{role}` has no {said['export']}: {said['failure']}")
        else:
            models[said["file"]] = artifact.content
    costs = [cost.to_dict() for label, cost in judged.costs.items() if label not in NOT_SHOWN]
    costs += [cost.to_dict() for cost in anew.get(judged.arch, [])]
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
        "files": files,
    }
    folder = f"networks/{role.replace(' ', '_')}"
    made_by = {name: run.identity[name] for name in ("run", "commit", "versions", "device")}
    save(
        run.folder / folder,
        done.extracted,
        models,
        space=space,
        arch=judged.arch,
        data=run.parts.data,
        facts={**facts, "seed": run.settings["seed"], **made_by},
    )
    return {**facts, "arch": list(judged.arch), "folder": folder, "options": options(space, arch)}


def _front_row(run: Run, judged: Judged, anew: Measured) -> dict[str, Any]:
    costs = [{"label": label, **cost.to_dict()} for label, cost in judged.costs.items()]
    for cost in anew.get(judged.arch, []):
        costs.append({"label": f"{cost.name}@{run.parts.target.name}", **cost.to_dict()})
    return {"arch": list(judged.arch), "costs": costs}

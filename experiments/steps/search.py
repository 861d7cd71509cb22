"""Step: the search, and random search beside it with as many evaluations."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.parts import Parts, Run
from hardware.costs.cost import Cost
from nas.objective import Judged, Objective, Prices, cost_matrix, feasible
from nas.pareto import hypervolume
from nas.search.loop import run_search
from nas.search.protocol import Search
from nas.search.random_search import RandomSearch
from nas.study import Study
from nas.winners import front
from search_spaces.space import largest

YARDSTICK = "random"
"""The name of random search in the study; the other is called by its class."""


class Searched(NamedTuple):
    """What both searches found.

    Attributes:
      front: networks of the first search that no other of it beats.
      reference: the worst values of interest, one an objective.
      hypervolume: by search, in parts of the box from the origin to the reference.
      evaluations: distinct networks judged, by search.
    """

    front: list[Judged]
    reference: list[float]
    hypervolume: dict[str, float]
    evaluations: dict[str, int]


def search(run: Run, supernet: Any, prices: Prices) -> Searched:
    """Runs both searches, each from wherever the study says it stands.

    Raises:
      ValueError: when no judged network keeps all bounds.
    """
    parts, console, evaluations = run.parts, run.console, run.settings["evaluations"]
    controller = run.build("search", space=parts.space)
    controllers = both(controller)
    first = next(iter(controllers))
    sources = {
        "measured": "supernet's weights, recalibrated, on the validation split",
        "predicted": run.settings["predictor"]["_target_"],
        "modelled": "hardware model of the target",
    }
    study = Study(run.folder / "study.sqlite", sources)
    judge = judge_of(parts, supernet, prices)
    reference = reference_point(parts, prices)
    found: dict[str, list[Judged]] = {}
    for name, each in controllers.items():
        with console.bar(evaluations, name, "network") as bar:

            def progress(done: int, bar: Any = bar) -> None:
                bar.update(done - bar.n)

            found[name] = run_search(
                each,
                judge,
                parts.objectives,
                key=run.keys["search" if name == first else YARDSTICK],
                evaluations=evaluations,
                study=study,
                name=name,
                progress=progress,
            )
    volumes = {name: volume(judged, parts.objectives, reference) for name, judged in found.items()}
    best = front(found[first], parts.objectives)
    for name, judged in found.items():
        console.say(f"{name:<10} {len(judged)} networks, hypervolume {volumes[name]:.4f}")
    console.say(f"{len(best)} networks on the front of {first}")
    run.tracking.log({f"hypervolume/{name}": value for name, value in volumes.items()})
    counts = {name: len(judged) for name, judged in found.items()}
    return Searched(best, reference.tolist(), volumes, counts)


def both(controller: Search) -> dict[str, Search]:
    """The search that was asked for, by the name of its class, and random search as its yardstick."""
    yardstick = RandomSearch(space=controller.space, pop_size=controller.pop_size)
    return {type(controller).__name__.lower(): controller, YARDSTICK: yardstick}


def judge_of(parts: Parts, supernet: Any, prices: Prices) -> Callable[[tuple[int, ...]], Judged]:
    """Judges one architecture: its validation error with inherited weights, and its prices."""

    def judge(row: tuple[int, ...]) -> Judged:
        arch = np.array(row, np.int32)
        error = float(parts.judge(supernet, arch).val_error)
        measured = Cost(name="val_error", value=error, std=None, unit="1", kind="measured", target="")
        return Judged(arch=row, costs={"val_error": measured, **prices(arch)})

    return judge


def reference_point(parts: Parts, prices: Prices) -> Float[np.ndarray, " objectives"]:
    """The worst values of interest: guessing the class, and a tenth more than the largest network costs."""
    worst = {label: 1.1 * cost.value for label, cost in prices(largest(parts.space)).items()}
    worst["val_error"] = 1 - 1 / len(parts.data.class_names)
    return np.array([worst[o.label] for o in parts.objectives if o.minimised])


def volume(
    judged: Sequence[Judged], objectives: Sequence[Objective], reference: Float[np.ndarray, " objectives"]
) -> float:
    """The hypervolume of the feasible networks, in parts of the box from the origin to the reference."""
    kept = [j for j, ok in zip(judged, feasible(judged, objectives), strict=True) if ok]
    return hypervolume(cost_matrix(kept, objectives), reference) / float(reference.prod()) if kept else 0.0

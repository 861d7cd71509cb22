"""Latency models of devices from published times of networks, with the error of families that were left out."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import kendalltau

from hardware.model.fitted import Fitted
from hardware.model.fitting import Evidence, fit
from hardware.model.work import TERMS, work
from hardware.tables.published import Group, Measured

FEWEST = 6
"""Networks that a group must have timed: below, its error cannot be told."""

DOUBT = {"high": 1.0, "medium": 2.0, "low": 4.0}
"""How many times noisier a row is held to be, by its confidence."""

Times = Mapping[Group, Sequence[Measured]]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """All published times, one row each.

    Attributes:
      evidence: what a fit reads.
      families: of the networks, as numbers.
      group: of each row, its position among `groups`.
      groups: in order.
    """

    evidence: Evidence
    families: Int[np.ndarray, " rows"]
    group: Int[np.ndarray, " rows"]
    groups: tuple[Group, ...]


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How near a group's rows were predicted, each without its network's family.

    Attributes:
      rows: networks.
      families: of these.
      median_ape: the median of |predicted / published - 1|.
      kendall: rank correlation of predicted and published times (tau-b).
      relative_std: root of the mean square of ln(predicted / published).
    """

    rows: int
    families: int
    median_ape: float
    kendall: float
    relative_std: float


def rows_of(times: Times) -> Rows:
    """The times as rows: those of groups of few networks too, which say something of devices that are like them."""
    groups = tuple(times)
    every = [(position, each) for position, group in enumerate(groups) for each in times[group]]
    done: dict[str, np.ndarray] = {}
    for _, each in every:
        if each.meaning.name not in done:
            done[each.meaning.name] = work(each.meaning.layers())
    at = np.array([position for position, _ in every])
    return Rows(
        evidence=Evidence(
            work=np.stack([done[each.meaning.name] for _, each in every]),
            log_ms=np.log([each.latency_ms for _, each in every]),
            labels=_labels(groups)[at],
            network=_numbered([each.meaning.name for _, each in every]),
            doubt=np.array([DOUBT[each.confidence] for _, each in every]),
        ),
        families=_numbered([each.meaning.family for _, each in every]),
        group=at,
        groups=groups,
    )


def _labels(groups: Sequence[Group]) -> Int[np.ndarray, "groups levels"]:
    """What the groups have in common, at each of the fit's levels."""
    levels: tuple[Callable[[Group], str], ...] = (
        lambda _: "all",
        lambda group: group.unit,
        lambda group: group.software,
        lambda group: f"{group.software}, {'several threads' if group.threads > 1 else 'one'}",
        lambda group: group.chip.removesuffix(" CPU").removesuffix(" GPU"),
        lambda group: repr(group),
    )
    return np.stack([_numbered([level(group) for group in groups]) for level in levels], 1)


def _numbered(names: Sequence[str]) -> Int[np.ndarray, " names"]:
    return np.unique(list(names), return_inverse=True)[1]


def validation(
    predicted: Float[np.ndarray, " rows"], published: Float[np.ndarray, " rows"], families: int
) -> Validation:
    """How near the predictions of a group's rows are."""
    ratio = predicted / published
    tau = float(np.asarray(kendalltau(predicted, published))[0])  # nan where all predictions are equal
    return Validation(
        rows=len(ratio),
        families=families,
        median_ape=float(np.median(np.abs(ratio - 1))),
        kendall=tau if math.isfinite(tau) else 0.0,
        relative_std=float(np.sqrt(np.mean(np.log(ratio) ** 2))),
    )


def enough(times: Times) -> tuple[Group, ...]:
    """The groups whose error can be told: of so many networks, and of two families at least."""
    return tuple(
        group
        for group, timed in times.items()
        if len(timed) >= FEWEST and len({each.meaning.family for each in timed}) > 1
    )


def fitted(rows: Rows, predicted: Float[np.ndarray, " rows"], times: Times) -> dict[Group, Fitted]:
    """The latency models of all groups whose error can be told.

    Args:
      rows: of the times.
      predicted: the time of each row in ms, its network's family left out.
      times: that the rows are of.
    """
    found_costs = fit(rows.evidence)
    published = np.exp(rows.evidence.log_ms)
    found = {}
    for group in enough(times):
        mine = rows.group == rows.groups.index(group)
        costs_ns = np.exp(found_costs.log_costs(rows.evidence.labels[mine][:1]))[0] * 1e6
        found[group] = Fitted(
            measured_on=f"{group.device} ({group.chip}), {group.runtime}, {group.precision}",
            precisions=group.precisions,
            threads=group.threads,
            costs_ns={name: float(f"{cost:.4g}") for name, cost in zip(TERMS, costs_ns, strict=True)},
            **dataclasses.asdict(validation(predicted[mine], published[mine], len(np.unique(rows.families[mine])))),
        )
    return found

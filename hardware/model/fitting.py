"""Costs of a network's terms, fitted to published times of few networks on many devices at once.

Ten times of one device cannot tell some twenty costs apart. Devices that run alike have like costs, though: what is
known before (`TERMS`), all devices, those of a unit, of a software, of as many threads, of a chip and at last the one
group each say how the one before them is to be corrected, as far as their times ask for it.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

from hardware.model.work import TERMS

LEVELS = ("all", "unit", "software", "threads", "chip", "group")
"""From the widest to the narrowest: rows that have the same label at a level share its corrections."""

UNIT_MS = 1e-7
"""What one pointwise MAC is held to take before anything is measured: 10^10 a second; a group's scale is free."""

ENOUGH = 0.05
"""A fit ends when an iteration makes it more probable by no more, as a natural logarithm."""

MOST_ITERATIONS = 30

SCALE = 9.0
"""Variance of the logarithm of a group's scale: nothing is known of it."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How much costs differ: variances of their natural logarithms.

    Attributes:
      levels: of each cost, of what a level corrects, by level.
      together: of all costs of traffic together, and of all calls, at the level of `threads`: memory is not faster
        where arithmetic is.
      network: of what the terms leave out of a network, the same on all devices.
      noise: of one row of high confidence.
    """

    levels: Mapping[str, float]
    together: float = 0.1
    network: float = 0.0005
    noise: float = 0.01

    def __post_init__(self) -> None:
        if set(self.levels) != set(LEVELS):
            raise ValueError(f"`levels` must name {', '.join(LEVELS)}; got {', '.join(self.levels)}")


NARROW = {"software": 0.3, "threads": 0.3, "chip": 0.3, "group": 0.03}
SPREADS = tuple(Spread(levels={"all": wide, "unit": wide, **NARROW}) for wide in (0.03, 0.1, 0.3))
"""Those that a fit averages over, by how far what was known before is trusted: none is chosen by its error."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Published times, each of one network on one group's device.

    Attributes:
      work: how much of each term the row's network asks for.
      log_ms: natural logarithm of its time.
      labels: of the row at each of the `LEVELS`; the last tells groups apart.
      network: tells networks apart.
      doubt: how many times noisier the row is than one of high confidence.
    """

    work: Float[np.ndarray, "rows terms"]
    log_ms: Float[np.ndarray, " rows"]
    labels: Int[np.ndarray, "rows levels"]
    network: Int[np.ndarray, " rows"]
    doubt: Float[np.ndarray, " rows"]

    def where(self, kept: Bool[np.ndarray, " rows"]) -> "Evidence":
        """Only some rows: nothing of the others is left."""
        return Evidence(**{each.name: getattr(self, each.name)[kept] for each in dataclasses.fields(self)})


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Costs that were found: of the fits under each spread, the mean of logarithms.

    Attributes:
      labels: of the rows that it was fitted to.
      spreads: how much costs may differ, in each fit.
      pulls: of each fit, how hard each row pulls at each cost; all that a fit is.
    """

    labels: Int[np.ndarray, "rows levels"]
    spreads: tuple[Spread, ...]
    pulls: tuple[Float[np.ndarray, "rows terms"], ...]

    def log_costs(self, labels: Int[np.ndarray, "asked levels"]) -> Float[np.ndarray, "asked terms"]:
        """Natural logarithm of what each term costs, in ms, on devices of these labels, fitted to or not."""
        fits = zip(self.spreads, self.pulls, strict=True)
        return np.mean([_log_costs(pulls, _shared(labels, self.labels, spread)) for spread, pulls in fits], 0)

    def latency_ms(
        self, labels: Int[np.ndarray, "asked levels"], work: Float[np.ndarray, "asked terms"]
    ) -> Float[np.ndarray, " asked"]:
        """The time of each network on the device of its labels."""
        return np.exp(_log_time(self.log_costs(labels), work))


PRIOR = np.log([term.prior * UNIT_MS for term in TERMS.values()])
TOGETHER = np.array([[term.kind == kind for kind in ("traffic", "calls")] for term in TERMS.values()], float)

Shares = tuple[Float[np.ndarray, "a b"], Float[np.ndarray, "a b"], Float[np.ndarray, "a b"]]
"""Covariances between rows: of each cost, of the costs that differ together, of the scale."""


def _shared(a: Int[np.ndarray, "a levels"], b: Int[np.ndarray, "b levels"], spread: Spread) -> Shares:
    alike = {name: (a[:, None, i] == b[None, :, i]).astype(float) for i, name in enumerate(LEVELS)}
    each = sum((spread.levels[name] * alike[name] for name in LEVELS), np.zeros((len(a), len(b))))
    return each, spread.together * alike["threads"], SCALE * alike["group"]


def _log_costs(pulls: Float[np.ndarray, "b terms"], shares: Shares) -> Float[np.ndarray, "a terms"]:
    each, together, scale = shares
    return PRIOR + each @ pulls + together @ (pulls @ TOGETHER) @ TOGETHER.T + (scale @ pulls.sum(1))[:, None]


def _log_time(costs: Float[np.ndarray, "a terms"], work: Float[np.ndarray, "a terms"]) -> Float[np.ndarray, " a"]:
    largest = costs.max(1)  # taken out, so that no exponential is too large
    return largest + np.log((np.exp(costs - largest[:, None]) * work).sum(1))


def fit(evidence: Evidence, spreads: tuple[Spread, ...] = SPREADS) -> Fit:
    """The most probable costs, given the times, under each spread.

    The logarithm of a time is taken to be that of the sum of costs times work, plus what the terms leave out of the
    network and noise; the logarithms of costs are normal about the prior, with the covariances that `Spread` says.

    Args:
      evidence: the times.
      spreads: how much costs may differ.

    Raises:
      ValueError: when there are no rows.

    References:
      Gaussian Processes for Machine Learning (ISBN 026218253X), sections 2.7 and 3.4: a hierarchy of corrections as
      covariances between rows, and the most probable values by Newton's steps in as many numbers as there are rows.
      Differs: the likelihood's curvature is Gauss-Newton's, as the logarithm of a sum bends little.
    """
    if not len(evidence.log_ms):
        raise ValueError("costs are fitted to times, and there are none")
    with threadpool_limits(1, "blas"):  # on a busy machine, threads that wait for each other took 20 times as long
        pulls = tuple(_most_probable(evidence, spread) for spread in spreads)
    return Fit(labels=evidence.labels, spreads=spreads, pulls=pulls)


def _most_probable(evidence: Evidence, spread: Spread) -> Float[np.ndarray, "rows terms"]:
    shares = _shared(evidence.labels, evidence.labels, spread)
    same = evidence.network[:, None] == evidence.network
    noise = spread.network * same + np.diag(spread.noise * evidence.doubt**2)
    noise_factor = cho_factor(noise, lower=True)

    def improbable(pulls: np.ndarray, costs: np.ndarray) -> float:
        left = evidence.log_ms - _log_time(costs, evidence.work)
        return 0.5 * float((pulls * (costs - PRIOR)).sum() + left @ cho_solve(noise_factor, left))

    pulls = np.zeros(evidence.work.shape)
    costs = _log_costs(pulls, shares)
    value = improbable(pulls, costs)
    for _ in range(MOST_ITERATIONS):
        log_time = _log_time(costs, evidence.work)
        part = np.exp(costs - log_time[:, None]) * evidence.work  # derivative of a time's logarithm by each cost's
        part_together = part @ TOGETHER
        each, together, scale = shares
        covariance = (part @ part.T) * each + (part_together @ part_together.T) * together + scale + noise
        factor = cho_factor(covariance, lower=True)
        left = evidence.log_ms - log_time + (part * (costs - PRIOR)).sum(1)
        wanted = part * cho_solve(factor, left)[:, None]
        for length in 0.5 ** np.arange(10):
            tried = (1 - length) * pulls + length * wanted
            tried_costs = _log_costs(tried, shares)
            tried_value = improbable(tried, tried_costs)
            if tried_value < value:
                break
        else:
            break
        gain = value - tried_value
        pulls, costs, value = tried, tried_costs, tried_value
        if gain < ENOUGH:
            break
    return pulls


def families_out(
    evidence: Evidence, families: Int[np.ndarray, " rows"], spreads: tuple[Spread, ...] = SPREADS
) -> Float[np.ndarray, " rows"]:
    """The time of each row in ms, by a fit that no network of its family had a part in, on whatever device.

    Args:
      evidence: the times.
      families: of the rows' networks, as numbers.
      spreads: how much costs may differ.

    Raises:
      ValueError: when all rows are of one family, so that nothing is left to fit to.
    """
    names = np.unique(families)
    if len(names) < 2:
        raise ValueError("a fit is judged by leaving a family of networks out; the times are of one family only")
    found = np.zeros(len(families))
    for family in names:
        out = families == family
        asked = evidence.where(out)
        found[out] = fit(evidence.where(~out), spreads).latency_ms(asked.labels, asked.work)
    return found

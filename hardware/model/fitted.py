"""A latency model fitted to published times: every term of a network's work has its cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hardware.costs.precision import Precision
from hardware.model.device import Device
from hardware.model.work import TERMS, work
from search_spaces.layers import Layer


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The time for one image is the sum of a network's terms, each times its cost.

    It holds for the device, the software and the threads that it was fitted to, and no other; what it was not fitted to
    (attention, dilated convolutions) it takes from their arithmetic and traffic.

    Attributes:
      measured_on: device, runtime and precision, as the published table words them.
      precisions: that the wording leaves open; the times are those of whichever the runtime took.
      threads: that the times are of.
      costs_ns: what one of each of the `TERMS` takes, in ns.
      rows: published networks that it was fitted to.
      families: of these.
      median_ape: median of |predicted / published - 1| of these, each network's family left out of the fit.
      kendall: rank correlation of the same predictions with the published times.
      relative_std: root of the mean square of ln(predicted / published), likewise: what to expect of a network of
        another family.

    Raises:
      ValueError: on a cost below 0, or terms other than `TERMS`.
    """

    measured_on: str
    precisions: tuple[Precision, ...]
    threads: int
    costs_ns: Mapping[str, float]
    rows: int
    families: int
    median_ape: float
    kendall: float
    relative_std: float

    def __post_init__(self) -> None:
        if set(self.costs_ns) != set(TERMS):
            missing, unknown = sorted(set(TERMS) - set(self.costs_ns)), sorted(set(self.costs_ns) - set(TERMS))
            raise ValueError(f"`costs_ns` must name all terms of work; missing {missing}, unknown {unknown}")
        for name, cost in self.costs_ns.items():
            if not 0 <= cost < math.inf:
                raise ValueError(f"`costs_ns.{name}` must be 0 or more, got {cost}")

    def latency_ms(self, device: Device, layers: Sequence[Layer], precision: Precision, threads: int) -> float:
        """The time for one image, in ms, on the device that was measured; `device` is for other models to read.

        Raises:
          ValueError: on a precision or a number of threads that was not measured.
        """
        if precision not in self.precisions or threads != self.threads:
            raise ValueError(
                f"the latency model fitted on {self.measured_on} is of {' or '.join(self.precisions)} and"
                f" {self.threads} threads, not of {precision} and {threads}; use another, as"
                f" `latency_model@target.latency_model=typical_{device.kind}`"
            )
        costs = np.array([self.costs_ns[name] for name in TERMS])
        return float(costs @ work(layers)) * 1e-6

"""A roofline: each kernel takes what its arithmetic or its traffic takes, whichever is longer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from hardware.costs.kernels import KernelKind, kernels
from hardware.costs.precision import Precision
from hardware.model.device import Device
from hardware.model.traffic import traffic
from search_spaces.alive import alive
from search_spaces.layers import Layer


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """The time for one image is the sum over its kernels; they do not overlap.

    A kernel reads its inputs and weights and writes its output once, from and to the memory where they are
    (`traffic.py`), and takes an overhead besides.

    Attributes:
      efficiency: share of the peak that each kind of kernel reaches; above 1 where an algorithm saves
        multiplications (Winograd). A kernel without MACs does one operation for each value it reads.
      parallel: what each further core adds, as a share of the first one's rate.
      kernel_overhead_s: what each kernel takes besides.
      source: what the figures were chosen from, and how sure they are.

    Raises:
      ValueError: on a figure that is not above 0, or a kind of kernel without efficiency.

    References:
      Roofline (doi:10.1145/1498765.1498785).
      Differs: the peak is scaled by an efficiency for each kind of kernel, chosen from published measurements.
    """

    efficiency: Mapping[str, float]
    parallel: float
    kernel_overhead_s: float
    source: str

    def __post_init__(self) -> None:
        kinds = set(get_args(KernelKind))
        if set(self.efficiency) != kinds:
            raise ValueError(f"`efficiency` must name {sorted(kinds)}, got {sorted(self.efficiency)}")
        for kind, value in self.efficiency.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"`efficiency.{kind}` must be above 0, got {value}")
        for name in ("parallel", "kernel_overhead_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` must be 0 or more, got {getattr(self, name)}")

    def latency_ms(self, device: Device, layers: Sequence[Layer], precision: Precision, threads: int = 1) -> float:
        """The time for one image, in ms.

        Raises:
          ValueError: when the device has no figures for this precision, or fewer cores.
        """
        device.check(precision, threads)
        rate = device.peak_macs_per_s(precision) * (1 + self.parallel * (threads - 1))
        near = (device.bytes_per_s_on_chip or device.bytes_per_s) * threads
        far = min(device.bytes_per_s, near)  # which comes to the cores through the chip's memory
        if device.bytes_per_s_on_chip is None:
            near = far
        run = kernels(alive(layers))
        seconds = 0.0
        for kernel, moved in zip(run, traffic(device, run, precision), strict=True):
            compute_s = kernel.operations / (rate * self.efficiency[kernel.kind])
            seconds += max(compute_s, moved.near / near + moved.far / far) + self.kernel_overhead_s
        return seconds * 1e3

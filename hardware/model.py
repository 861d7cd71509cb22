"""What a network should take on a device that is not here: a roofline for time, power and traffic for energy.

Both are formulas with a handful of figures, good for ranking networks of one family and for budgets with a margin;
`hardware/README.md` says how far they were from published measurements.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from hardware.kernels import Kernel, KernelKind, kernels
from search_spaces.alive import alive
from search_spaces.layers import Layer

Precision = Literal["fp32", "int8"]
BYTES: Mapping[str, int] = {"fp32": 4, "int8": 1}


@dataclass(frozen=True, kw_only=True)
class Device:
    """Figures of one device. Where each comes from, and how sure it is, stands in `sources`.

    Attributes:
      name: the device.
      clock_hz: of the cores.
      cores: how many.
      macs_per_cycle: peak multiply-accumulates a cycle of one core, by precision; a precision that is not here is not
        modelled.
      parallel: what each further core adds, as a share of the first one's rate.
      efficiency: share of the peak that each kind of kernel reaches; above 1 where an algorithm saves
        multiplications (Winograd). A kernel without MACs does one operation for each value it reads.
      bytes_per_s: what the memory gives, shared by all cores.
      on_chip_bytes: the cache or SRAM that a kernel's inputs, outputs and weights must fit to stay on the chip.
      kernel_overhead_s: what each kernel takes besides.
      idle_w: what the board draws at rest.
      core_w: what each busy core draws besides.
      pj_per_mac: energy of one multiply-accumulate, by precision.
      pj_per_byte_on_chip: energy of one byte to or from on-chip memory.
      pj_per_byte_off_chip: energy of one byte to or from off-chip memory.
      sources: for each figure, its source and how sure it is.

    Raises:
      ValueError: on a figure that is not above 0, or a kind of kernel without efficiency.
    """

    name: str
    clock_hz: float
    cores: int
    macs_per_cycle: Mapping[str, float]
    parallel: float
    efficiency: Mapping[str, float]
    bytes_per_s: float
    on_chip_bytes: int
    kernel_overhead_s: float
    idle_w: float
    core_w: float
    pj_per_mac: Mapping[str, float]
    pj_per_byte_on_chip: float
    pj_per_byte_off_chip: float
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kinds = set(get_args(KernelKind))
        if set(self.efficiency) != kinds:
            raise ValueError(
                f"device `{self.name}`: `efficiency` must name {sorted(kinds)}, got {sorted(self.efficiency)}"
            )
        if set(self.pj_per_mac) != set(self.macs_per_cycle) or not set(self.macs_per_cycle) <= set(BYTES):
            raise ValueError(
                f"device `{self.name}`: `macs_per_cycle` and `pj_per_mac` must name the same precisions of"
                f" {sorted(BYTES)}, got {sorted(self.macs_per_cycle)} and {sorted(self.pj_per_mac)}"
            )
        positive = {
            name: getattr(self, name) for name in ("clock_hz", "cores", "bytes_per_s", "on_chip_bytes", "core_w")
        }
        for name in ("efficiency", "macs_per_cycle"):
            positive |= {f"{name}.{kind}": value for kind, value in getattr(self, name).items()}
        for name, value in positive.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"device `{self.name}`: `{name}` must be above 0, got {value}")

    def check(self, precision: str, threads: int) -> None:
        """Raises unless the device has figures for this precision and as many cores.

        Raises:
          ValueError: when it has not.
        """
        if precision not in self.macs_per_cycle:
            raise ValueError(
                f"device `{self.name}` has figures for {sorted(self.macs_per_cycle)}, none for `{precision}`"
            )
        if not 1 <= threads <= self.cores:
            raise ValueError(f"device `{self.name}` has {self.cores} cores, so `threads` is 1 to that; got {threads}")


def modelled_latency_ms(device: Device, layers: Sequence[Layer], precision: Precision, threads: int = 1) -> float:
    """The time for one image, in ms: the sum over its kernels.

    A kernel takes what its arithmetic or its traffic takes, whichever is longer, plus the overhead. Kernels do not
    overlap, and each reads its inputs and weights and writes its output once.

    Raises:
      ValueError: when the device has no figures for this precision, or fewer cores.

    References:
      Roofline (doi:10.1145/1498765.1498785).
      Differs: the peak is scaled by an efficiency for each kind of kernel, chosen from published measurements.
    """
    device.check(precision, threads)
    rate = device.clock_hz * device.macs_per_cycle[precision] * (1 + device.parallel * (threads - 1))
    seconds = 0.0
    for kernel in kernels(alive(layers)):
        compute_s = kernel.operations / (rate * device.efficiency[kernel.kind])
        seconds += max(compute_s, _bytes(kernel, precision) / device.bytes_per_s) + device.kernel_overhead_s
    return seconds * 1e3


def modelled_energy_mj(device: Device, layers: Sequence[Layer], precision: Precision, threads: int = 1) -> float:
    """The energy for one image, in mJ: the board's power over the modelled time, plus arithmetic and memory traffic.

    On processors the first term is nearly all: a 45 nm int8 MAC of 0.3 pJ is lost beside the instructions that fetch
    and issue it (an STM32H7A3 draws 0.12 W whatever it computes, that is some 500 pJ for each MAC). The second term
    separates networks of equal time by what they move; it takes the 45 nm figures as published, unscaled, as an upper
    bound for newer chips.

    Raises:
      ValueError: when the device has no figures for this precision, or fewer cores.

    References:
      Computing's energy problem (doi:10.1109/ISSCC.2014.6757323) for the energies of arithmetic and memory.
      Differs: a kernel whose inputs, output and weights fit on the chip together moves all bytes there, any other
      moves them all off the chip.
    """
    picojoules = 0.0
    for kernel in kernels(alive(layers)):
        moved = _bytes(kernel, precision)
        fits = moved <= device.on_chip_bytes
        picojoules += kernel.macs * device.pj_per_mac[precision]
        picojoules += moved * (device.pj_per_byte_on_chip if fits else device.pj_per_byte_off_chip)
    power_w = device.idle_w + device.core_w * threads
    return power_w * modelled_latency_ms(device, layers, precision, threads) + picojoules * 1e-9


def _bytes(kernel: Kernel, precision: str) -> int:
    """What a kernel reads and writes; biases are as wide in every precision."""
    values = kernel.input_values + kernel.output_values + kernel.weight_values
    return values * BYTES[precision] + kernel.bias_values * 4

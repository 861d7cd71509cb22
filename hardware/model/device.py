"""The facts of a device, each with its source and how sure it is."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from hardware.costs.precision import WIDTHS

DeviceKind = Literal["cpu", "gpu", "npu", "mcu", "fpga", "asic"]
Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True, kw_only=True)
class Device:
    """What is known of a device, whatever runs on it. How well software uses it is a latency model's (`roofline.py`).

    Attributes:
      name: the device.
      chip: its processor.
      kind: `cpu` (a host of threads), `gpu`, `npu`, `mcu`, `fpga` or `asic`.
      clock_hz: of the unit that does the arithmetic.
      cores: how many of these units may share a network, a thread each; 1 where the whole unit is one.
      macs_per_cycle: peak multiply-accumulates a cycle of one core, by precision; a precision that is not here is not
        modelled.
      bytes_per_s: what the main memory gives, shared by all cores.
      on_chip_bytes: the cache or SRAM that a kernel's inputs, outputs and weights must fit to stay on the chip.
      idle_w: what the board draws at rest.
      core_w: what each busy core draws besides.
      pj_per_mac: energy of one multiply-accumulate, by precision.
      pj_per_byte_on_chip: energy of one byte to or from on-chip memory.
      pj_per_byte_off_chip: energy of one byte to or from off-chip memory.
      sources: for each figure above from `clock_hz` on, its `source` and its `confidence` (high, medium or low).

    Raises:
      ValueError: on a figure that is not above 0, or one without a source.
    """

    name: str
    chip: str
    kind: DeviceKind
    clock_hz: float
    cores: int
    macs_per_cycle: Mapping[str, float]
    bytes_per_s: float
    on_chip_bytes: int
    idle_w: float
    core_w: float
    pj_per_mac: Mapping[str, float]
    pj_per_byte_on_chip: float
    pj_per_byte_off_chip: float
    sources: Mapping[str, Mapping[str, str]]

    def __post_init__(self) -> None:
        if set(self.pj_per_mac) != set(self.macs_per_cycle) or not set(self.macs_per_cycle) <= set(WIDTHS):
            raise ValueError(
                f"device `{self.name}`: `macs_per_cycle` and `pj_per_mac` must name the same precisions of"
                f" {sorted(WIDTHS)}, got {sorted(self.macs_per_cycle)} and {sorted(self.pj_per_mac)}"
            )
        positive = {
            name: getattr(self, name) for name in ("clock_hz", "cores", "bytes_per_s", "on_chip_bytes", "core_w")
        }
        positive |= {f"macs_per_cycle.{kind}": value for kind, value in self.macs_per_cycle.items()}
        for name, value in positive.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"device `{self.name}`: `{name}` must be above 0, got {value}")
        if set(self.sources) != set(FIGURES):
            missing, unknown = (sorted(set(a) - set(b)) for a, b in ((FIGURES, self.sources), (self.sources, FIGURES)))
            raise ValueError(
                f"device `{self.name}`: `sources` must say where each figure comes from; missing {missing},"
                f" unknown {unknown}"
            )
        for name, said in self.sources.items():
            if set(said) != {"source", "confidence"} or said["confidence"] not in get_args(Confidence):
                raise ValueError(
                    f"device `{self.name}`: `sources.{name}` must have a `source` and a `confidence` of"
                    f" {', '.join(get_args(Confidence))}; got {dict(said)}"
                )

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


FIGURES = tuple(
    field.name for field in dataclasses.fields(Device) if field.name not in ("name", "chip", "kind", "sources")
)
"""What needs a source."""

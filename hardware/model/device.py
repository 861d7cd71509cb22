"""The facts of a device, each with its source and how sure it is."""

import dataclasses
import difflib
import math
from collections.abc import Collection, Mapping
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
      bytes_per_s: what the main memory gives, shared by all cores; where weights come over a cable, what that gives.
      bytes_per_s_on_chip: what memory on the chip gives each core; None where that is not known.
      on_chip_bytes: the cache or SRAM that a kernel's inputs, outputs and weights must fit to stay on the chip.
      idle_w: what the board draws at rest.
      core_w: what each busy core draws besides.
      pj_per_mac: energy of one multiply-accumulate, by precision.
      pj_per_byte_on_chip: energy of one byte to or from on-chip memory.
      pj_per_byte_off_chip: energy of one byte to or from off-chip memory.
      sources: for each figure above from `clock_hz` on, its `source` and its `confidence` (high, medium or low).

    Raises:
      ValueError: on a figure that cannot be (the power at rest may be 0, all others are more), or one without a source.
    """

    name: str
    chip: str
    kind: DeviceKind
    clock_hz: float
    cores: int
    macs_per_cycle: Mapping[str, float]
    bytes_per_s: float
    bytes_per_s_on_chip: float | None = None
    on_chip_bytes: int
    idle_w: float
    core_w: float
    pj_per_mac: Mapping[str, float]
    pj_per_byte_on_chip: float
    pj_per_byte_off_chip: float
    sources: Mapping[str, Mapping[str, str]]

    def __post_init__(self) -> None:
        for name in ("macs_per_cycle", "pj_per_mac"):
            _known(f"device `{self.name}`: `{name}` names", getattr(self, name), WIDTHS)
        if set(self.pj_per_mac) != set(self.macs_per_cycle) or not self.macs_per_cycle:
            raise ValueError(
                f"device `{self.name}`: `macs_per_cycle` and `pj_per_mac` must name the same precisions of"
                f" {sorted(WIDTHS)}, got {sorted(self.macs_per_cycle)} and {sorted(self.pj_per_mac)}"
            )
        for name, value in self.figures().items():
            least = "0 or more" if name == "idle_w" else "above 0"
            if not (math.isfinite(value) and (value >= 0 if name == "idle_w" else value > 0)):
                raise ValueError(f"device `{self.name}`: `{name}` must be {least}, got {value}")
        if self.bytes_per_s_on_chip is not None and self.bytes_per_s_on_chip * self.cores < self.bytes_per_s:
            raise ValueError(
                f"device `{self.name}`: `bytes_per_s_on_chip` of all cores must be at least the main memory's"
                f" {self.bytes_per_s:g}, got {self.cores} * {self.bytes_per_s_on_chip:g}; are the two exchanged?"
            )
        _known(f"device `{self.name}`: `sources` names", self.sources, FIGURES)
        if missing := sorted(set(FIGURES) - set(self.sources)):
            raise ValueError(
                f"device `{self.name}`: `sources` must say where each figure comes from; missing {missing}"
            )
        for name, said in self.sources.items():
            if set(said) != {"source", "confidence"} or said["confidence"] not in get_args(Confidence):
                raise ValueError(
                    f"device `{self.name}`: `sources.{name}` must have a `source` and a `confidence` of"
                    f" {', '.join(get_args(Confidence))}; got {dict(said)}"
                )

    def figures(self) -> dict[str, float]:
        """All figures that are known, those of a precision as `macs_per_cycle.int8`."""
        found: dict[str, float] = {}
        for name in FIGURES:
            value = getattr(self, name)
            if isinstance(value, Mapping):
                found |= {f"{name}.{precision}": each for precision, each in value.items()}
            elif value is not None:
                found[name] = value
        return found

    def peak_macs_per_s(self, precision: str, threads: int = 1) -> float:
        """What its arithmetic gives at most.

        Raises:
          ValueError: when the device has no figures for this precision, or fewer cores.
        """
        self.check(precision, threads)
        return self.clock_hz * self.macs_per_cycle[precision] * threads

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


def _known(what: str, names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.0)[0]
            raise ValueError(f"{what} `{name}`, which is none of {sorted(known)}; did you mean `{near}`?")

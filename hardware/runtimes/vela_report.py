"""What Vela says of a network on an Ethos-U NPU, read from the two tables it writes."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from hardware.costs.cost import Cost


@dataclass(frozen=True, kw_only=True)
class VelaOperator:
    """One operator as it is run.

    Attributes:
      name: of its output in the file.
      operator: what it was in the file; several rows where Vela splits it.
      runs_as: what Vela made of it.
      on_npu: whether the NPU runs it; if not, the CPU does, and no time of it is known.
      reason: why the NPU does not, where Vela says so.
      cycles: it takes; 0 for what runs inside of the operator before it.
      npu_cycles: arithmetic alone.
      sram_cycles: traffic with the SRAM alone.
      dram_cycles: traffic with the DRAM alone.
      flash_cycles: traffic with flash alone, on the chip and off it.
      macs: multiply-accumulates, those of padding included.
      sram_bytes: memory alive while it runs.
    """

    name: str
    operator: str
    runs_as: str
    on_npu: bool
    reason: str
    cycles: int
    npu_cycles: int
    sram_cycles: int
    dram_cycles: int
    flash_cycles: int
    macs: int
    sram_bytes: int


@dataclass(frozen=True, kw_only=True)
class VelaReport:
    """What Vela models of one image; nothing of it is measured.

    Attributes:
      version: of Vela.
      accelerator: as Vela calls it.
      system: clock and memories.
      memory: which memory holds what.
      clock_hz: of the NPU.
      latency_ms: of all that the NPU runs. What is left to the CPU is not in it.
      cycles: of the NPU in all; arithmetic and traffic overlap.
      npu_cycles: arithmetic alone.
      sram_cycles: traffic with the SRAM alone.
      dram_cycles: traffic with the DRAM alone.
      flash_cycles: traffic with flash alone, on the chip and off it.
      sram_bytes: SRAM it takes: activations, and weights on their way.
      dram_bytes: DRAM it takes.
      flash_bytes: flash it takes: encoded weights and commands.
      sram_traffic_bytes: read from and written to SRAM.
      off_chip_traffic_bytes: read from and written to DRAM and off-chip flash.
      macs: multiply-accumulates of the NPU.
      operators: all of them, in the order in which they run.
      notes: what Vela warned of, a line each.
    """

    version: str
    accelerator: str
    system: str
    memory: str
    clock_hz: float
    latency_ms: float
    cycles: int
    npu_cycles: int
    sram_cycles: int
    dram_cycles: int
    flash_cycles: int
    sram_bytes: int
    dram_bytes: int
    flash_bytes: int
    sram_traffic_bytes: int
    off_chip_traffic_bytes: int
    macs: int
    operators: tuple[VelaOperator, ...]
    notes: tuple[str, ...]

    @property
    def on_cpu(self) -> tuple[VelaOperator, ...]:
        """The operators left to the CPU, whose time is in no number here."""
        return tuple(operator for operator in self.operators if not operator.on_npu)

    @property
    def cpu_share(self) -> float:
        """Their share of all operators, parts that Vela splits one into counted once: 0 where the NPU runs all."""
        names = {(operator.name, operator.operator): operator.on_npu for operator in self.operators}
        return sum(not on_npu for on_npu in names.values()) / len(names) if names else 0.0

    def costs(self, target: str) -> dict[str, Cost]:
        """`latency_ms`, `peak_bytes` (of SRAM) and `flash_bytes`, each `modelled`.

        Args:
          target: its name.
        """
        values = {"latency_ms": (self.latency_ms, "ms"), "peak_bytes": (float(self.sram_bytes), "bytes")}
        values["flash_bytes"] = (float(self.flash_bytes), "bytes")
        return {
            name: Cost(name=name, value=value, std=None, unit=unit, kind="modelled", target=target)
            for name, (value, unit) in values.items()
        }


def read_report(folder: Path, said: str, version: str) -> VelaReport:
    """The report of the one network that Vela compiled into a folder.

    Args:
      folder: what `--output-dir` was.
      said: what Vela printed.
      version: of Vela.

    Raises:
      ValueError: when a table is missing or has other columns.
    """
    reasons, notes = _warnings(said)
    try:
        (row,) = _table(folder, "*_summary_*.csv")
        operators = tuple(_operator(each, reasons) for each in _table(folder, "*_per-layer.csv"))
        kib = {place: round(1024 * float(row[f"{place}_memory_used"])) for place in MEMORIES}
        moved = {place: int(float(row[f"{place}_total_bytes"])) for place in MEMORIES}
        cycles = {place: int(float(row[f"cycles_{place}_access"])) for place in MEMORIES}
        return VelaReport(
            version=version,
            accelerator=row["accelerator_configuration"],
            system=row["system_config"],
            memory=row["memory_mode"],
            clock_hz=float(row["core_clock"]),
            latency_ms=float(row["inference_time"]) * 1e3,
            cycles=int(float(row["cycles_total"])),
            npu_cycles=int(float(row["cycles_npu"])),
            sram_cycles=cycles["sram"],
            dram_cycles=cycles["dram"],
            flash_cycles=cycles["on_chip_flash"] + cycles["off_chip_flash"],
            sram_bytes=kib["sram"],
            dram_bytes=kib["dram"],
            flash_bytes=kib["on_chip_flash"] + kib["off_chip_flash"],
            sram_traffic_bytes=moved["sram"],
            off_chip_traffic_bytes=moved["dram"] + moved["off_chip_flash"],
            macs=int(float(row["nn_macs"])),
            operators=operators,
            notes=notes,
        )
    except (KeyError, ValueError) as error:
        raise ValueError(f"{version} wrote other tables than those known here: {error}") from error


MEMORIES = ("sram", "dram", "on_chip_flash", "off_chip_flash")


def _table(folder: Path, pattern: str) -> list[dict[str, str]]:
    paths = list(folder.glob(pattern))
    if len(paths) != 1:
        raise ValueError(f"one {pattern} expected, found {len(paths)}")
    with paths[0].open(newline="") as file:
        return [{name.strip(): value for name, value in row.items()} for row in csv.DictReader(file)]


def _operator(row: Mapping[str, str], reasons: Mapping[str, str]) -> VelaOperator:
    on_npu = row["Target"] == "NPU"
    return VelaOperator(
        name=row["Name"],
        operator=row["Original Operator"],
        runs_as=row["NNG Operator"],
        on_npu=on_npu,
        reason="" if on_npu else reasons.get(row["Name"], ""),
        cycles=int(float(row["Op Cycles"])),
        npu_cycles=int(float(row["NPU"])),
        sram_cycles=int(float(row["SRAM AC"])),
        dram_cycles=int(float(row["DRAM AC"])),
        flash_cycles=int(float(row["OnFlash AC"])) + int(float(row["OffFlash AC"])),
        macs=int(float(row["MAC Count"])),
        sram_bytes=int(float(row["Staging Usage"])),
    )


def _warnings(said: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Why operators are left to the CPU, by the name of their output, and all warnings in a line each."""
    paragraphs: list[Sequence[str]] = [paragraph.split("\n") for paragraph in re.split(r"\n\s*\n", said)]
    reasons: dict[str, str] = {}
    notes: list[str] = []
    for lines in paragraphs:
        begins = [i for i, line in enumerate(lines) if line.startswith(("Warning", "Info"))]
        for begin, end in pairwise([*begins, len(lines)]):
            note = " ".join(" ".join(lines[begin:end]).split())
            notes.append(note)
            if found := re.search(r"ofm: '(.*?)' Reason: (.*)", note):
                reasons[found[1]] = found[2]
    return reasons, tuple(notes)

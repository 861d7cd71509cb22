"""Published times of networks on devices, gathered into groups that can be compared.

The table is `device_measurements.csv`: a row is one network on one device, as a benchmark printed it. A row that does
not say which network it is (a version, a detector's backbone), or whose network no space here has, is in no group.
"""

import csv
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import get_args

from hardware.costs.precision import Precision
from hardware.model.device import Confidence, DeviceKind
from hardware.tables.published_networks import Meaning, meaning_of


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One row of the table.

    Attributes:
      device: as the table calls it.
      chip: its processor.
      runtime: software, with the threads where it says them.
      precision: as the table words it: a runtime's default may leave it open.
      batch: images at once, as worded.
      network: as the table calls it.
      resolution: of the images, as worded.
      latency_ms: the least of a benchmark's loop where the table has it, else its mean; milliseconds.
      energy_mj: for one image; None where it was not published.
      power_w: of the board while it ran, likewise.
      confidence: of the row.
    """

    device: str
    chip: str
    runtime: str
    precision: str
    batch: str
    network: str
    resolution: str
    latency_ms: float
    energy_mj: float | None
    power_w: float | None
    confidence: Confidence

    @property
    def group(self) -> "Group":
        """What the row shares with those that it can be compared with."""
        return Group(device=self.device, chip=self.chip, runtime=self.runtime, precision=self.precision)


UNITS: Mapping[DeviceKind, tuple[str, ...]] = {
    "npu": ("npu", "tpu", "neural", "nnapi", "ethos", "movidius", "ncs2", "syntiant", "gap9", "mvp", "hexagon"),
    "fpga": ("fpga",),
    "asic": ("eyeriss",),
    "gpu": ("gpu", "vulkan", "tensorrt"),
    "mcu": ("cortex-m",),
}
"""Words that tell what computes; the first unit that has one is it."""


@dataclass(frozen=True, kw_only=True, order=True)
class Group:
    """Rows that differ in nothing but their network: device, chip, runtime with its threads, precision."""

    device: str
    chip: str
    runtime: str
    precision: str

    @property
    def threads(self) -> int:
        """As the runtime's name says, else 1."""
        said = re.search(r"(\d+) thread", self.runtime)
        return int(said[1]) if said else 1

    @property
    def unit(self) -> DeviceKind:
        """What computes, as far as device, chip and runtime say it."""
        said = f"{self.device} {self.chip} {self.runtime}".lower()
        for unit, words in UNITS.items():
            if any(word in said for word in words):
                return unit
        return "cpu"

    @property
    def software(self) -> str:
        """Unit, runtime without version and threads, and whether it computes with integers."""
        integers = all(each in ("int8", "w4a8") for each in self.precisions)
        return f"{self.unit} {self.runtime.split()[0]} {'integers' if integers else 'floats'}"

    @property
    def name(self) -> str:
        """Device, runtime, precision and threads as one word."""
        device = re.sub(r"\(.*?\)", "", self.device)
        runtime = re.sub(r"\(.*?\)|,.*|\d+ thread.*", "", self.runtime)
        precision = self.precisions[0] if self.precision in self.precisions else ""
        threads = f"{self.threads} threads" if "thread" in self.runtime else ""
        words = re.findall(r"[a-z0-9]+", f"{device} {runtime} {precision} {threads}".lower())
        return "_".join(words).replace("_1_threads", "_1_thread")

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions that the wording leaves open; empty where it names none of ours (fixed point, int16)."""
        words = re.split(r"[^a-z0-9]+", self.precision.lower())
        return tuple(each for each in get_args(Precision) if each in words)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A network on a group's device.

    Attributes:
      meaning: which network of ours it is.
      latency_ms: the median of the rows that mean this network.
      rows: how many they are.
      energy_mj: their median, None where none has it.
      confidence: the lowest of theirs.
    """

    meaning: Meaning
    latency_ms: float
    rows: int
    energy_mj: float | None
    confidence: Confidence


def read(path: Path) -> list[PublishedRow]:
    """The rows of the table.

    Raises:
      ValueError: when the file is missing, lacks a column, or has a time or a confidence that is none.
    """
    try:
        with path.open(newline="") as file:
            return [_row(path, line, row) for line, row in enumerate(csv.DictReader(file), 2)]
    except OSError as error:
        raise ValueError(
            f"no table of published measurements at `{path}`: {error.strerror}; name it with `--table <file>`, or the"
            " data folder beside its own with the environment variable EDGENAS_DATA"
        ) from error


def _row(path: Path, line: int, row: Mapping[str, str]) -> PublishedRow:
    try:
        found = PublishedRow(
            **{name: row[name] for name in ("device", "chip", "runtime", "precision", "batch", "network")},
            resolution=row["input_resolution"],
            latency_ms=float(row["latency_min_ms"] or row["latency_ms"]),
            energy_mj=float(row["energy_mJ"]) if row["energy_mJ"] else None,
            power_w=float(row["power_W"]) if row["power_W"] else None,
            confidence=_confidence(row["confidence"]),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"`{path}`, line {line}: not a row of published measurements: {error}") from error
    if not 0 < found.latency_ms < math.inf:
        raise ValueError(f"`{path}`, line {line}: a time must be above 0, got {found.latency_ms} ms")
    return found


def _confidence(word: str) -> Confidence:
    for each in get_args(Confidence):
        if word == each:
            return each
    raise ValueError(f"a confidence is one of {', '.join(get_args(Confidence))}, got `{word}`")


def measured(rows: Iterable[PublishedRow]) -> dict[Group, tuple[Measured, ...]]:
    """The networks that each group timed, an image at a time and in a precision of ours; repeats are one, by median."""
    found: dict[Group, dict[str, list[PublishedRow]]] = defaultdict(lambda: defaultdict(list))
    meant: dict[str, Meaning] = {}
    for row in rows:
        meaning = meaning_of(row.network, row.resolution, row.runtime)
        if meaning is not None and row.batch == "1" and row.group.precisions:
            meant[meaning.name] = meaning
            found[row.group][meaning.name].append(row)
    return {
        group: tuple(_measured(meant[name], same) for name, same in networks.items())
        for group, networks in sorted(found.items())
    }


def _measured(meaning: Meaning, rows: Sequence[PublishedRow]) -> Measured:
    energies = [row.energy_mj for row in rows if row.energy_mj is not None]
    order = get_args(Confidence)  # from high to low
    return Measured(
        meaning=meaning,
        latency_ms=median(row.latency_ms for row in rows),
        rows=len(rows),
        energy_mj=median(energies) if energies else None,
        confidence=max((row.confidence for row in rows), key=lambda each: order.index(each)),
    )

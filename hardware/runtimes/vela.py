"""Vela, Arm's compiler for Ethos-U NPUs, and what it models: cycles, memory and traffic of an int8 network."""

import configparser
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from hardware.costs.precision import Precision
from hardware.export.tflite import to_tflite
from hardware.export.weights import random_images, random_weights
from hardware.model.device import Device
from hardware.runtimes.artifact import Artifact
from hardware.runtimes.missing import need
from hardware.runtimes.vela_report import VelaReport, read_report
from search_spaces.layers import Layer

EXTRA = "vela"
Accelerator = Literal[
    "ethos-u55-32",
    "ethos-u55-64",
    "ethos-u55-128",
    "ethos-u55-256",
    "ethos-u65-256",
    "ethos-u65-512",
    "ethos-u85-128",
    "ethos-u85-256",
    "ethos-u85-512",
    "ethos-u85-1024",
    "ethos-u85-2048",
]


@dataclass(frozen=True, kw_only=True)
class Vela:
    """An Ethos-U NPU in a system, as Vela models it: it compiles networks, reports of them, and is a `LatencyModel`.

    Vela takes a system and a memory mode of its own where it is given none, and any system for any NPU; here both must
    be named, and a system of another NPU is refused. A network takes Vela from a second to half a minute, and some more
    to be written as an int8 file.

    As a latency model it gives networks random weights (seeded), which a time hangs on only as far as Vela's encoding
    of weights shrinks them, and remembers the networks it has seen.

    Attributes:
      accelerator: the NPU and its MACs a cycle, as Vela's `--accelerator-config`.
      system: a `System_Config` of the configuration: clock and memories, e.g. `Ethos_U55_High_End_Embedded`.
      memory: a `Memory_Mode` of it: which memory holds what, e.g. `Shared_Sram`.
      config: the configuration file: one of Vela's own (`Arm/vela.ini`), or the path of yours.
      cpu_operators: whether networks of which the CPU runs a part get a latency all the same, without that part.

    Raises:
      ValueError: when the system is of another NPU.

    References:
      ethos-u-vela, https://pypi.org/project/ethos-u-vela.
    """

    accelerator: Accelerator
    system: str
    memory: str
    config: str = "Arm/vela.ini"
    cpu_operators: bool = False

    def __post_init__(self) -> None:
        if self.system.startswith("Ethos_U") and not self.system.startswith(self._family):
            raise ValueError(
                f"`system` must be an {self._family}..., as `accelerator` is {self.accelerator}; got `{self.system}`"
            )

    @property
    def _family(self) -> str:
        """How names of its NPU's systems begin."""
        return f"Ethos_{self.accelerator.split('-')[1].upper()}_"

    @property
    def version(self) -> str:
        """Name and version, e.g. `ethos-u-vela 5.2.0`: what different versions model does not compare."""
        need("ethosu.vela", EXTRA)
        return f"ethos-u-vela {metadata.version('ethos-u-vela')}"

    def compile(self, artifact: Artifact) -> tuple[Artifact, VelaReport]:
        """The network as a file for the NPU, and what Vela models of it.

        Args:
          artifact: an int8 TFLite file.

        Raises:
          ValueError: when Vela is not installed, has no such system or memory mode, or refuses the file.
        """
        if artifact.format != "tflite" or artifact.precision != "int8":
            raise ValueError(f"Vela takes int8 TFLite files, got {artifact.precision} {artifact.format}")
        config = self._checked_config()
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "network.tflite").write_bytes(artifact.content)
            command = [sys.executable, "-m", "ethosu.vela", "network.tflite", "--output-dir", "output"]
            command += ["--accelerator-config", self.accelerator, "--config", config]
            command += ["--system-config", self.system, "--memory-mode", self.memory, "--verbose-performance"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
            compiled = folder / "output" / "network_vela.tflite"
            if done.returncode or not compiled.exists():
                said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
                raise ValueError(f"{self.version} refuses the network: {said[-1].strip() if said else 'no word why'}")
            report = read_report(folder / "output", done.stdout, self.version)
            made = Artifact(
                content=compiled.read_bytes(), format="tflite", precision="int8", input_shape=artifact.input_shape
            )
        return made, report

    def report(self, artifact: Artifact) -> VelaReport:
        """What Vela models of an int8 TFLite file; see `compile`."""
        return self.compile(artifact)[1]

    def latency_ms(self, device: Device, layers: Sequence[Layer], precision: Precision, threads: int = 1) -> float:
        """The modelled time for one image, in ms.

        Raises:
          ValueError: when the device is not what is modelled, or the NPU does not run all of the network.
        """
        device.check(precision, threads)
        if precision != "int8":
            raise ValueError(f"Vela models int8, got `{precision}`")
        report = _report(self, tuple(layers))
        if not math.isclose(report.clock_hz, device.clock_hz):
            raise ValueError(
                f"`{self.system}` has a clock of {report.clock_hz:.4g} Hz, device `{device.name}` one of"
                f" {device.clock_hz:.4g}; name a system with the device's clock, or write one (`config`)"
            )
        if report.on_cpu and not self.cpu_operators:
            first = report.on_cpu[0]
            raise ValueError(
                f"{self.accelerator} leaves {len(report.on_cpu)} of {len(report.operators)} operators to the CPU, whose"
                f" time Vela does not model, first {first.operator} `{first.name}`"
                f"{f' ({first.reason})' if first.reason else ''}; set `cpu_operators` to take the rest's time"
            )
        return report.latency_ms

    def _checked_config(self) -> str:
        """The configuration as Vela is to be given it, once it is known to have the system and the memory mode."""
        own = Path(need("ethosu.vela", EXTRA).__file__ or "").parents[1] / "config_files" / self.config
        path = own if own.is_file() else Path(self.config).resolve()
        if not path.is_file():
            raise ValueError(f"`config` must be a file, or one of Vela's own as `Arm/vela.ini` is; got `{self.config}`")
        parser = configparser.ConfigParser(inline_comment_prefixes=(";",))
        try:
            parser.read(path)
        except configparser.Error as error:
            raise ValueError(f"`{self.config}` is no configuration of Vela: {' '.join(str(error).split())}") from error
        systems, memories = (
            [section.partition(".")[2] for section in parser.sections() if section.startswith(f"{prefix}.")]
            for prefix in ("System_Config", "Memory_Mode")
        )
        fitting = [system for system in systems if system.startswith(self._family) or not system.startswith("Ethos_U")]
        for name, value, there in (("system", self.system, fitting), ("memory", self.memory, memories)):
            if value not in there:
                raise ValueError(f"`{name}`: `{self.config}` has no `{value}`; there are `{'`, `'.join(there)}`")
        return self.config if own.is_file() else str(path)


@lru_cache(maxsize=4096)
def _report(vela: Vela, layers: tuple[Layer, ...]) -> VelaReport:
    content = to_tflite(layers, random_weights(layers), "int8", random_images(layers))
    return vela.report(Artifact(content=content, format="tflite", precision="int8", input_shape=layers[0].shape))

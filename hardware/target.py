"""A target is what a network has to run on: device, runtime, precision and measuring protocol, and what it may use."""

from dataclasses import dataclass

from hardware.costs.cost import Cost
from hardware.costs.memory import flash_bytes, peak_bytes
from hardware.costs.precision import Precision
from hardware.energy.meter import Meter
from hardware.export.weights import random_images
from hardware.measuring.bench import Bench, Here
from hardware.measuring.layers_json import network_key, protocol_key
from hardware.measuring.measurement import MeasurementKey
from hardware.measuring.protocol import Protocol
from hardware.model.device import Device
from hardware.model.energy import modelled_energy_mj
from hardware.model.latency import LatencyModel
from hardware.runtimes.artifact import Artifact, Network
from hardware.runtimes.runtime import Runtime
from search_spaces.layers import Layer


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a network has to run.

    Attributes:
      name: unique, as in the file name of its settings.
      precision: of weights and activations.
      threads: how many a network may use.
      device: the figures to model latency and energy with; None where they are not modelled.
      latency_model: how software uses the device; goes with a device.
      runtime: writes networks as files, and runs them unless a board does; None where nothing is measured.
      board: where the files are run; None for this machine.
      meter: reads the energy of networks that run on this machine; None where there is none.
      protocol: how times are taken; goes with a runtime.
      sram_bytes: what activations may take; None for no limit.
      flash_bytes: what weights may take; None for no limit.

    Raises:
      ValueError: when these do not go together.
    """

    name: str
    precision: Precision
    threads: int = 1
    device: Device | None = None
    latency_model: LatencyModel | None = None
    runtime: Runtime | None = None
    board: Bench | None = None
    meter: Meter | None = None
    protocol: Protocol | None = None
    sram_bytes: int | None = None
    flash_bytes: int | None = None

    def __post_init__(self) -> None:
        if (self.runtime is None) != (self.protocol is None):
            raise ValueError(f"target `{self.name}`: a runtime and a protocol go together; give both or neither")
        if self.runtime is not None and self.protocol is not None:
            if self.precision not in self.runtime.precisions:
                raise ValueError(
                    f"target `{self.name}`: `precision` must be one of {self.runtime.precisions}, which its runtime"
                    f" runs; got `{self.precision}`"
                )
            for part, runs in (("runtime", self.runtime), ("board", self.board)):
                if runs is not None and runs.threads != self.threads:
                    raise ValueError(
                        f"target `{self.name}`: the {part}'s `threads` must be the target's {self.threads},"
                        f" got {runs.threads}"
                    )
            if self.protocol.pin and self.threads > 1:
                raise ValueError(
                    f"target `{self.name}`: {self.threads} threads need more than one core; set `pin` false"
                )
        if (self.device is None) != (self.latency_model is None):
            raise ValueError(f"target `{self.name}`: a device and a latency model go together; give both or neither")
        if self.device is not None:
            self.device.check(self.precision, self.threads)
        if self.board is not None and self.meter is not None:
            raise ValueError(
                f"target `{self.name}`: a meter reads what this machine draws, but the board would run the networks;"
                " leave one of them out"
            )
        for name in ("board", "meter"):
            if getattr(self, name) is not None and self.runtime is None:
                raise ValueError(f"target `{self.name}`: a {name} needs a runtime and a protocol; give all three")

    @property
    def measurable(self) -> bool:
        """Whether networks can be timed, here or on a board."""
        return self.runtime is not None

    @property
    def limits(self) -> dict[str, int]:
        """The largest `peak_bytes` and `flash_bytes` that fit, where there is a limit."""
        limits = {"peak_bytes": self.sram_bytes, "flash_bytes": self.flash_bytes}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def modelled(self, layers: tuple[Layer, ...]) -> dict[str, Cost]:
        """What follows from the layers alone: `peak_bytes`, `flash_bytes`, with a device `latency_ms`, `energy_mj`.

        Where the latency model has a `relative_std`, the error of networks that it was not fitted to, latency has that
        share of itself as its `std`; energy has none, as nobody held it to the board's.
        """
        values: dict[str, tuple[float, str]] = {
            "peak_bytes": (peak_bytes(layers, self.precision), "bytes"),
            "flash_bytes": (flash_bytes(layers, self.precision), "bytes"),
        }
        if self.device is not None and self.latency_model is not None:
            latency_ms = self.latency_model.latency_ms(self.device, layers, self.precision, self.threads)
            energy_mj = modelled_energy_mj(self.device, layers, self.precision, self.threads, latency_ms)
            values |= {"latency_ms": (latency_ms, "ms"), "energy_mj": (energy_mj, "mJ")}
        share = getattr(self.latency_model, "relative_std", None)
        stds = {} if share is None else {"latency_ms": share * values["latency_ms"][0]}
        return {
            name: Cost(name=name, value=float(value), std=stds.get(name), unit=unit, kind="modelled", target=self.name)
            for name, (value, unit) in values.items()
        }

    def instruments(self) -> tuple[Runtime, Protocol]:
        """The runtime and the protocol to measure with.

        Raises:
          ValueError: when the target has none.
        """
        if self.runtime is None or self.protocol is None:
            raise ValueError(f"target `{self.name}` has no runtime; its costs are modelled (`Target.modelled`)")
        return self.runtime, self.protocol

    def bench(self) -> Bench:
        """Where its networks are timed.

        Raises:
          ValueError: when the target has no runtime.
        """
        runtime, _ = self.instruments()
        return self.board or Here(runtime=runtime)

    def prepare(self, network: Network) -> Artifact:
        """A network's file, to be timed: integers' ranges are those of random images, on which no time hangs.

        Raises:
          ValueError: when the target has no runtime, or the runtime cannot write the network.
        """
        layers, weights = network
        runtime, _ = self.instruments()
        images = None if self.precision in ("fp32", "fp16") else random_images(layers)
        return runtime.prepare(layers, weights, self.precision, images)

    def key(self, layers: tuple[Layer, ...]) -> MeasurementKey:
        """The key under which the time of a network on this target, where it is timed, is stored.

        Raises:
          ValueError: when the target has no runtime, or its board cannot be reached.
        """
        _, protocol = self.instruments()
        bench = self.bench()
        return MeasurementKey(
            network=network_key(layers),
            target=self.name,
            precision=self.precision,
            runtime=bench.version(),
            protocol=protocol_key(protocol.to_dict()),
            host=bench.host(),
            threads=self.threads,
        )

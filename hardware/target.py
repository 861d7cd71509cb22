"""A target is what a network has to run on: device, runtime, precision and measuring protocol, and what it may use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardware.cost import Cost
from hardware.memory import flash_bytes, peak_bytes
from hardware.model import BYTES, Device, Precision, modelled_energy_mj, modelled_latency_ms
from hardware.protocol import Protocol
from hardware.runtime import Runtime
from hardware.store import Measurement, MeasurementKey, MeasurementStore, host, network_key, protocol_key
from hardware.weights import random_weights
from search_spaces.graph import Graph
from search_spaces.layers import Layer

Network = tuple[tuple[Layer, ...], Mapping[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a network has to run.

    Attributes:
      name: unique, as in the file name of its settings.
      precision: of weights and activations.
      threads: how many a network may use.
      device: the figures to model latency and energy with; None where they are not modelled.
      runtime: runs networks on this machine; None where the device is elsewhere.
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
    runtime: Runtime | None = None
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
            if self.runtime.threads != self.threads:
                raise ValueError(
                    f"target `{self.name}`: the runtime's `threads` must be the target's {self.threads},"
                    f" got {self.runtime.threads}"
                )
            if self.protocol.pin and self.threads > 1:
                raise ValueError(
                    f"target `{self.name}`: {self.threads} threads need more than one core; set `pin` false"
                )
        if self.device is not None:
            self.device.check(self.precision, self.threads)

    @property
    def measurable(self) -> bool:
        """Whether networks can be timed here."""
        return self.runtime is not None

    @property
    def limits(self) -> dict[str, int]:
        """The largest `peak_bytes` and `flash_bytes` that fit, where there is a limit."""
        limits = {"peak_bytes": self.sram_bytes, "flash_bytes": self.flash_bytes}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def modelled(self, layers: tuple[Layer, ...]) -> dict[str, Cost]:
        """What follows from the layers alone: `peak_bytes`, `flash_bytes`, with a device `latency_ms`, `energy_mj`."""
        size = BYTES[self.precision]
        values: dict[str, tuple[float, str]] = {
            "peak_bytes": (peak_bytes(layers, size), "bytes"),
            "flash_bytes": (flash_bytes(layers, size), "bytes"),
        }
        if self.device is not None:
            values["latency_ms"] = (modelled_latency_ms(self.device, layers, self.precision, self.threads), "ms")
            values["energy_mj"] = (modelled_energy_mj(self.device, layers, self.precision, self.threads), "mJ")
        return {
            name: Cost(name=name, value=float(value), std=None, unit=unit, kind="modelled", target=self.name)
            for name, (value, unit) in values.items()
        }

    def instruments(self) -> tuple[Runtime, Protocol]:
        """The runtime and the protocol to measure with.

        Raises:
          ValueError: when the target has none.
        """
        if self.runtime is None or self.protocol is None:
            raise ValueError(
                f"target `{self.name}` has no runtime on this machine; its costs are modelled (`Target.modelled`)"
            )
        return self.runtime, self.protocol

    def key(self, layers: tuple[Layer, ...]) -> MeasurementKey:
        """The key under which the time of a network on this target, on this machine, is stored.

        Raises:
          ValueError: when the target has no runtime.
        """
        runtime, protocol = self.instruments()
        return MeasurementKey(
            network=network_key(layers),
            target=self.name,
            precision=self.precision,
            runtime=runtime.version,
            protocol=protocol_key(protocol.to_dict()),
            host=host(),
            threads=self.threads,
        )


def measure_networks(
    target: Target,
    networks: Mapping[str, Network],
    store: MeasurementStore,
    *,
    campaign: str,
    reuse: bool = True,
    reference_ms: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Cost]:
    """The measured `latency_ms` of each network, from the store where it is there and from the runtime where not.

    Networks are timed in batches beside `reference_network()`. The reference's own time is stored with the first
    batch, and every later batch is brought to its scale: so a run that was killed goes on where it stood (at most one
    batch is lost), and times that were taken under different loads compare.

    Args:
      target: has a runtime.
      networks: layers and weights by name. Two of equal layers are measured once.
      store: where rows are looked up and put, a batch at a time.
      campaign: the name of this go. Repeating a measurement is measuring under another name without `reuse`.
      reuse: whether a row of any campaign will do; else only this campaign's rows count, and its scale is its own.
      reference_ms: another campaign's time of the reference network (`reference_time`), to whose scale all times are
        brought instead: so that two campaigns compare though the machine was slower during one of them.
      progress: called with (networks done, networks asked for).

    Returns:
      A cost for each name; its `std` is the spread from round to round (`hardware/protocol.py`).

    Raises:
      ValueError: when the target has no runtime, or a network cannot be exported or run.
    """
    runtime, protocol = target.instruments()
    accepted = None if reuse else campaign
    reference = reference_network()
    reference_key = target.key(reference)
    keys = {name: target.key(layers) for name, (layers, _) in networks.items()}
    rows = {key: row for key in keys.values() if (row := store.get(key, accepted))}
    first_named = {key: name for name, key in reversed(keys.items())}
    missing = [key for key in dict.fromkeys(keys.values()) if key not in rows]

    def report() -> None:
        if progress:
            progress(sum(key in rows for key in keys.values()), len(keys))

    report()
    for begin in range(0, len(missing), protocol.batch):
        batch = missing[begin : begin + protocol.batch]
        calls = {key: _ready(runtime, first_named[key], networks[first_named[key]]) for key in batch}
        calls.setdefault(reference_key, _ready(runtime, "reference", (reference, random_weights(reference))))
        scale = reference_ms or reference_time(target, store, accepted)
        timings = protocol.measure(
            {key.network: call for key, call in calls.items()},
            reference=reference_key.network,
            reference_ms=scale,
        )
        results = ((key, timings[key.network]) for key in calls)
        store.put(
            Measurement(key=key, campaign=campaign, value=t.value_ms, std=t.std_ms, samples=t.samples_ms)
            for key, t in results
        )
        rows |= {key: row for key in batch if (row := store.get(key, accepted))}
        report()
    return {
        name: Cost(
            name="latency_ms",
            value=rows[key].value,
            std=rows[key].std,
            unit=rows[key].unit,
            kind="measured",
            target=target.name,
        )
        for name, key in keys.items()
    }


def reference_time(target: Target, store: MeasurementStore, campaign: str | None = None) -> float | None:
    """The stored time of the reference network, ms: of a campaign, or (None) the first ever; None if there is none."""
    row = store.get(target.key(reference_network()), campaign)
    return row.value if row else None


def reference_network() -> tuple[Layer, ...]:
    """The network that stands for the state of the machine: a convolution and two mobile blocks.

    Its layers must stay as they are: the times in every store are on its scale.
    """
    graph = Graph((32, 32, 3))
    x = graph.activation(graph.norm(graph.conv(0, 16, "stem", kernel=3, stride=2), "stem_norm", 1e-5), "relu")
    for block, stride in enumerate((2, 1)):
        path = f"block{block}"
        x = graph.activation(graph.norm(graph.conv(x, 96, f"{path}.expand"), f"{path}.expand_norm", 1e-5), "hard_swish")
        x = graph.depthwise(x, f"{path}.depthwise", kernel=5, stride=stride)
        x = graph.activation(graph.norm(x, f"{path}.depthwise_norm", 1e-5), "hard_swish")
        x = graph.norm(graph.conv(x, 32, f"{path}.project"), f"{path}.project_norm", 1e-5)
    graph.dense(graph.global_pool(x), 10, "classifier")
    return tuple(graph.layers)


def _ready(runtime: Runtime, name: str, network: Network) -> Callable[[], Any]:
    try:
        return runtime.ready(*network)
    except ValueError as error:
        raise ValueError(f"network `{name}` cannot be measured: {error}") from error

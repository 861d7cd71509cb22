"""One measurement, and all that it hangs on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

UNITS: Mapping[str, str] = {"latency_ms": "ms", "energy_mj": "mJ"}
"""What may be measured, and its unit."""


@dataclass(frozen=True, kw_only=True)
class MeasurementKey:
    """What was measured, and how.

    Attributes:
      network: `network_key` of the layers.
      target: name of the target.
      precision: of weights and activations, as `fp32` or `int8`.
      runtime: name and version of the runtime.
      protocol: `protocol_key` of the settings of how it was measured; of an energy the meter is among them.
      host: `host()` of the machine that measured.
      threads: threads the runtime used.
      metric: what was measured: `latency_ms` or `energy_mj`.

    Raises:
      ValueError: when the metric is unknown.
    """

    network: str
    target: str
    precision: str
    runtime: str
    protocol: str
    host: str
    threads: int
    metric: str = "latency_ms"

    def __post_init__(self) -> None:
        if self.metric not in UNITS:
            raise ValueError(f"a metric must be one of {', '.join(UNITS)}, got `{self.metric}`")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One row.

    Attributes:
      key: what was measured, and how.
      campaign: which go at measuring this was; the same key may be measured once in each.
      value: the result, in `unit`.
      std: its spread over the rounds, in `unit`.
      samples: the rounds' values, in `unit`.
      layers: of the network, as `layers_json` writes them; None where an old store had them not.
      settings: of the protocol, as canonical JSON; None where an old store had them not.
      conditions: of the machine meanwhile, as `protocol.py` says; empty where nothing is known of them.
      created: when the row was put, UTC, ISO 8601; filled in by `put`.

    Raises:
      ValueError: when the value or a time is not above 0, the spread below 0, or a number not finite.
    """

    key: MeasurementKey
    campaign: str
    value: float
    std: float
    samples: tuple[float, ...]
    layers: str | None = None
    settings: str | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""

    def __post_init__(self) -> None:
        if not (0 < self.value < math.inf and 0 <= self.std < math.inf):
            raise ValueError(f"a measurement must be above 0 with a std of 0 or more, got {self.value} and {self.std}")
        least = 0 if self.key.metric == "latency_ms" else -math.inf  # without that of rest, an energy may be below 0
        for sample in self.samples:
            if not least < sample < math.inf:
                rule = "finite" if least else "finite and above 0"
                raise ValueError(f"the samples of a measurement must be {rule}, got {sample}")

    @property
    def metric(self) -> str:
        """What was measured."""
        return self.key.metric

    @property
    def unit(self) -> str:
        """`ms` or `mJ`."""
        return UNITS[self.key.metric]

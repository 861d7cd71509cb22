"""A cost is one number with all that is needed to judge it: spread, unit, how it was come by, and on what."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["measured", "predicted", "modelled", "quoted"]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One cost of one network; lower is better.

    Attributes:
      name: what was counted, with its unit where it has one, e.g. `latency_ms`, `energy_mj`, `peak_bytes`, `error`.
      value: the number.
      std: its spread in the same unit (how it was taken is said by who made the cost); None where there is none, as
        for bytes counted exactly, or where it is not known.
      unit: `ms`, `mJ`, `bytes`, `1`.
      kind: measured (on the target), predicted (by something learned from measurements), modelled (by a formula with
        the target's figures) or quoted (from a publication). Kinds never share a column.
      target: the name of the target; empty where the cost has none, as an error has.

    Raises:
      ValueError: when the value is not finite or the spread is negative.
    """

    name: str
    value: float
    std: float | None
    unit: str
    kind: Kind
    target: str

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"`{self.name}` must be a finite number, got {self.value}")
        if self.std is not None and not (math.isfinite(self.std) and self.std >= 0):
            raise ValueError(f"the std of `{self.name}` must be 0 or more, or None where unknown; got {self.std}")

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return dataclasses.asdict(self)

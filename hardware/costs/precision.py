"""In how many bits a network's numbers are kept."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Precision = Literal["fp32", "fp16", "int8", "w4a8"]


class Widths(NamedTuple):
    """Bits of each number.

    Attributes:
      weight: of a weight at rest.
      activation: of a value between two kernels.
      bias: of a bias at rest; where weights are integers it is as wide as the sums it is added to.
    """

    weight: int
    activation: int
    bias: int


WIDTHS: Mapping[str, Widths] = {
    "fp32": Widths(32, 32, 32),
    "fp16": Widths(16, 16, 16),
    "int8": Widths(8, 8, 32),
    "w4a8": Widths(4, 8, 32),
}
"""By precision; `w4a8` is weights of 4 bits, two to a byte, and activations of 8."""


def in_bytes(values: Any, bits: int) -> Any:
    """What so many numbers of so many bits take, in whole bytes; of one count or of many."""
    return -(-values * bits // 8)

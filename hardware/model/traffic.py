"""Which bytes of a network move on the chip, and which to and from the memory behind it."""

from collections.abc import Sequence
from typing import NamedTuple

from hardware.costs.kernels import Kernel
from hardware.costs.precision import WIDTHS, Precision
from hardware.model.device import Device


class Traffic(NamedTuple):
    """Bytes that a kernel reads and writes, each of its tensors once.

    Attributes:
      near: on the chip.
      far: off it.
    """

    near: float
    far: float


def traffic(device: Device, run: Sequence[Kernel], precision: Precision) -> tuple[Traffic, ...]:
    """What each kernel of a network moves, where.

    A kernel's inputs and output stay on the chip when they fit it together. Weights stay there from one image to the
    next when all of the network's fit it beside the largest inputs and output; else each is read anew.

    Args:
      device: whose chip.
      run: the network's kernels.
      precision: of weights and activations.
    """
    values = [_values_bytes(kernel, precision) for kernel in run]
    weights = [_weight_bytes(kernel, precision) for kernel in run]
    kept = sum(weights) + max(values, default=0.0) <= device.on_chip_bytes
    found = []
    for value_bytes, weight_bytes in zip(values, weights, strict=True):
        near = value_bytes * (value_bytes <= device.on_chip_bytes) + weight_bytes * kept
        found.append(Traffic(near=near, far=value_bytes + weight_bytes - near))
    return tuple(found)


def _values_bytes(kernel: Kernel, precision: Precision) -> float:
    return (kernel.input_values + kernel.output_values) * WIDTHS[precision].activation / 8


def _weight_bytes(kernel: Kernel, precision: Precision) -> float:
    widths = WIDTHS[precision]
    return (kernel.weight_values * widths.weight + kernel.bias_values * widths.bias) / 8

"""What a network's kernels move for one image, and how much arithmetic that pays for."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hardware.costs.kernels import kernels
from hardware.costs.memory import flash_bytes
from hardware.costs.precision import WIDTHS, Precision, in_bytes
from search_spaces.alive import alive
from search_spaces.layers import Layer


def weight_bytes(layers: Sequence[Layer], precision: Precision) -> int:
    """Bytes of the weights that kernels read, without biases; each kernel's in whole bytes. `flash_bytes` has both."""
    return sum(in_bytes(kernel.weight_values, WIDTHS[precision].weight) for kernel in kernels(alive(layers)))


def activation_bytes(layers: Sequence[Layer], precision: Precision) -> int:
    """Bytes of activations that kernels read and write: each reads its inputs once and writes its output once."""
    width = WIDTHS[precision].activation
    return sum(in_bytes(kernel.input_values + kernel.output_values, width) for kernel in kernels(alive(layers)))


def macs_per_byte(layers: Sequence[Layer], precision: Precision) -> float:
    """Arithmetic intensity: the MACs of all kernels over the bytes they move (activations, weights and biases).

    Layers that can't change the answer neither compute nor move anything. Where nothing is moved it is 0.
    """
    moved = activation_bytes(layers, precision) + flash_bytes(layers, precision)
    return float(per_byte(sum(kernel.macs for kernel in kernels(alive(layers))), moved))


def per_byte(macs: Any, moved: Any) -> Any:
    """MACs a byte, of one network or of many; 0 where nothing is moved."""
    return macs / np.maximum(moved, 1)

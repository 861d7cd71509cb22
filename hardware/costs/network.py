"""All that is counted of one network, by name; `population.py` gives the same for many at once."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from hardware.costs.kernels import Kernel, kernels
from hardware.costs.memory import values_held
from hardware.costs.precision import WIDTHS, Precision, in_bytes
from hardware.costs.traffic import per_byte
from search_spaces.alive import alive
from search_spaces.layers import Layer, total_macs, total_params

OF_KERNELS = ("weight_bytes", "flash_bytes", "kernel_macs", "activation_bytes")
"""The columns of `of_kernels`."""


def network_costs(layers: Sequence[Layer], precision: Precision) -> dict[str, int | float]:
    """The costs that follow from the layers and the precision, whatever the device.

    Returns:
      `params` and `macs`, as published: of all layers, norms not folded. Of what runs, norms folded and layers that
      can't change the answer left out: `weight_bytes` (read, without biases), `activation_bytes` (read and written),
      `macs_per_byte` (arithmetic intensity), `peak_bytes` (activations alive at once) and `flash_bytes` (weights and
      biases at rest).
    """
    running = alive(layers)
    steps = kernels(running)
    total = dict(zip(OF_KERNELS, of_kernels(steps, precision).sum(0).tolist(), strict=True))
    moved = total["activation_bytes"] + total["flash_bytes"]
    return {
        "params": total_params(layers),
        "macs": total_macs(layers),
        "weight_bytes": total["weight_bytes"],
        "activation_bytes": total["activation_bytes"],
        "macs_per_byte": float(per_byte(total["kernel_macs"], moved)),
        "peak_bytes": in_bytes(max(values_held(running, steps)), WIDTHS[precision].activation),
        "flash_bytes": total["flash_bytes"],
    }


def of_kernels(steps: Sequence[Kernel], precision: Precision) -> Int[np.ndarray, "kernels 4"]:
    """For each kernel the bytes of its weights, those with its biases, its MACs, and the bytes it reads and writes."""
    values = [(k.weight_values, k.bias_values, k.macs, k.input_values + k.output_values) for k in steps]
    weights, biases, macs, activations = np.array(values, np.int64).reshape(-1, 4).T
    widths = WIDTHS[precision]
    stored = in_bytes(weights, widths.weight)
    moved = in_bytes(activations, widths.activation)
    return np.stack([stored, stored + in_bytes(biases, widths.bias), macs, moved], 1)

"""All that is counted of one network, by name; `population.py` gives the same for many at once."""

from collections.abc import Sequence

from hardware.costs.kernels import kernels
from hardware.costs.memory import kernel_weight_bytes, peak_of, stored_bytes, values_held
from hardware.costs.precision import Precision
from hardware.costs.traffic import kernel_activation_bytes, per_byte
from search_spaces.alive import alive
from search_spaces.layers import Layer, total_macs, total_params


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
    moved = sum(kernel_activation_bytes(kernel, precision) for kernel in steps)
    stored = sum(stored_bytes(kernel, precision) for kernel in steps)
    return {
        "params": total_params(layers),
        "macs": total_macs(layers),
        "weight_bytes": sum(kernel_weight_bytes(kernel, precision) for kernel in steps),
        "activation_bytes": moved,
        "macs_per_byte": float(per_byte(sum(kernel.macs for kernel in steps), moved + stored)),
        "peak_bytes": peak_of(values_held(running, steps), precision),
        "flash_bytes": stored,
    }

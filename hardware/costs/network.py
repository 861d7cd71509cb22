"""All that is counted of one network, by name; `population.py` gives the same for many at once."""

from collections.abc import Sequence

from hardware.costs.memory import flash_bytes, peak_bytes
from hardware.costs.precision import Precision
from hardware.costs.traffic import activation_bytes, macs_per_byte, weight_bytes
from search_spaces.layers import Layer, total_macs, total_params


def network_costs(layers: Sequence[Layer], precision: Precision) -> dict[str, int | float]:
    """The costs that follow from the layers and the precision, whatever the device.

    Returns:
      `params` and `macs`, as published: of all layers, norms not folded. Of what runs, norms folded and layers that
      can't change the answer left out: `weight_bytes` (read, without biases), `activation_bytes` (read and written),
      `macs_per_byte` (arithmetic intensity), `peak_bytes` (activations alive at once) and `flash_bytes` (weights and
      biases at rest).
    """
    return {
        "params": total_params(layers),
        "macs": total_macs(layers),
        "weight_bytes": weight_bytes(layers, precision),
        "activation_bytes": activation_bytes(layers, precision),
        "macs_per_byte": macs_per_byte(layers, precision),
        "peak_bytes": peak_bytes(layers, precision),
        "flash_bytes": flash_bytes(layers, precision),
    }

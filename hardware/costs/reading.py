"""All costs of one network, part by part and as whole numbers: what the tables of `population.py` are found from."""

from collections.abc import Mapping, Sequence

import numpy as np

from hardware.costs.additive import NetworkCost, Part, Shares, parts_of, row_of
from hardware.costs.kernels import Kernel
from hardware.costs.memory import kernel_weight_bytes, peak_of, stored_bytes, values_held
from hardware.costs.precision import Precision
from hardware.costs.traffic import kernel_activation_bytes
from search_spaces.alive import alive
from search_spaces.derived.slot_costs import Readings, paths_of
from search_spaces.layers import Layer, macs, params

LAYERS = ("params", "macs")
STORED = ("weight_bytes", "flash_bytes", "kernel_macs")
MOVED = ("activation_bytes",)
PEAK = ("peak_bytes",)

BITS = 50
"""How finely tables keep a function's values: the largest seen at first is so many bits above one unit."""

LARGEST = 2.0**62


class Scaled:
    """A function of a network that is a sum over its parts, each part's values in whole numbers of a unit.

    Values that are whole on all of some networks have the unit 1; of others it is a power of two.

    Attributes:
      unit: of each value.
      misfit: whether a part was met that the units don't hold.
    """

    def __init__(self, shares: Shares, probes: Sequence[tuple[Layer, ...]]):
        """Takes the function and networks to find the units from."""
        running = [alive(layers) for layers in probes]
        seen = np.concatenate([shares(layers, parts_of(layers)) for layers in running])
        most = np.max([abs(row_of(shares.cost, layers)) for layers in running], 0)
        fine = np.exp2(np.ceil(np.log2(np.where(most > 0, most, 1.0))) - BITS)
        self._whole = (seen == np.rint(seen)).all(0)
        self.unit, self.misfit, self._shares = np.where(self._whole, 1.0, fine), False, shares

    def __call__(self, layers: Sequence[Layer], parts: Sequence[Part]) -> np.ndarray:
        """The values of the inputs alone and of each part, int64."""
        shares = self._shares(layers, parts)
        units = np.rint(shares / self.unit)
        if (abs(units) > LARGEST).any() or (shares != units)[:, self._whole].any():
            self.misfit = True
            return np.zeros(shares.shape, np.int64)
        return units.astype(np.int64)


class Reader:
    """Reads a network: a row for each layer, one for what is alive at first, and one for each kernel or view.

    Attributes:
      families: names of costs, in the order of the columns; those of one family hang on the same choices. A function of
        several values has its name for each of them.
      functions: those of the costs that are functions of a network.
    """

    def __init__(self, precision: Precision, functions: Mapping[str, Scaled]):
        """Takes the precision and, by name, functions that add up."""
        self._precision: Precision = precision
        self.functions = functions
        self.families = (LAYERS, STORED, MOVED, *((name,) * len(f.unit) for name, f in functions.items()), PEAK)

    def __call__(self, layers: tuple[Layer, ...]) -> Readings:
        """The costs of each part; columns as in `families`."""
        running = alive(layers)
        parts = parts_of(running)
        steps = [part.kernel for part in parts if part.kernel is not None]
        of_layers = np.array([(params(layer), macs(layer)) for layer in layers], np.int64)
        held = iter(values_held(running, steps))
        counted = [(0, 0, 0, 0, peak_of([next(held)], self._precision))]
        for part in parts:
            peak = 0 if part.kernel is None else peak_of([next(held)], self._precision)
            counted.append((*self._of(part.kernel), peak))
        of_parts = np.array(counted, np.int64)
        further = [function(running, parts) for function in self.functions.values()]
        columns = [np.zeros((len(counted), len(LAYERS)), np.int64), of_parts[:, :-1], *further, of_parts[:, -1:]]
        below = np.concatenate(columns, 1)
        above = np.zeros((len(layers), below.shape[1]), np.int64)
        above[:, : len(LAYERS)] = of_layers
        paths = paths_of(running)
        return Readings(
            [*paths_of(layers), "", *(paths[part.position] for part in parts)], np.concatenate([above, below])
        )

    def _of(self, kernel: Kernel | None) -> tuple[int, int, int, int]:
        """`STORED` and `MOVED`."""
        if kernel is None:
            return 0, 0, 0, 0
        weights, stored = kernel_weight_bytes(kernel, self._precision), stored_bytes(kernel, self._precision)
        return weights, stored, kernel.macs, kernel_activation_bytes(kernel, self._precision)


def that_add_up(functions: Mapping[str, NetworkCost], probes: Sequence[tuple[Layer, ...]]) -> dict[str, Scaled]:
    """Those functions that are sums over kernels, as far as these networks show."""
    shares = {name: Shares(cost) for name, cost in functions.items()}
    return {name: Scaled(each, probes) for name, each in shares.items() if all(map(each.add_up, probes))}

"""All costs of one network, part by part and as whole numbers: what the tables of `population.py` are found from."""

from collections.abc import Mapping, Sequence

import numpy as np

from hardware.costs.additive import NetworkCost, Part, Shares, parts_of, row_of
from hardware.costs.memory import values_held
from hardware.costs.network import OF_KERNELS, of_kernels
from hardware.costs.precision import WIDTHS, Precision, in_bytes
from search_spaces.alive import alive
from search_spaces.derived.slot_costs import Readings, paths_of
from search_spaces.layers import Layer, macs, params

LAYERS = ("params", "macs")
STORED, MOVED = OF_KERNELS[:3], OF_KERNELS[3:]
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
      costs: how many columns that are.
      functions: those of the costs that are functions of a network.
    """

    def __init__(self, precision: Precision, functions: Mapping[str, Scaled]):
        """Takes the precision and, by name, functions that add up."""
        self._precision: Precision = precision
        self.functions = functions
        self.families = (LAYERS, STORED, MOVED, *((name,) * len(f.unit) for name, f in functions.items()), PEAK)
        self.costs = sum(map(len, self.families))

    def __call__(self, layers: tuple[Layer, ...]) -> Readings:
        """The costs of each part; columns as in `families`."""
        running = alive(layers)
        parts = parts_of(running)
        steps = [part.kernel for part in parts if part.kernel is not None]
        runs = np.array([False, *(part.kernel is not None for part in parts)])  # the image comes first
        first, last = len(LAYERS), len(LAYERS) + len(OF_KERNELS)
        of_layers = np.zeros((len(layers), self.costs), np.int64)
        of_layers[:, :first] = [(params(layer), macs(layer)) for layer in layers]
        of_parts = np.zeros((len(runs), self.costs), np.int64)
        of_parts[runs, first:last] = of_kernels(steps, self._precision)
        for function in self.functions.values():
            of_parts[:, last : last + len(function.unit)] = function(running, parts)
            last += len(function.unit)
        runs[0] = True
        of_parts[runs, -1] = in_bytes(np.array(values_held(running, steps)), WIDTHS[self._precision].activation)
        paths = paths_of(running)
        found = [*paths_of(layers), "", *(paths[part.position] for part in parts)]
        return Readings(found, np.concatenate([of_layers, of_parts]))


def that_add_up(functions: Mapping[str, NetworkCost], probes: Sequence[tuple[Layer, ...]]) -> dict[str, Scaled]:
    """Those functions that are sums over kernels, as far as these networks show."""
    shares = {name: Shares(cost) for name, cost in functions.items()}
    return {name: Scaled(each, probes) for name, each in shares.items() if all(map(each.add_up, probes))}

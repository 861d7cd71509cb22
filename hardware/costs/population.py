"""Costs of whole populations, peak memory included, gathered from tables that a space's layers gave; exact.

A sum over layers or kernels is a sum of tables, one for each block over the few choices that shape it; the most memory
alive at once is the highest of the blocks' own peaks, each over as few. `search_spaces/derived/tables.py` finds them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from hardware.costs.additive import NetworkCost, Shares, chains, row_of
from hardware.costs.kernels import kernels
from hardware.costs.memory import kernel_weight_bytes, peak_of, stored_bytes, values_held
from hardware.costs.network import network_costs
from hardware.costs.precision import Precision
from hardware.costs.traffic import kernel_activation_bytes, per_byte
from search_spaces.alive import alive
from search_spaces.derived.factors import Factors, one_of
from search_spaces.derived.joined import Joined, gather, joined
from search_spaces.derived.slot_costs import Readings, SlotCosts, paths_of
from search_spaces.derived.tables import NoTablesError, Tables, tables
from search_spaces.layers import Layer, macs, params
from search_spaces.space import Space, canonical, check_archs, largest, option_counts, smallest

LAYERS = ("params", "macs")
STORED = ("weight_bytes", "flash_bytes", "kernel_macs")
MOVED = ("activation_bytes",)
HIGHEST = ("peak_bytes",)
COUNTED = ("params", "macs", "weight_bytes", "activation_bytes", "macs_per_byte", "peak_bytes", "flash_bytes")
"""What is counted of every architecture; `network_costs` says what each is."""

KERNELS = slice(len(LAYERS), len(LAYERS) + len(STORED) + len(MOVED))  # among the costs that are read
PROBED = 12  # architectures on which a function is held to its sum over kernels
BITS = 50  # of a function's values that tables keep, below the highest bit of what the probed networks cost
KEPT = 65_536  # networks whose costs are kept where no tables hold them


@dataclass(frozen=True, eq=False, kw_only=True)
class CostTables:
    """How to have the costs of a population; `cost_tables` makes it, `population` reads it.

    Attributes:
      space: whose architectures.
      precision: of weights and activations.
      functions: further costs by name, each a function of a network.
      summed: names of the tables' sums, in their order; of a row of values, one name for each.
      found: the tables they are in, by their first name.
      joined: all tables side by side.
      quanta: for each function with tables, the values of one unit in them.
      direct: costs that no small tables hold in this space; they are computed network by network, each once.
    """

    space: Space
    precision: Precision
    functions: Mapping[str, NetworkCost]
    summed: tuple[str, ...]
    found: Mapping[str, Tables]
    joined: Joined
    quanta: Mapping[str, Float[np.ndarray, " values"]]
    direct: tuple[str, ...]

    def factors(self, name: str) -> Factors | None:
        """The tables of one counted cost that adds up, e.g. for `bounds`; None where it has none."""
        for names in (LAYERS, STORED, MOVED):
            if name in names and names[0] in self.found:
                return one_of(self.found[names[0]], names.index(name), name)
        return None


def cost_tables(
    space: Space, precision: Precision, functions: Mapping[str, NetworkCost] | None = None
) -> CostTables:
    """Finds the tables of a space; some seconds for a large one, once for each precision and set of functions.

    Args:
      space: any space, of any size.
      precision: of weights and activations.
      functions: further costs by name, functions of a network's layers that give a number or a row of them: a modelled
        latency or energy, a predictor's features. One that is a sum over kernels (it is tried) gets tables, true to
        12 digits; any other is computed network by network.
    """
    return _cost_tables(space, precision, tuple((functions or {}).items()))


@lru_cache(maxsize=32)
def _cost_tables(space: Space, precision: Precision, functions: tuple[tuple[str, NetworkCost], ...]) -> CostTables:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, option_counts(space), (PROBED, len(space.choices))).astype(np.int32)
    probes = [space.layers(row) for row in (smallest(space), largest(space), *canonical(space, drawn))]
    shares = {name: Shares(cost) for name, cost in functions}
    shares = {name: share for name, share in shares.items() if all(map(share.add_up, probes))}
    quanta = {name: _quantum(share, probes) for name, share in shares.items()}
    families: list[tuple[str, ...]] = [LAYERS, STORED, MOVED]
    families += [(name,) * len(quantum) for name, quantum in quanta.items()]
    names = [name for family in families for name in family]
    reader = _Reader(precision, shares, quanta)
    measure = SlotCosts(space, reader, len(names) + len(HIGHEST), highest=[len(names)])
    found, direct, first = {}, [name for name, _ in functions if name not in shares], 0
    for family in (*families, HIGHEST):
        columns, combine = range(first, first + len(family)), "highest" if family == HIGHEST else "sum"
        first += len(family)
        try:
            found[family[0]] = tables(measure, columns, combine, family[0])
        except NoTablesError:
            direct += dict.fromkeys(family)
    if {"kernel_macs", *MOVED} & set(direct):
        direct = [name for name in direct if name != "kernel_macs"] + ["macs_per_byte"]
    summed = tuple(name for family in families if family[0] in found for name in family)
    return CostTables(
        space=space,
        precision=precision,
        functions=dict(functions),
        summed=summed,
        found=found,
        joined=joined(space, list(found.values())),
        quanta={name: quantum for name, quantum in quanta.items() if name in found},
        direct=tuple(direct),
    )


def population(found: CostTables, archs: Any) -> dict[str, Shaped[np.ndarray, "pop ..."]]:
    """The costs of each architecture, by name: those of `COUNTED` and of the functions.

    Args:
      found: the tables of the space.
      archs: `[pop, choices]`, canonical or not.

    Returns:
      What `network_costs` and the functions say of each network; whole numbers int64, others float64.

    Raises:
      ValueError: when a row is not of the space.
    """
    rows = check_archs(found.space, archs)
    sums, highest = gather(found.joined, rows)
    costs: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(found.summed):
        costs[name] = sums[:, [i for i, each in enumerate(found.summed) if each == name]]
        if name in found.quanta:
            costs[name] = costs[name] * found.quanta[name]
        costs[name] = costs[name][:, 0] if costs[name].shape[1] == 1 else costs[name]
    if highest.shape[1]:
        costs["peak_bytes"] = highest[:, 0]
    if "macs_per_byte" not in found.direct:
        costs["macs_per_byte"] = per_byte(costs["kernel_macs"], costs["activation_bytes"] + costs["flash_bytes"])
    if found.direct:
        costs |= _direct(found, rows)
    return {name: costs[name] for name in (*COUNTED, *found.functions)}


def _direct(found: CostTables, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The costs that no tables hold, each distinct network's once."""
    distinct, place = np.unique(canonical(found.space, rows), axis=0, return_inverse=True)
    costs = [_of_network(found, tuple(row.tolist())) for row in distinct]
    place = place.reshape(-1)
    return {name: np.array([each[name] for each in costs])[place] if costs else np.zeros(0) for name in found.direct}


@lru_cache(maxsize=KEPT)
def _of_network(found: CostTables, row: tuple[int, ...]) -> dict[str, Any]:
    layers = found.space.layers(np.array(row, np.int32))
    counted = network_costs(layers, found.precision) if set(found.direct) & set(COUNTED) else {}
    rest = {name: row_of(found.functions[name], layers) for name in found.direct if name in found.functions}
    return counted | {name: value[0] if len(value) == 1 else value for name, value in rest.items()}


def _quantum(share: Shares, probes: list[tuple[Layer, ...]]) -> Float[np.ndarray, " values"]:
    """A power of two, so that whole numbers stay whole, for each value of a function."""
    most = np.max([abs(row_of(share.cost, layers)) for layers in probes], 0)
    return np.exp2(np.ceil(np.log2(np.where(most > 0, most, 1.0))) - BITS)


class _Reader:
    """Reads all costs of a network: a row for each layer, for each kernel or view, and for what is alive at first."""

    def __init__(self, precision: Precision, shares: Mapping[str, Shares], quanta: Mapping[str, np.ndarray]):
        self._precision, self._shares, self._quanta = precision, shares, quanta
        self._costs = KERNELS.stop + sum(map(len, quanta.values())) + len(HIGHEST)

    def __call__(self, layers: tuple[Layer, ...]) -> Readings:
        running = alive(layers)
        steps = kernels(running)
        of_chain = {id(kernel.layer): kernel for kernel in steps}
        parts = chains(running, steps)
        values = np.zeros((len(layers) + 1 + len(parts), self._costs), np.int64)
        values[: len(layers), : len(LAYERS)] = [(params(layer), macs(layer)) for layer in layers]
        held = iter(values_held(running, steps))
        own = values[len(layers) :]
        own[0, -1] = peak_of([next(held)], self._precision)
        for row, (layer, *_) in zip(own[1:], parts, strict=True):
            if (kernel := of_chain.get(id(layer))) is not None:
                row[KERNELS] = self._of(kernel)
                row[-1] = peak_of([next(held)], self._precision)
        at = KERNELS.stop
        for name, share in self._shares.items():
            quantum = self._quanta[name]
            own[:, at : at + len(quantum)] = np.rint(share(running, parts) / quantum)
            at += len(quantum)
        path = {id(layer): path for layer, path in zip(running, paths_of(running), strict=True)}
        return Readings([*paths_of(layers), "", *(path[id(part[0])] for part in parts)], values)

    def _of(self, kernel: Any) -> tuple[int, ...]:
        stored = kernel_weight_bytes(kernel, self._precision), stored_bytes(kernel, self._precision)
        return *stored, kernel.macs, kernel_activation_bytes(kernel, self._precision)

"""Costs of whole populations, peak memory included, gathered from tables that a space's layers gave; exact.

A sum over layers or kernels is a sum of tables, one for each block over the few choices that shape it; the most memory
alive at once is the highest of the blocks' own peaks, each over as few. `search_spaces/derived/tables.py` finds them.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from hardware.costs.additive import NetworkCost, row_of
from hardware.costs.network import network_costs
from hardware.costs.precision import Precision
from hardware.costs.reading import LAYERS, MOVED, PEAK, STORED, Reader, that_add_up
from hardware.costs.traffic import per_byte
from search_spaces.derived.bounds import Extreme, bounds
from search_spaces.derived.factors import Factors, one_of
from search_spaces.derived.highest import least_highest
from search_spaces.derived.joined import Joined, gather, joined
from search_spaces.derived.slot_costs import SlotCosts
from search_spaces.derived.tables import NoTablesError, Tables, tables
from search_spaces.space import Space, canonical, check_archs, largest, option_counts, smallest

COUNTED = ("params", "macs", "weight_bytes", "activation_bytes", "macs_per_byte", "peak_bytes", "flash_bytes")
"""What is counted of every architecture; `network_costs` says what each is."""

INTENSITY = "macs_per_byte"
PROBED = 12  # architectures, drawn at random, on which a function is held to its sum over kernels
KEPT = 65_536  # networks whose costs are kept where no tables hold them


@dataclass(frozen=True, eq=False, kw_only=True)
class CostTables:
    """How to have the costs of a population; `cost_tables` makes it, `population` reads it.

    Attributes:
      space: whose architectures.
      precision: of weights and activations.
      functions: further costs by name, each a function of a network.
      found: tables of several costs, by the name of the first.
      joined: all of them side by side.
      columns: names of the costs that are sums, in the order of the joined tables; a row has its name for each value.
      units: of the values of functions that have tables.
      direct: costs that no small tables hold in this space: computed network by network, each distinct one once.
    """

    space: Space
    precision: Precision
    functions: Mapping[str, NetworkCost]
    found: Mapping[str, Tables]
    joined: Joined
    columns: tuple[str, ...]
    units: Mapping[str, Float[np.ndarray, " values"]]
    direct: tuple[str, ...]

    def factors(self, name: str) -> Factors | None:
        """The tables of one counted cost that adds up, e.g. for `bounds` and `under`; None where it has none."""
        for names in (LAYERS, STORED, MOVED):
            if name in names and names[0] in self.found:
                return one_of(self.found[names[0]], names.index(name), name)
        return None

    def lowest(self, name: str) -> Extreme | None:
        """The lowest value of a counted cost over the whole space; None where tables can't tell it."""
        try:
            if name in PEAK and name in self.found:
                return least_highest(self.found[name])
            adds_up = self.factors(name)
            return None if adds_up is None else bounds(self.space, adds_up).lowest
        except ValueError:  # too many choices interact
            return None


def cost_tables(space: Space, precision: Precision, functions: Mapping[str, NetworkCost] | None = None) -> CostTables:
    """Finds the tables of a space; some seconds for a large one, once for each precision and functions.

    Args:
      space: any space, of any size.
      precision: of weights and activations.
      functions: further costs by name, functions of a network's layers that give a number or a row of them: a modelled
        latency or energy, a predictor's features. One that is a sum over kernels (it is tried) gets tables, whose
        values are its own to 9 digits at least; any other is computed network by network.

    Raises:
      ValueError: when a function has the name of a cost that is counted anyway.
    """
    for name in functions or {}:
        if name in (*COUNTED, *STORED):
            raise ValueError(f"a function can't be called `{name}`, which is counted anyway; give it another name")
    return _cost_tables(space, precision, tuple((functions or {}).items()))


@lru_cache(maxsize=32)
def _cost_tables(space: Space, precision: Precision, functions: tuple[tuple[str, NetworkCost], ...]) -> CostTables:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, option_counts(space), (PROBED, len(space.choices))).astype(np.int32)
    probes = [space.layers(row) for row in (smallest(space), largest(space), *canonical(space, drawn))]
    reader = Reader(precision, that_add_up(dict(functions), probes))
    measure = SlotCosts(space, reader, reader.costs, highest=[reader.costs - 1])
    found: dict[str, Tables] = {}
    first = 0
    for family in reader.families:
        at = range(first, first + len(family))
        first += len(family)
        with suppress(NoTablesError):
            found[family[0]] = tables(measure, at, "highest" if family == PEAK else "sum", family[0])
    found = {n: t for n, t in found.items() if n not in reader.functions or not reader.functions[n].misfit}
    without = [name for family in reader.families if family[0] not in found for name in family]
    without += [name for name, _ in functions if name not in found]
    if {"kernel_macs", *MOVED} & set(without):
        without.append(INTENSITY)
    return CostTables(
        space=space,
        precision=precision,
        functions=dict(functions),
        found=found,
        joined=joined(space, list(found.values())),
        columns=tuple(name for family in reader.families if family[0] in found and family != PEAK for name in family),
        units={name: function.unit for name, function in reader.functions.items() if name in found},
        direct=tuple(dict.fromkeys(name for name in without if name != "kernel_macs")),
    )


def population(found: CostTables, archs: Any) -> dict[str, Shaped[np.ndarray, "pop ..."]]:
    """The costs of each architecture, by name: those of `COUNTED` and of the functions.

    Args:
      found: the tables of the space.
      archs: `[pop, choices]`, canonical or not.

    Returns:
      What `network_costs` and the functions say of each network: counts int64, others float64; of a function that gives
      a row, `[pop, values]`.

    Raises:
      ValueError: when a row is not of the space.
    """
    rows = check_archs(found.space, archs)
    sums, highest = gather(found.joined, rows)
    costs: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(found.columns):
        of_name = sums[:, [i for i, each in enumerate(found.columns) if each == name]]
        if name in found.units:
            of_name = of_name * found.units[name]
        costs[name] = of_name[:, 0] if of_name.shape[1] == 1 else of_name
    if highest.shape[1]:
        costs[PEAK[0]] = highest[:, 0]
    if INTENSITY not in found.direct:
        costs[INTENSITY] = per_byte(costs["kernel_macs"], costs["activation_bytes"] + costs["flash_bytes"])
    if found.direct:
        costs |= _direct(found, rows)
    return {name: costs[name] for name in (*COUNTED, *found.functions)}


def _direct(found: CostTables, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The costs that no tables hold."""
    distinct, place = np.unique(canonical(found.space, rows), axis=0, return_inverse=True)
    asked = distinct if len(distinct) else smallest(found.space)[None]  # of none, what is told is its kind
    costs = [_of_network(found, tuple(row.tolist())) for row in asked]
    return {name: np.array([each[name] for each in costs])[place.reshape(-1)] for name in found.direct}


@lru_cache(maxsize=KEPT)
def _of_network(found: CostTables, row: tuple[int, ...]) -> dict[str, Any]:
    layers = found.space.layers(np.array(row, np.int32))
    counted = network_costs(layers, found.precision) if set(found.direct) & set(COUNTED) else {}
    rest = {name: row_of(found.functions[name], layers) for name in found.direct if name in found.functions}
    return counted | {name: value[0] if len(value) == 1 else value for name, value in rest.items()}


def forget() -> None:
    """Drops the costs that were computed network by network and kept."""
    _of_network.cache_clear()

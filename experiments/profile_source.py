"""Where a profile's numbers come from: networks timed on a board, or a published table that says what they took."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Int, PRNGKeyArray

from experiments.build import describe
from hardware.costs.cost import Cost
from hardware.export.weights import random_weights, weight_shapes
from hardware.measuring.campaign import measure_networks, reference_time
from hardware.measuring.measurement import UNITS
from hardware.measuring.store import MeasurementStore
from hardware.runtimes.artifact import Network
from hardware.tables.table import Column, Table
from hardware.target import Target
from nas.profiling import POOL, evenly, spread
from search_spaces.alive import alive
from search_spaces.layers import Layer, Zeros, total_macs
from search_spaces.space import Space

Archs = Int[np.ndarray, "networks choices"]


class Taken(NamedTuple):
    """What came of a go.

    Attributes:
      costs: by the networks' place among those asked for.
      failures: why the others have none.
    """

    costs: Mapping[int, Cost]
    failures: Mapping[int, str]


@runtime_checkable
class Source(Protocol):
    """Chooses networks and says what they cost."""

    @property
    def name(self) -> str:
        """What the costs are of: the name of a target."""
        ...

    @property
    def verb(self) -> str:
        """How the costs were come by, for people: `measured`, `quoted`."""
        ...

    @property
    def space(self) -> Space:
        """Whose networks they are."""
        ...

    def choose(self, key: PRNGKeyArray, n: int) -> Archs:
        """Up to `n` networks that cover the range of costs."""
        ...

    def take(self, archs: Archs, campaign: str, progress: Callable[[int, int], None]) -> Taken:
        """Their costs; `progress` is called with (costs done, costs to do).

        Raises:
          ValueError: when nothing at all can be had, as where a board is gone.
        """
        ...

    def said(self) -> dict[str, Any]:
        """All that the costs hang on, as plain values.

        Raises:
          ValueError: when what they are of cannot be asked, as where a board is gone.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class OnBoard:
    """Networks timed on a target.

    Attributes:
      target: has a runtime, and where energy is asked for a meter.
      metric: `latency_ms` or `energy_mj`.
      space: whose networks.
      store: of measurements, shared with other runs.
      reuse: whether rows of other campaigns count.

    Raises:
      ValueError: when the target cannot measure that.
    """

    target: Target
    metric: str
    space: Space
    store: MeasurementStore
    reuse: bool

    def __post_init__(self) -> None:
        name = self.target.name
        if not self.target.measurable:
            raise ValueError(
                f"`{name}` cannot be measured: it has no runtime, its costs are modelled; describe your board with a"
                " runtime and a protocol (hardware/README.md), or profile a published table (edgenas profile --help)"
            )
        if self.metric not in UNITS:
            raise ValueError(f"`metric` of a board must be {' or '.join(UNITS)}, got `{self.metric}`")
        if self.metric == "energy_mj" and self.target.meter is None:
            raise ValueError(
                f"`{name}` has no meter, so that its energy cannot be measured; give it one (target.meter, see"
                " hardware/README.md), or leave `metric` out"
            )

    verb = "measured"

    @property
    def name(self) -> str:
        """The target's."""
        return self.target.name

    def choose(self, key: PRNGKeyArray, n: int) -> Archs:
        """See `Source`."""
        return spread(key, self.space, n)

    def take(self, archs: Archs, campaign: str, progress: Callable[[int, int], None]) -> Taken:
        """See `Source`; what is in the store is not measured again."""
        networks = {str(i): self._network(arch) for i, arch in enumerate(archs)}
        wanted = self.target if self.metric == "energy_mj" else replace(self.target, meter=None)
        found = measure_networks(wanted, networks, self.store, campaign=campaign, reuse=self.reuse, progress=progress)
        costs, failures = found.costs, found.failures
        if self.metric == "energy_mj":
            costs, failures = found.energies, found.energy_failures
        return Taken(
            {int(name): cost for name, cost in costs.items()},
            {int(name): failure.reason for name, failure in failures.items()},
        )

    def _network(self, arch: Int[np.ndarray, " choices"]) -> Network:
        layers = self.space.layers(arch)
        return layers, DrawnWeights(layers)

    def reference_ms(self, campaign: str) -> float | None:
        """What the reference network took, ms, to whose scale the times were brought."""
        return reference_time(self.target, self.store, None if self.reuse else campaign)

    def said(self) -> dict[str, Any]:
        """See `Source`."""
        if self.metric == "energy_mj" and self.target.meter is not None:
            self.target.meter.check()
        bench = self.target.bench()
        return {"host": bench.host(), "runtime": bench.version(), "target": describe(self.target)}


class DrawnWeights(Mapping[str, np.ndarray]):
    """Random weights that are drawn when they are asked for: those of hundreds of networks would fill the memory."""

    def __init__(self, layers: tuple[Layer, ...]):
        """Takes the layers that they are of."""
        self.layers, self.names = layers, weight_shapes(layers)

    def __getitem__(self, name: str) -> np.ndarray:
        return _drawn(self.layers)[name]

    def __iter__(self):
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


@lru_cache(maxsize=1)
def _drawn(layers: tuple[Layer, ...]) -> Mapping[str, np.ndarray]:
    return random_weights(layers)


@dataclass(frozen=True, kw_only=True, eq=False)
class FromTable:
    """Networks that a published table has, and what it says of them.

    Networks whose answer hangs on no image are left out: a runtime folds them to nothing, and says about 0.

    Attributes:
      table: of a space.
      column: one of the table's.
    """

    table: Table
    column: Column

    @property
    def verb(self) -> str:
        """The kind of the column's costs."""
        return self.column.kind

    @property
    def name(self) -> str:
        """Table and column."""
        return f"{self.table.name}/{self.column.name}"

    @property
    def space(self) -> Space:
        """The table's.

        Raises:
          ValueError: when its rows are features.
        """
        if self.table.space is None:
            raise ValueError(
                f"the rows of table `{self.table.name}` are no architectures but {', '.join(list(self.table.keys)[:4])}"
                " and so on: networks cannot be built from them; read it in Python (hardware/tables)"
            )
        return self.table.space

    def choose(self, key: PRNGKeyArray, n: int) -> Archs:
        """See `Source`; of measurements that stand for several networks, one is taken."""
        rows = self.table.distinct(self.column)
        drawn = rows[np.asarray(jax.random.permutation(key, len(rows)))[: n * POOL]]
        archs = self.table.archs[drawn]
        layers = [self.space.layers(arch) for arch in archs]
        seen = [not any(isinstance(layer, Zeros) for layer in alive(each)) for each in layers]
        macs = np.array([total_macs(each) for each in layers], np.float64)[seen]
        return archs[seen][evenly(macs, n)]

    def take(self, archs: Archs, campaign: str, progress: Callable[[int, int], None]) -> Taken:
        """See `Source`."""
        costs = {i: self.table.cost(self.table.row_of(arch), self.column) for i, arch in enumerate(archs)}
        progress(len(costs), len(archs))
        return Taken(costs, {})

    def said(self) -> dict[str, Any]:
        """See `Source`."""
        return {"table": self.table.name, "source": self.table.source, "column": describe(self.column)}

"""Prices of which one is what a published table says: quoted, or modelled where the table was."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from hardware.costs.cost import Cost
from hardware.tables.table import TableTarget


@dataclass(frozen=True, kw_only=True, eq=False)
class TablePrices:
    """Called as `Prices` are: the costs of an architecture, with the table's among them.

    A table of a whole space (NAS-Bench-201) serves a search; one of samples prices only those it has.

    Attributes:
      target: a column of a table.
      prices: the other costs, e.g. `nas.objective.Prices`; None for none.
    """

    target: TableTarget
    prices: Callable[[Int[np.ndarray, " choices"]], Mapping[str, Cost]] | None = None

    @property
    def label(self) -> str:
        """The column's name among the costs, as `latency_ms@help_nas_bench_201/raspi4`: for objectives."""
        return f"{self.target.column.metric}@{self.target.name}"

    def __call__(self, arch: Int[np.ndarray, " choices"]) -> dict[str, Cost]:
        """The costs of one architecture, by column name.

        Raises:
          ValueError: when the table does not have it.
        """
        return {**(self.prices(arch) if self.prices else {}), self.label: self.target.cost(arch)}

"""A published table of costs: rows are networks, columns are what was said of them, each with unit and origin.

What a table says is quoted where it was measured by those who published it, and modelled where they simulated it,
added it up or interpolated it: nothing of it was measured here.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Shaped

from hardware.costs.cost import Cost, Kind
from search_spaces.space import Space, canonical, check_arch

Origin = Literal["measured", "simulated", "sum_of_table", "interpolated"]
"""How the publishers came by a column: measured whole networks (or operators) on the device, ran a simulator or an
analytical model, added up a table of blocks, or interpolated between measurements. Of all but the first, a predictor
can learn no more than the formula."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a table says of every network.

    Attributes:
      name: of the device as the table has it, with its runtime or batch where there are several, e.g. `raspi4`.
      metric: the cost, with its unit: `latency_ms`, `energy_mj`; a name may have several.
      unit: `ms`, `mJ`.
      device: in words, with what is known of runtime, threads and batch.
      origin: how the numbers were come by.
      resolution: the step of the clock that took them, in `unit`; None where it is fine, or not known.
      note: what misleads.
    """

    name: str
    metric: str = "latency_ms"
    unit: str = "ms"
    device: str
    origin: Origin
    resolution: float | None = None
    note: str = ""

    @property
    def label(self) -> str:
        """Name and metric: unique in its table."""
        return f"{self.name} {self.metric}"

    @property
    def kind(self) -> Kind:
        """Of the costs drawn from it."""
        return "quoted" if self.origin == "measured" else "modelled"


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A published table.

    Attributes:
      name: as in the file name of its settings.
      source: the publication.
      keys: what says which network a row is of, an array `[rows]` for each: the indices of the space's choices, in
        their order, or features under their published names.
      columns: in the order of `values`; their labels differ.
      values: in the columns' units; NaN where the publishers have none.
      std: the spread of each, in the same unit; NaN where it is not known.
      space: whose architectures the rows are; None where the table has features only.
      groups: rows of one number are one measurement, as of isomorphic cells: never split them between fit and test.

    Raises:
      ValueError: when shapes don't fit together, or a label comes twice.
    """

    name: str
    source: str
    keys: Mapping[str, Shaped[np.ndarray, " rows"]]
    columns: tuple[Column, ...]
    values: Float[np.ndarray, "rows columns"]
    std: Float[np.ndarray, "rows columns"]
    space: Space | None = None
    groups: Int[np.ndarray, " rows"]

    def __post_init__(self) -> None:
        shape = (len(self.values), len(self.columns))
        found = {"values": self.values.shape, "std": self.std.shape}
        wrong = [name for name, each in found.items() if each != shape]
        wrong += [name for name, each in {**self.keys, "groups": self.groups}.items() if each.shape != shape[:1]]
        if wrong:
            raise ValueError(f"table `{self.name}`: `{wrong[0]}` does not fit {shape[0]} rows of {shape[1]} columns")
        labels = [column.label for column in self.columns]
        if len(set(labels)) < len(labels):
            raise ValueError(f"table `{self.name}`: columns must differ in name or metric, got {labels}")
        if self.space is not None and list(self.keys) != [choice.name for choice in self.space.choices]:
            raise ValueError(f"table `{self.name}`: its keys must be the space's choices, in their order")

    def __len__(self) -> int:
        """How many rows it has."""
        return len(self.values)

    @property
    def archs(self) -> Int[np.ndarray, "rows choices"]:
        """The architecture of each row.

        Raises:
          ValueError: when the table has features only.
        """
        return self._archs

    @cached_property
    def _archs(self) -> Int[np.ndarray, "rows choices"]:
        if self.space is None:
            raise ValueError(
                f"table `{self.name}` has no architectures of a space of ours; its rows are {', '.join(self.keys)}"
            )
        return np.stack(list(self.keys.values()), 1).astype(np.int32)

    def column(self, name: str, metric: str = "latency_ms") -> Column:
        """The column of a name and metric.

        Raises:
          ValueError: when there is none, with the nearest that there is.
        """
        metrics = [column.metric for column in self.columns if column.name == name]
        if metric in metrics:
            return next(each for each in self.columns if (each.name, each.metric) == (name, metric))
        if metrics:
            raise ValueError(
                f"table `{self.name}` says no `{metric}` of `{name}`; it says {', '.join(f'`{m}`' for m in metrics)}"
            )
        names = list(dict.fromkeys(column.name for column in self.columns))
        close = difflib.get_close_matches(name, names, 1, 0.5)
        hint = f"; did you mean `{close[0]}`?" if close else f"; there are {', '.join(f'`{n}`' for n in names)}"
        raise ValueError(f"table `{self.name}` has no column `{name}`{hint}")

    def of(self, column: Column) -> Float[np.ndarray, " rows"]:
        """A column's values; NaN where there is none."""
        return self.values[:, self.columns.index(column)]

    def distinct(self, column: Column) -> Int[np.ndarray, " found"]:
        """The rows that have a value in a column, one of each group: measurements that do not leak into each other."""
        known = np.flatnonzero(np.isfinite(self.of(column)))
        return known[np.unique(self.groups[known], return_index=True)[1]]

    def find(self, **keys: Any) -> Int[np.ndarray, " found"]:
        """The rows that have these keys.

        Raises:
          ValueError: when there is no such key.
        """
        matches = np.ones(len(self), bool)
        for name, value in keys.items():
            if name not in self.keys:
                raise ValueError(f"table `{self.name}` has no key `{name}`; it has {', '.join(self.keys)}")
            matches &= self.keys[name] == value
        return np.flatnonzero(matches)

    def row_of(self, arch: Int[Any, " choices"] | Sequence[int]) -> int:
        """The row of an architecture: the first, where a table has it twice.

        Raises:
          ValueError: when it is no architecture of the space, or the table doesn't have it.
        """
        archs, space = self.archs, self.space
        assert space is not None  # `archs` has seen to it
        wanted = tuple(canonical(space, check_arch(space, arch)).tolist())
        if wanted not in self._rows:
            raise ValueError(
                f"table `{self.name}` has {len(archs):,} networks of its space, and {wanted} is none of them;"
                " learn from those it has (edgenas profile), or choose among `archs`"
            )
        return self._rows[wanted]

    @cached_property
    def _rows(self) -> dict[tuple[int, ...], int]:
        archs = self.archs.tolist()
        return {tuple(arch): row for row, arch in reversed(list(enumerate(archs)))}

    def cost(self, row: int, column: Column) -> Cost:
        """What the table says of a row.

        Raises:
          ValueError: when it says nothing.
        """
        value, std = (float(each[row, self.columns.index(column)]) for each in (self.values, self.std))
        if not math.isfinite(value):
            raise ValueError(f"table `{self.name}` has no {column.metric} of row {row} on `{column.name}`")
        return Cost(
            name=column.metric,
            value=value,
            std=std if math.isfinite(std) else None,
            unit=column.unit,
            kind=column.kind,
            target=f"{self.name}/{column.name}",
        )

    def lookup(self, arch: Int[Any, " choices"] | Sequence[int], name: str, metric: str = "latency_ms") -> Cost:
        """What the table says of an architecture.

        Raises:
          ValueError: when it has no such architecture, column or value.
        """
        return self.cost(self.row_of(arch), self.column(name, metric))


@runtime_checkable
class TableSource(Protocol):
    """Settings that say where a table lies."""

    def load(self) -> Table:
        """The table.

        Raises:
          FileNotFoundError: when a file isn't there.
          ValueError: when it is another than the one known, or damaged.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class TableTarget:
    """A column as a target: it prices the networks that the table has, and no others.

    Attributes:
      table: of a space.
      column: one of the table's.
    """

    table: Table
    column: Column

    @property
    def name(self) -> str:
        """`<table>/<column>`, as its costs say too."""
        return f"{self.table.name}/{self.column.name}"

    def cost(self, arch: Int[Any, " choices"] | Sequence[int]) -> Cost:
        """What the table says of an architecture.

        Raises:
          ValueError: when it says nothing of it.
        """
        return self.table.cost(self.table.row_of(arch), self.column)

"""How many channels a tensor has, told by the choices that decide it: fixed, elastic, or several widths joined."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int

from search_spaces.axes import Axis, Joined
from search_spaces.reading import Reading


@dataclass(frozen=True)
class Width:
    """A number of channels.

    Attributes:
      counts: a number, or nested tuples of them, one level a choice: `counts[index of choice 1][index of choice 2]`.
      choices: the names of the choices, as whoever reads them knows them.
    """

    counts: Any
    choices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        table = self.table
        if table.ndim != len(self.choices) or table.size == 0 or (table < 1).any():
            raise ValueError(
                f"a width needs counts of at least 1, nested as deep as it has choices, got {self.counts} for"
                f" {len(self.choices)} choices {self.choices}"
            )

    @cached_property
    def table(self) -> Int[np.ndarray, "..."]:
        """The counts as an array, an axis a choice."""
        return np.array(self.counts)

    @cached_property
    def largest(self) -> int:
        """The most channels it can be."""
        return int(self.table.max())

    @cached_property
    def is_fixed(self) -> bool:
        """Whether no choice changes it."""
        return bool(self.table.min() == self.table.max())

    def read(self, read: Reading) -> Axis:
        """The axis that a reading makes of it."""
        return read.axis(self.table, *self.choices)

    def mapped(self, count: Callable[[int], int]) -> "Width":
        """Another width that follows from each of its numbers.

        Raises:
          ValueError: when one of the numbers that follow is below 1.
        """
        table = np.asarray(np.vectorize(lambda n: count(int(n)), otypes=[int])(self.table))
        return Width(_nested(table), self.choices)

    def times(self, options: tuple[Any, ...], choice: str, count: Callable[[int, Any], int]) -> "Width":
        """A width that hangs on one more choice.

        Args:
          options: of that choice.
          choice: its name.
          count: the channels for a number of ours and an option.
        """
        if len(options) == 1:
            return self.mapped(lambda n: count(n, options[0]))
        table = np.stack([np.vectorize(lambda n, o=o: count(int(n), o), otypes=[int])(self.table) for o in options], -1)
        return Width(_nested(table), (*self.choices, choice))

    def renamed(self, names: Mapping[str, str]) -> "Width":
        """The same width under other names of its choices."""
        return replace(self, choices=tuple(names[choice] for choice in self.choices))


@dataclass(frozen=True)
class Join:
    """Widths one behind the other."""

    parts: tuple[Width, ...]

    @property
    def choices(self) -> tuple[str, ...]:
        """The names of all choices that decide it."""
        return tuple(dict.fromkeys(choice for part in self.parts for choice in part.choices))

    @property
    def largest(self) -> int:
        """The most channels it has room for."""
        return sum(part.largest for part in self.parts)

    @property
    def is_fixed(self) -> bool:
        """Whether no choice changes it."""
        return all(part.is_fixed for part in self.parts)

    def read(self, read: Reading) -> Axis:
        """The axis that a reading makes of it."""
        return Joined(tuple((part.read(read), part.largest) for part in self.parts))

    def mapped(self, count: Callable[[int], int]) -> Width:
        """Refused: only a width of its own can have another follow from it.

        Raises:
          ValueError: always.
        """
        raise ValueError("a width cannot follow from channels that were joined; put a convolution between them")

    def times(self, options: tuple[Any, ...], choice: str, count: Callable[[int, Any], int]) -> Width:
        """Refused, as `mapped` is.

        Raises:
          ValueError: always.
        """
        return self.mapped(lambda n: n)

    def renamed(self, names: Mapping[str, str]) -> "Join":
        """The same width under other names of its choices."""
        return Join(tuple(part.renamed(names) for part in self.parts))


Channels = Width | Join


def joined(widths: tuple[Channels, ...]) -> Channels:
    """The width of channels that are put one behind the other."""
    parts = tuple(_parts(widths))
    if all(part.is_fixed for part in parts):
        return Width(sum(part.largest for part in parts))
    return parts[0] if len(parts) == 1 else Join(parts)


def _parts(widths: tuple[Channels, ...]) -> Iterator[Width]:
    for width in widths:
        yield from width.parts if isinstance(width, Join) else (width,)


def as_width(channels: "int | Channels") -> Channels:
    """A plain number as a width."""
    return Width(channels) if isinstance(channels, int) else channels


def elastic(counts: tuple[int, ...], choice: str) -> Width:
    """A width with an option for each count; of a single count it is fixed."""
    return Width(counts[0]) if len(counts) == 1 else Width(counts, (choice,))


def _nested(table: np.ndarray) -> Any:
    def tuples(rows: Any) -> Any:
        return tuple(map(tuples, rows)) if isinstance(rows, list) else rows

    return tuples(table.tolist())

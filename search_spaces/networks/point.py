"""A point: one architecture of one space, with where it was published."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int

from search_spaces.layers import Layer
from search_spaces.space import Choice, Space


@dataclass(frozen=True, kw_only=True)
class Point:
    """One network.

    Attributes:
      space: that it is a point of; a network designed by hand has a space of its own, without choices.
      arch: its index of each choice.
      source: where it was published, and what is different here.
      row: its name in the table of reference counts (`networks.csv`), where it has one.
    """

    space: Space
    arch: tuple[int, ...] = field(default=())
    source: str
    row: str | None = None

    @property
    def genes(self) -> Int[np.ndarray, " choices"]:
        """Its architecture as the row that functions take."""
        return np.array(self.arch, np.int32)

    def layers(self) -> tuple[Layer, ...]:
        """Its graph."""
        return self.space.layers(self.genes)


def arch_of(space: Space, options: Mapping[str, Any]) -> tuple[int, ...]:
    """The architecture that has these options; choices that are not said are at their first.

    Raises:
      ValueError: when a name is no choice, or a value none of its options.
    """
    names = {choice.name for choice in space.choices}
    if unknown := sorted(options.keys() - names):
        raise ValueError(f"`{unknown[0]}` is no choice of this space; they are {', '.join(sorted(names))}")
    return tuple(_index(choice, options[choice.name]) if choice.name in options else 0 for choice in space.choices)


def _index(choice: Choice, option: Any) -> int:
    if option not in choice.options:
        raise ValueError(f"`{choice.name}` has the options {choice.options}, got {option}")
    return choice.options.index(option)

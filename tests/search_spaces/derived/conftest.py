"""Spaces of choices alone, and what writing all of their networks out gives."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from search_spaces.space import Choice, canonical, option_counts


@dataclass(frozen=True)
class Toy:
    """Choices without a network."""

    choices: tuple[Choice, ...]

    def supernet(self, key):
        return None

    def layers(self, arch):
        return ()


NESTED = Toy(
    (
        Choice(name="width", options=(8, 16)),
        Choice(name="depth", options=(1, 2, 3)),
        Choice(name="kernel2", options=(3, 5, 7), requires=("depth", 1)),
        Choice(name="only", options=("one",)),
        Choice(name="kernel3", options=(3, 5), requires=("depth", 2)),
        Choice(name="gate3", options=(False, True), requires=("kernel3", 1)),
        Choice(name="with2", options=(1, 2), requires=("kernel2", 0)),
    )
)
FIXED = Toy((Choice(name="only", options=("one",)),))
FLAT = Toy(tuple(Choice(name=f"c{i}", options=(0, 1, 2)) for i in range(6)))


@pytest.fixture
def nested() -> Toy:
    """Choices that require one another, two deep, at their first option too."""
    return NESTED


@pytest.fixture
def flat() -> Toy:
    """Choices that all have an effect: 3^6 networks."""
    return FLAT


@pytest.fixture(params=[NESTED, FIXED, FLAT], ids=["nested", "fixed", "flat"])
def toy(request: pytest.FixtureRequest) -> Toy:
    """Each of them, and one that holds a single network."""
    return request.param


@pytest.fixture
def listed() -> Callable[[Any], np.ndarray]:
    """All distinct canonical rows of a space, sorted: from all rows of genes."""

    def rows_of(space: Any) -> np.ndarray:
        rows = np.array(list(itertools.product(*map(range, option_counts(space)))), np.int32)
        return np.unique(canonical(space, rows), axis=0)

    return rows_of

"""An enumeration is what writing everything out gives."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from search_spaces.derived.enumeration import enumerate_all
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
SPACES = [NESTED, FIXED, FLAT]


def listed(space):
    """All distinct canonical rows, sorted: from all rows of genes."""
    rows = np.array(list(itertools.product(*map(range, option_counts(space)))), np.int32)
    return np.unique(canonical(space, rows), axis=0)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("block", [1, 7, 4096])
def test_every_network_comes_once_and_in_order(space, block):
    blocks = list(enumerate_all(space, block=block))
    assert all(0 < len(rows) <= block for rows in blocks)
    assert np.array_equal(np.concatenate(blocks), listed(space))
    assert blocks[0].dtype == np.int32


def test_blocks_come_when_asked_for():
    huge = Toy(tuple(Choice(name=f"c{i}", options=(0, 1, 2)) for i in range(30)))
    first = next(enumerate_all(huge, limit=3**30, block=100))
    assert first[0].tolist() == [0] * 30
    assert first[1].tolist() == [0] * 29 + [1]


def test_a_space_beyond_the_limit_is_refused_before_it_is_asked_for():
    with pytest.raises(ValueError, match=r"a space of 729 networks is not enumerated beyond 728; raise `limit`"):
        enumerate_all(FLAT, limit=728)
    with pytest.raises(ValueError, match="`block` must be at least 1, got 0"):
        enumerate_all(FLAT, block=0)

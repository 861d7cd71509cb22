"""Neighbours are those that writing everything out gives."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from search_spaces.derived.neighbours import neighbours
from search_spaces.space import Choice, active, canonical, option_counts, size


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


def test_neighbours_are_written_out():
    # width 8, depth 2, kernel2 5 and with2 2; kernel3 and what hangs on it sleep
    assert neighbours(NESTED, [0, 1, 1, 0, 0, 0, 1]).tolist() == [
        [1, 1, 1, 0, 0, 0, 1],  # the other width
        [0, 0, 0, 0, 0, 0, 0],  # depth 1: kernel2 and with2 fall asleep
        [0, 2, 1, 0, 0, 0, 1],  # depth 3: kernel3 wakes at its first option
        [0, 1, 0, 0, 0, 0, 1],
        [0, 1, 2, 0, 0, 0, 1],
        [0, 1, 1, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("space", SPACES)
def test_neighbours_are_distinct_canonical_and_as_many_as_there_are_other_options(space):
    for row in listed(space):
        rows = neighbours(space, row)
        assert len(rows) == (option_counts(space) - 1)[active(space, row)].sum()
        assert len(np.unique(rows, axis=0)) == len(rows)
        assert np.array_equal(canonical(space, rows), rows)
        assert not (rows == row).all(1).any()


def test_genes_without_effect_do_not_matter():
    assert np.array_equal(neighbours(NESTED, [0, 0, 2, 0, 1, 1, 1]), neighbours(NESTED, [0] * 7))


def test_every_network_is_reached_in_steps():
    reached = {bytes(np.zeros(7, np.int32))}
    ahead = [np.zeros(7, np.int32)]
    while ahead:
        for row in neighbours(NESTED, ahead.pop()):
            if bytes(row) not in reached:
                reached.add(bytes(row))
                ahead.append(row)
    assert len(reached) == size(NESTED)


def test_rows_of_another_space_are_refused():
    with pytest.raises(ValueError, match="`width` has options"):
        neighbours(NESTED, [2] * 7)

"""Neighbours are those that writing everything out gives."""

import numpy as np
import pytest

from search_spaces.derived.neighbours import neighbours
from search_spaces.space import active, canonical, option_counts, size


def test_neighbours_are_written_out(nested):
    # width 8, depth 2, kernel2 5 and with2 2; kernel3 and what hangs on it sleep
    assert neighbours(nested, [0, 1, 1, 0, 0, 0, 1]).tolist() == [
        [1, 1, 1, 0, 0, 0, 1],  # the other width
        [0, 0, 0, 0, 0, 0, 0],  # depth 1: kernel2 and with2 fall asleep
        [0, 2, 1, 0, 0, 0, 1],  # depth 3: kernel3 wakes at its first option
        [0, 1, 0, 0, 0, 0, 1],
        [0, 1, 2, 0, 0, 0, 1],
        [0, 1, 1, 0, 0, 0, 0],
    ]


def test_neighbours_are_distinct_canonical_and_as_many_as_there_are_other_options(toy, listed):
    for row in listed(toy):
        rows = neighbours(toy, row)
        assert len(rows) == (option_counts(toy) - 1)[active(toy, row)].sum()
        assert len(np.unique(rows, axis=0)) == len(rows)
        assert np.array_equal(canonical(toy, rows), rows)
        assert not (rows == row).all(1).any()


def test_genes_without_effect_do_not_matter(nested):
    assert np.array_equal(neighbours(nested, [0, 0, 2, 0, 1, 1, 1]), neighbours(nested, [0] * 7))


def test_every_network_is_reached_in_steps(nested):
    reached = {bytes(np.zeros(7, np.int32))}
    ahead = [np.zeros(7, np.int32)]
    while ahead:
        for row in neighbours(nested, ahead.pop()):
            if bytes(row) not in reached:
                reached.add(bytes(row))
                ahead.append(row)
    assert len(reached) == size(nested)


def test_rows_of_another_space_are_refused(nested):
    with pytest.raises(ValueError, match="`width` has options"):
        neighbours(nested, [2] * 7)

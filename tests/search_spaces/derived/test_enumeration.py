"""An enumeration is what writing everything out gives."""

from dataclasses import replace

import numpy as np
import pytest

from search_spaces.derived.enumeration import enumerate_all
from search_spaces.space import Choice


@pytest.mark.parametrize("block", [1, 7, 4096])
def test_every_network_comes_once_and_in_order(toy, listed, block):
    blocks = list(enumerate_all(toy, block=block))
    assert all(0 < len(rows) <= block for rows in blocks)
    assert np.array_equal(np.concatenate(blocks), listed(toy))
    assert blocks[0].dtype == np.int32


def test_blocks_come_when_asked_for(flat):
    huge = replace(flat, choices=tuple(Choice(name=f"c{i}", options=(0, 1, 2)) for i in range(30)))
    first = next(enumerate_all(huge, limit=3**30, block=100))
    assert first[0].tolist() == [0] * 30
    assert first[1].tolist() == [0] * 29 + [1]


def test_a_space_beyond_the_limit_is_refused_before_it_is_asked_for(flat):
    with pytest.raises(ValueError, match=r"a space of 729 networks is not enumerated beyond 728; raise `limit`"):
        enumerate_all(flat, limit=728)
    with pytest.raises(ValueError, match="`block` must be at least 1, got 0"):
        enumerate_all(flat, block=0)

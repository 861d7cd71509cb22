"""A limit says itself so that it can be compared with exact costs."""

import pytest

from search_spaces.derived.limits import Limit


@pytest.mark.parametrize(
    ("sides", "rule"),
    [
        ({"at_most": 300_774_123}, "macs at most 300,774,123"),
        ({"at_most": 3e8, "at_least": 0}, "macs at least 0 and at most 300,000,000"),
        ({"at_most": 0.123456789}, "macs at most 0.123456789"),
        ({"at_least": 1e-6}, "macs at least 1e-06"),
        ({"at_most": float("inf")}, "macs at most inf"),
    ],
)
def test_whole_numbers_are_said_in_full(sides, rule):
    assert Limit(cost="macs", **sides).rule == rule

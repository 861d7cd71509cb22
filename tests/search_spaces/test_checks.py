"""Settings of spaces are refused with one line that says what would do."""

from dataclasses import dataclass
from typing import Any

import pytest

from search_spaces.checks import above_zero, at_least_one, increasing, not_empty, odd_kernels, one_of, some_in_order


@dataclass(frozen=True)
class Settings:
    it: Any


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (lambda s: at_least_one(s, "it"), [1, None]),
        (lambda s: above_zero(s, "it"), [1e-9, 3]),
        (lambda s: not_empty(s, "it"), [(1,)]),
        (lambda s: increasing(s, "it"), [(0.5,), (1, 2, 5)]),
        (lambda s: increasing(s, "it", least=0), [(0, 1)]),
        (lambda s: increasing(s, "it", most=1.0), [(0.5, 1.0)]),
        (lambda s: odd_kernels(s, "it"), [(1,), (3, 7)]),
        (lambda s: one_of(s, "it", (1, 2)), [1, 2]),
        (lambda s: some_in_order(s, "it", ("a", "b", "c")), [("a",), ("a", "c")]),
    ],
)
def test_what_will_do_passes(check, good):
    for value in good:
        check(Settings(value))


@pytest.mark.parametrize(
    ("check", "value", "line"),
    [
        (lambda s: at_least_one(s, "it"), 0, "`it` must be at least 1, got 0"),
        (lambda s: at_least_one(s, "it", of="a stage"), float("nan"), "`it` of a stage must be at least 1, got nan"),
        (lambda s: above_zero(s, "it"), float("nan"), "`it` must be above 0, got nan"),
        (lambda s: not_empty(s, "it", "fire module"), (), "`it` must hold at least one fire module, got none"),
        (
            lambda s: increasing(s, "it", of="a stage"),
            (2, 0, 1, 2),
            "`it` of a stage must be positive and increase strictly, got (2, 0, 1, 2); did you mean (1, 2)?",
        ),
        (
            lambda s: increasing(s, "it", least=0),
            (1, 0, -1),
            "`it` must be at least 0 and increase strictly, got (1, 0, -1); did you mean (0, 1)?",
        ),
        (
            lambda s: increasing(s, "it", most=1.0, instead=0.5),
            (1.5,),
            "`it` must be above 0, at most 1.0 and increase strictly, got (1.5,); did you mean (0.5,)?",
        ),
        (
            lambda s: increasing(s, "it", least=2, most=5),
            (1, 3, 6),
            "`it` must be at least 2, at most 5 and increase strictly, got (1, 3, 6); did you mean (3,)?",
        ),
        (
            lambda s: odd_kernels(s, "it"),
            (),
            "`it` must be positive and increase strictly, got (); did you mean (3,)?",
        ),
        (lambda s: odd_kernels(s, "it"), (2, 3), "`it` must be odd, got (2, 3); did you mean (3,)?"),
        (lambda s: one_of(s, "it", ("a",)), "b", "`it` must be `a`, got `b`"),
        (lambda s: one_of(s, "it", (1, 2), of="a stage"), 3, "`it` of a stage must be 1 or 2, got 3"),
        (lambda s: one_of(s, "it", ("a", "b", "c")), "d", "`it` must be `a`, `b` or `c`, got `d`"),
        (lambda s: one_of(s, "it", ("a", "b", "c", "d")), "e", "`it` must be one of ('a', 'b', 'c', 'd'), got `e`"),
        (
            lambda s: some_in_order(s, "it", ("a", "b")),
            ("b", "a"),
            "`it` must be some of ('a', 'b'), in this order, got ('b', 'a'); did you mean ('a', 'b')?",
        ),
    ],
)
def test_what_will_not_do_is_refused_with_the_way_out(check, value, line):
    with pytest.raises(ValueError, match="must") as refused:
        check(Settings(value))
    assert str(refused.value) == line

"""Checks of settings that many spaces share: each refuses with one line naming the setting, the rule and the way out.

A space, or a part of one, calls them from its `__post_init__` with itself and the names of its attributes. `of` says
whose they are where the name alone doesn't, e.g. `a stage`.
"""

import math
from collections.abc import Sequence
from typing import Any


def at_least_one(settings: Any, *names: str, of: str = "") -> None:
    """Refuses numbers below 1; None, for what may be absent, passes.

    Raises:
      ValueError: naming the first of them.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not value >= 1:
            raise ValueError(f"{_named(name, of)} must be at least 1, got {value}")


def above_zero(settings: Any, *names: str) -> None:
    """Refuses numbers that are 0, negative or NaN.

    Raises:
      ValueError: naming the first of them.
    """
    for name in names:
        value = getattr(settings, name)
        if not value > 0:
            raise ValueError(f"`{name}` must be above 0, got {value}")


def not_empty(settings: Any, name: str, part: str = "stage") -> None:
    """Refuses a space without any of its parts.

    Raises:
      ValueError: when there is none.
    """
    if not getattr(settings, name):
        raise ValueError(f"`{name}` must hold at least one {part}, got none")


def increasing(
    settings: Any,
    *names: str,
    of: str = "",
    least: int | None = None,
    most: int | float = math.inf,
    instead: int | float = 1,
) -> None:
    """Refuses options that don't increase strictly from above 0.

    Args:
      settings: whose attributes the options are.
      names: of these attributes.
      of: whose they are, in words.
      least: what options must reach, where that isn't just above 0.
      most: what they mustn't exceed.
      instead: the option to propose where none of those given will do.

    Raises:
      ValueError: naming the first of them, with those options that will do in order.
    """
    if most == math.inf:
        rule = "be positive" if least is None else f"be at least {least}"
    else:
        rule = f"be {'above 0' if least is None else f'at least {least}'}, at most {most}"
    for name in names:
        values = getattr(settings, name)
        fit = sorted({value for value in values if (value > 0 if least is None else value >= least) and value <= most})
        if not values or list(values) != fit:
            raise ValueError(
                f"{_named(name, of)} must {rule} and increase strictly, got {values};"
                f" did you mean {tuple(fit) or (instead,)}?"
            )


def odd_kernels(settings: Any, name: str = "kernels") -> None:
    """Refuses options for a kernel that don't increase strictly or aren't odd.

    Raises:
      ValueError: with odd ones in order.
    """
    increasing(settings, name, instead=3)
    values = getattr(settings, name)
    if any(value % 2 == 0 for value in values):
        better = tuple(sorted({value | 1 for value in values}))
        raise ValueError(f"`{name}` must be odd, got {values}; did you mean {better}?")


def one_of(settings: Any, name: str, allowed: Sequence[Any], of: str = "") -> None:
    """Refuses a value that isn't one of a few.

    Raises:
      ValueError: saying which they are.
    """
    value = getattr(settings, name)
    if value not in allowed:
        *others, last = map(_shown, allowed)
        few = f"{', '.join(others)} or {last}" if others else last
        choice = few if len(others) < 3 else f"one of {tuple(allowed)}"
        raise ValueError(f"{_named(name, of)} must be {choice}, got {_shown(value)}")


def some_in_order(settings: Any, name: str, allowed: Sequence[str]) -> None:
    """Refuses names that aren't some of those allowed, in their order.

    Raises:
      ValueError: with those that are, or all where none is.
    """
    values, fit = getattr(settings, name), tuple(one for one in allowed if one in getattr(settings, name))
    if not values or values != fit:
        raise ValueError(
            f"`{name}` must be some of {tuple(allowed)}, in this order, got {values};"
            f" did you mean {fit or tuple(allowed)}?"
        )


def _named(name: str, of: str) -> str:
    return f"`{name}` of {of}" if of else f"`{name}`"


def _shown(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) else str(value)

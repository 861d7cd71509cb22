"""A contract is a named function of a prepared space: it returns when the space keeps it, and says why where not."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nas.contracts.case import Case

Contract = Callable[[Case], None]
"""Its name is the function's, its promise the first line of the docstring."""


class ContractError(ValueError):
    """A space breaks a contract: what differs, by how much, and how it is mended."""

    def __init__(self, reason: str, mend: str):
        super().__init__(f"{reason}; {mend}")
        self.reason, self.mend = reason, mend


class NotApplicable(Exception):
    """A contract says nothing about this space, and why."""


def name_of(contract: Contract) -> str:
    """The contract's name in words."""
    return contract.__name__.replace("_", " ")  # pyright: ignore[reportAttributeAccessIssue]


def promise_of(contract: Contract) -> str:
    """What a space that keeps the contract can be relied on for, in a line."""
    return (contract.__doc__ or "").partition("\n")[0]


def require(holds: Any, reason: str, mend: str) -> None:
    """Raises unless it holds.

    Raises:
      ContractError: with this reason, and how to mend it.
    """
    if not holds:
        raise ContractError(reason, mend)


def require_close(
    what: str, got: Any, expected: Any, mend: str, *, absolute: float = 1e-4, relative: float = 0.0
) -> None:
    """Raises unless all numbers are `absolute + relative * |expected|` apart at the most.

    Args:
      what: differs from what, e.g. `cut logits differ from masked ones`.
      got: an array.
      expected: an array of the same shape.
      mend: how.
      absolute: largest difference.
      relative: largest difference, as a fraction of what is expected.

    Raises:
      ContractError: saying the largest difference, or the two shapes.
    """
    got, expected = np.asarray(got), np.asarray(expected)
    require(got.shape == expected.shape, f"{what} in shape: {got.shape}, not {expected.shape}", mend)
    apart = np.abs(got - expected)
    allowed = absolute + relative * np.abs(expected)
    if not (apart <= allowed).all():  # NaN is close to nothing
        worst = float(np.nanmax(apart)) if np.isfinite(apart).any() else float("nan")
        raise ContractError(f"{what} by up to {worst:.2g} (allowed: {float(allowed.max()):.2g})", mend)

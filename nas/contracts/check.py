"""Runs the contracts over a space, one by one, and says of each whether it holds, and if not why and how to mend it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import jax

from nas.blame import place
from nas.contracts import CHOICES, NETWORKS
from nas.contracts.case import Case
from nas.contracts.contract import Contract, ContractError, NotApplicable, name_of, promise_of
from search_spaces.space import Space

State = Literal["holds", "broken", "not applicable"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What came of one contract.

    Attributes:
      contract: its name.
      promise: what a space that keeps it can be relied on for.
      state: whether it holds.
      seconds: that it took, what it shares with later ones included.
      reason: why it doesn't hold, or doesn't apply.
      mend: how to mend what is broken.
    """

    contract: str
    promise: str
    state: State
    seconds: float
    reason: str = ""
    mend: str = ""


def findings(space: Space) -> Iterator[Finding]:
    """Checks a space; each finding comes as soon as it is known.

    Contracts that need a network that runs don't apply where the first of them is broken. A space that raises is a
    finding too. While it runs, JAX compiles without most optimisations: equality does not hang on them.
    """
    case, before = Case(space), jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        for contract in CHOICES:
            yield _finding(contract, case)
        first, *others = NETWORKS
        answers = _finding(first, case)
        yield answers
        for contract in others:
            yield _finding(contract, case) if answers.state == "holds" else _waiting(contract, first)
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def _finding(contract: Contract, case: Case) -> Finding:
    begin = time.perf_counter()
    state: State = "holds"
    reason = mend = ""
    try:
        contract(case)
    except NotApplicable as nothing:
        state, reason = "not applicable", str(nothing)
    except ContractError as error:
        state, reason, mend = "broken", _line(error.reason), _line(error.mend)
    except Exception as error:  # whatever an author's code raises is a finding
        state, reason, mend = "broken", _line(f"{type(error).__name__}: {error}"), f"see {place(error)}"
    seconds = time.perf_counter() - begin
    return Finding(
        contract=name_of(contract),
        promise=promise_of(contract),
        state=state,
        seconds=round(seconds, 2),
        reason=reason,
        mend=mend,
    )


def _waiting(contract: Contract, first: Contract) -> Finding:
    return Finding(
        contract=name_of(contract),
        promise=promise_of(contract),
        state="not applicable",
        seconds=0.0,
        reason=f"it needs a network that runs: see `{name_of(first)}`",
    )


def _line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 400 else f"{words[:397]}..."

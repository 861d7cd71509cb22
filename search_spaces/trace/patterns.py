"""Nonlinearities written in primitives: `jax.nn.gelu` is five of them, which together are one layer.

Each pattern is what JAX makes of a function; a stretch of a program that does the same is that activation.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from search_spaces.layers import Nonlinearity
from search_spaces.trace.program import Known, Program, Ref, Step, flatten

_FUNCTIONS: tuple[tuple[Nonlinearity, Callable[[Array], Array]], ...] = (
    ("hard_swish", jax.nn.hard_swish),
    ("hard_swish", lambda x: x * jax.nn.relu6(x + 3) / 6),
    ("hard_sigmoid", jax.nn.hard_sigmoid),
    ("gelu", lambda x: jax.nn.gelu(x, approximate=False)),
    ("gelu", lambda x: 0.5 * x * (1 + jax.lax.erf(x / 2**0.5))),
    ("swish", jax.nn.silu),
    ("relu6", jax.nn.relu6),
)
_COMMUTE = frozenset({"add", "mul", "max", "min"})
_QUIET = frozenset({"accuracy", "out_dtype", "sharding"})  # say how, not what


class Found(NamedTuple):
    """An activation.

    Attributes:
      kind: which.
      steps: of how many.
      x: what it reads.
      out: the variable that it gives.
    """

    kind: Nonlinearity
    steps: int
    x: int
    out: int


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[Nonlinearity, Program], ...]:
    """Longest first, so that no pattern hides one that it begins."""
    like = jax.ShapeDtypeStruct((2,), jnp.float32)
    programs: list[tuple[Nonlinearity, Program]] = [
        (kind, flatten(jax.make_jaxpr(function)(like))) for kind, function in _FUNCTIONS
    ]
    return tuple(sorted(programs, key=lambda pair: -len(pair[1].steps)))


def activation_at(program: Program, start: int) -> Found | None:
    """The activation whose steps begin at this one, if there is one."""
    for kind, pattern in _patterns():
        steps = program.steps[start : start + len(pattern.steps)]
        if len(steps) == len(pattern.steps):
            bound = _matched(steps, pattern)
            inside = [step.outs[0] for step in steps]
            # Nothing else may read what lies in between.
            within = {out: sum(step.ins.count(out) for step in steps) for out in inside[:-1]}
            if bound is not None and all(program.reads[out] == count for out, count in within.items()):
                return Found(kind, len(steps), bound[pattern.inputs[0]], inside[-1])
    return None


def _matched(steps: tuple[Step, ...], pattern: Program) -> dict[int, int] | None:
    """Which variable of the program each of the pattern's is; None where they do different things."""
    bound: dict[int, int] = {}
    for own, step in zip(pattern.steps, steps, strict=True):
        if own.name != step.name or _said(own) != _said(step) or len(own.ins) != len(step.ins):
            return None
        orders = [step.ins, step.ins[::-1]] if own.name in _COMMUTE else [step.ins]
        found = next((new for ins in orders if (new := _bound(bound, own.ins, ins)) is not None), None)
        if found is None:
            return None
        bound = found | {own.outs[0]: step.outs[0]}
    return bound


def _bound(bound: dict[int, int], own: tuple[Ref, ...], ins: tuple[Ref, ...]) -> dict[int, int] | None:
    new = dict(bound)
    for a, b in zip(own, ins, strict=True):
        if isinstance(a, Known) or isinstance(b, Known):
            if not (isinstance(a, Known) and isinstance(b, Known) and _equal(a, b)):
                return None
        elif new.setdefault(a, b) != b:
            return None
    return new


def _equal(own: Known, known: Known) -> bool:
    """Whether the program's number is the pattern's, up to rounding of the precision that the program is in."""
    a, b = own.number, known.number
    rounding = 1e-2 if known.value.dtype.itemsize <= 2 else 1e-5
    return a is not None and b is not None and abs(a - b) <= rounding * abs(a) * (a != round(a))


def _said(step: Step) -> dict[str, Any]:
    return {key: value for key, value in step.params.items() if key not in _QUIET}

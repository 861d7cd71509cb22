"""A network's jaxpr as one flat list of steps: calls are put in place, named layer functions stay whole.

`whole.py` walks the list. What depends on no parameter and no image is `Known`, and computed when somebody asks.
"""

import sysconfig
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np

from search_spaces.named import named_kind

NAMED = "named"
# Only these: a branch or a loop also has a jaxpr, but what it does depends on numbers.
_CALLS = frozenset(
    {
        *("jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint"),
        *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_lin"),
    }
)
_INSIDE = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_LIBRARIES = tuple(str(Path(module.__file__ or "").parent) for module in (jax, flax))
_PYTHON = sysconfig.get_path("stdlib")


@dataclass(frozen=True, eq=False)
class Known:
    """A number or an array that depends on nothing: a constant of the author's."""

    compute: Callable[[], Any]
    shape: tuple[int, ...]

    @cached_property
    def value(self) -> np.ndarray:
        """The array."""
        return np.asarray(self.compute())

    @cached_property
    def number(self) -> float | None:
        """The number that all entries are, in the shortest form that its precision has; None where they differ.

        `float(np.float32(0.001))` is 0.0010000000474974513.
        """
        flat = self.value.ravel()
        if not flat.size or not (flat == flat[0]).all():
            return None
        return float(flat[0] if flat.dtype == bool else str(flat[0]))


Ref = int | Known  # a variable's number, or a constant


@dataclass(frozen=True, kw_only=True)
class Step:
    """One primitive, or one named layer function.

    Attributes:
      name: of the primitive; `NAMED` for a layer function.
      params: of the primitive; of a layer function its `kind` and `attributes`.
      ins: what it reads.
      outs: the variables that it gives.
      in_shapes: shapes of what it reads.
      out_shapes: shapes of what it gives.
      sources: what tells the author's line: of itself, and of the calls that it is inside of, the innermost first.
    """

    name: str
    params: dict[str, Any]
    ins: tuple[Ref, ...]
    outs: tuple[int, ...]
    in_shapes: tuple[tuple[int, ...], ...]
    out_shapes: tuple[tuple[int, ...], ...]
    sources: tuple[Any, ...]

    @property
    def where(self) -> str:
        """File and line of the innermost call that is neither JAX's nor Flax's; empty where that is not known."""
        for source in self.sources:
            for frame in source.traceback.frames if source.traceback else ():
                if _is_authors(frame.file_name):
                    return f" at {frame.file_name}:{frame.line_num}"
        return ""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A flat list of steps.

    Attributes:
      inputs: the variables that are given, in order.
      steps: in order.
      outputs: what comes out.
      reads: how often each variable is read, outputs included.
    """

    inputs: tuple[int, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Ref, ...]
    reads: Counter[int] = field(repr=False)


def flatten(closed: Any) -> Program:
    """The program of a closed jaxpr."""
    return _Flattening().program(closed)


class _Flattening:
    def __init__(self) -> None:
        self.count = 0
        self.steps: list[Step] = []

    def fresh(self) -> int:
        self.count += 1
        return self.count - 1

    def program(self, closed: Any) -> Program:
        inputs = tuple(self.fresh() for _ in closed.jaxpr.invars)
        outputs = tuple(self.inlined(closed.jaxpr, closed.consts, inputs, ()))
        reads = Counter(ref for step in self.steps for ref in step.ins if isinstance(ref, int))
        reads.update(ref for ref in outputs if isinstance(ref, int))
        return Program(inputs=inputs, steps=tuple(self.steps), outputs=outputs, reads=reads)

    def inlined(self, jaxpr: Any, constants: Sequence[Any], inputs: Sequence[Ref], calls: tuple[Any, ...]) -> list[Ref]:
        held: dict[Any, Ref] = dict(zip(jaxpr.invars, inputs, strict=True))
        held |= {var: _constant(value) for var, value in zip(jaxpr.constvars, constants, strict=True)}

        def read(atom: Any) -> Ref:
            return _constant(atom.val) if hasattr(atom, "val") else held[atom]

        for equation in jaxpr.eqns:
            ins = tuple(read(atom) for atom in equation.invars)
            held |= zip(equation.outvars, self.step(equation, ins, calls), strict=True)
        return [read(atom) for atom in jaxpr.outvars]

    def step(self, equation: Any, ins: tuple[Ref, ...], calls: tuple[Any, ...]) -> Sequence[Ref]:
        sources = (equation.source_info, *calls)
        name, params = equation.primitive.name, equation.params
        is_known = all(isinstance(ref, Known) for ref in ins)
        found = named_kind(str(params.get("name", ""))) if name in ("jit", "pjit") else None
        if found is not None and is_known:
            return _computed(equation, ins)  # no layer: no image meets it
        if found is not None:
            name, params = NAMED, {"kind": found[0], "attributes": found[1]}
        elif name in _CALLS:
            inside = next(params[key] for key in _INSIDE if key in params)
            return self.inlined(getattr(inside, "jaxpr", inside), getattr(inside, "consts", ()), ins, sources)
        elif is_known:
            return _computed(equation, ins)
        outs = tuple(self.fresh() for _ in equation.outvars)
        self.steps.append(
            Step(
                name=name,
                params=params,
                ins=ins,
                outs=outs,
                in_shapes=tuple(atom.aval.shape for atom in equation.invars),
                out_shapes=tuple(atom.aval.shape for atom in equation.outvars),
                sources=sources,
            )
        )
        return outs


def _is_authors(file: str) -> bool:
    """Whether it is a file of neither JAX, Flax nor Python itself (installed packages lie below Python's own)."""
    is_python = file.startswith(_PYTHON) and "site-packages" not in file
    return not (is_python or file.startswith(("<", *_LIBRARIES)))


def _constant(value: Any) -> Known:
    return Known(lambda: value, np.shape(value))


def _computed(equation: Any, ins: Sequence[Any]) -> list[Ref]:
    """What comes of constants, when somebody asks for it."""

    def all_of() -> list[Any]:
        with jax.ensure_compile_time_eval():
            found = equation.primitive.bind(*(known.value for known in ins), **equation.params)
        return list(found) if equation.primitive.multiple_results else [found]

    return [Known(lambda i=i: all_of()[i], atom.aval.shape) for i, atom in enumerate(equation.outvars)]

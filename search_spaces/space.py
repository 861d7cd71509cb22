"""A space is a list of choices and the network they shape; this file says what is derived from the choices alone.

An architecture is an int32 row `[choices]` of option indices: data, handed to functions.
"""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from search_spaces.layers import Layer


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A named decision with an ordered tuple of options, the cheapest first.

    Attributes:
      name: unique in its space, e.g. `stage1.block2.kernel`.
      options: the values, all of one kind: numbers, text, truth values or, say, one frozen dataclass. An architecture
        holds an index into them.
      requires: `(name, index)` of an earlier choice: this one has an effect only while that one has an effect and its
        index is at least `index`. None where it always has.
      static: the options change shapes (a resolution, a patch grid): each costs a compile (see `static.py`).
      ordered: no option costs less than one before it, whatever the other choices are. False where no order does that
        (which of two inputs; operations of which one is dearer or cheaper depending on the width).
    """

    name: str
    options: tuple[Any, ...]
    requires: tuple[str, int] | None = None
    static: bool = False
    ordered: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"a choice needs a name of at least one letter, got {self.name!r}")
        if not isinstance(self.options, tuple):
            raise ValueError(
                f"choice `{self.name}` needs a tuple of options, got {self.options!r}; write them as (a, b)"
            )
        for option in self.options:
            self._check_option(option)
        if not self.options or len(set(self.options)) != len(self.options):
            raise ValueError(
                f"choice `{self.name}` needs distinct options, got {self.options};"
                f" did you mean {tuple(dict.fromkeys(self.options))}?"
            )
        self._check_requires()

    def _check_requires(self) -> None:
        match self.requires:
            case None:
                return
            case (str(name), Integral() as index) if name and isinstance(self.requires, tuple):
                if not isinstance(index, bool) and index >= 0:
                    return
        raise ValueError(
            f"choice `{self.name}` needs `requires` to be the name of an earlier choice and the index of an option, as"
            f' ("depth", 1), or None, got {self.requires!r}'
        )

    def _check_option(self, option: Any) -> None:
        if option is None or (isinstance(option, Real) and not math.isfinite(option)):
            raise ValueError(
                f"choice `{self.name}` has the option {option}, which is no value; say `none`, False or 0 for leaving"
                " something out"
            )
        try:
            hash(option)
        except TypeError:
            fitting = "a tuple" if isinstance(option, list) else "something frozen"
            raise ValueError(
                f"options of choice `{self.name}` must be hashable, got {option!r}; make it {fitting}"
            ) from None
        if _kind(option) != _kind(self.options[0]):
            raise ValueError(
                f"options of choice `{self.name}` must be of one kind, got {self.options}: {option!r} is"
                f" {_kind(option)}, {self.options[0]!r} is {_kind(self.options[0])}"
            )


def _kind(option: Any) -> str:
    match option:
        case bool() | np.bool_():
            return "a truth value"
        case Real():
            return "a number"
        case str():
            return "text"
        case _:
            return f"of type {type(option).__name__}"


@runtime_checkable
class Space(Protocol):
    """What a family of networks must say; sampling, mutation, size, canonical form and JSON follow from `choices`."""

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The decisions, parents before those that require them."""
        ...

    def supernet(self, key: Any) -> Any:
        """A new weight-sharing network with the parameters of every architecture."""
        ...

    def layers(self, arch: Any) -> tuple[Layer, ...]:
        """The graph of one architecture, in execution order."""
        ...


def check_choices(choices: Sequence[Choice]) -> None:
    """Refuses choices that don't fit together.

    Raises:
      ValueError: when a name repeats, or a choice requires one that isn't there, comes later or has too few options.
    """
    seen: dict[str, Choice] = {}
    names = [choice.name for choice in choices]
    for choice in choices:
        if choice.name in seen:
            raise ValueError(f"choice names must be unique, got `{choice.name}` twice")
        if choice.requires is not None:
            name, index = choice.requires
            if name not in seen:
                near = difflib.get_close_matches(name, seen, 1, 0.0)
                hint = f"did you mean `{near[0]}`?" if near else "the first choice can require none"
                problem = "comes no earlier" if name in names else "is not a choice"
                raise ValueError(f"`{choice.name}` requires `{name}`, which {problem}; {hint}")
            if not 0 <= index < len(seen[name].options):
                raise ValueError(
                    f"`{choice.name}` requires `{name}` at index {index}, but its options {seen[name].options} have"
                    f" indices 0 to {len(seen[name].options) - 1}"
                )
        seen[choice.name] = choice


def option_counts(space: Space) -> Int[np.ndarray, " choices"]:
    """How many options each choice has."""
    return np.array([len(choice.options) for choice in space.choices], np.int32)


def active(space: Space, archs: Int[Any, "*pop choices"]) -> Bool[Any, "*pop choices"]:
    """Marks the genes that have an effect: those whose required choices have one and are far enough along.

    Works on numpy and JAX arrays alike, and under `jit`.
    """
    position = {choice.name: i for i, choice in enumerate(space.choices)}
    xp = np if isinstance(archs, np.ndarray) else jnp
    columns: list[Any] = []
    for choice in space.choices:
        if choice.requires is None:
            columns.append(xp.ones(archs.shape[:-1], bool))
        else:
            name, index = choice.requires
            columns.append(columns[position[name]] & (archs[..., position[name]] >= index))
    return xp.stack(columns, -1) if columns else xp.ones(archs.shape, bool)


def canonical(space: Space, archs: Int[Any, "*pop choices"]) -> Int[Any, "*pop choices"]:
    """Sets genes that have no effect to 0, so that networks with one function and the same weights are equal rows."""
    return (archs * active(space, archs)).astype(np.int32)


def networks_by_option(space: Space) -> tuple[tuple[int, ...], ...]:
    """For each choice and each of its options, how many networks the choices that it wakes, directly or not, make.

    Where a choice has an effect, its option occurs in distinct networks in these proportions. Exact, of any magnitude.
    """
    position = {choice.name: i for i, choice in enumerate(space.choices)}
    ways = [[1] * len(choice.options) for choice in space.choices]
    for i, choice in reversed(list(enumerate(space.choices))):  # by now, all that require it are counted
        if choice.requires is not None:
            name, index = choice.requires
            above = ways[position[name]]
            above[index:] = [n * sum(ways[i]) for n in above[index:]]
    return tuple(map(tuple, ways))


def size(space: Space) -> int:
    """The exact number of distinct networks (canonical rows), of any magnitude."""
    ways = networks_by_option(space)
    return math.prod(sum(n) for n, choice in zip(ways, space.choices, strict=True) if choice.requires is None)


def smallest(space: Space) -> Int[np.ndarray, " choices"]:
    """The architecture of all first options."""
    return np.zeros(len(space.choices), np.int32)


def largest(space: Space) -> Int[np.ndarray, " choices"]:
    """The architecture of all last options."""
    return option_counts(space) - 1


def check_arch(space: Space, arch: Any) -> Int[np.ndarray, " choices"]:
    """Returns the architecture as an int32 row.

    Args:
      space: whose architecture it should be.
      arch: an array or a sequence of option indices, or whatever a user took for one.

    Raises:
      ValueError: when its length or one of its indices is not of this space, or it holds anything but integers.
    """
    row = _indices(arch)
    if row.shape != (len(space.choices),):
        raise ValueError(f"an architecture of this space has {len(space.choices)} genes, got shape {row.shape}")
    _check_range(space, row)
    return row.astype(np.int32)


def check_archs(space: Space, archs: Any) -> Int[np.ndarray, "pop choices"]:
    """Returns the population as int32 rows.

    Args:
      space: whose architectures they should be.
      archs: rows of option indices, or whatever a user took for them.

    Raises:
      ValueError: when one of them is not of this space, saying which, or it holds anything but integers.
    """
    rows = _indices(archs)
    if rows.ndim != 2 or rows.shape[1] != len(space.choices):
        raise ValueError(
            f"architectures of this space are rows of {len(space.choices)} genes, got shape {rows.shape};"
            " put a single one into a list"
        )
    # Extremes a choice are found much faster than all that is out of range.
    if rows.size and ((rows.min(0) < 0) | (rows.max(0) >= option_counts(space))).any():
        row = int(((rows < 0) | (rows >= option_counts(space))).any(1).argmax())
        _check_range(space, rows[row], f"in row {row}, ")
    return rows.astype(np.int32, copy=False)


def _indices(archs: Any) -> np.ndarray:
    try:
        rows = np.asarray(archs)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("an architecture holds one option index a choice, got rows of unequal lengths") from None
    if rows.size and not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(
            f"an architecture holds option indices (integers), got {rows.dtype}: {rows.ravel()[:1].item()!r}"
        )
    return rows


def _check_range(space: Space, row: np.ndarray, where: str = "") -> None:
    wrong = (row < 0) | (row >= option_counts(space))
    if wrong.any():
        gene = int(wrong.argmax())
        choice = space.choices[gene]
        raise ValueError(
            f"{where}`{choice.name}` has options {choice.options}, so its index must be 0 to"
            f" {len(choice.options) - 1}; got {row[gene]}"
        )


def options(space: Space, arch: Int[Any, " choices"] | Sequence[int]) -> dict[str, Any]:
    """The chosen options by name, e.g. `{"stage1.depth": 2, ...}`; choices that have no effect are left out."""
    row = check_arch(space, arch)
    return {
        choice.name: choice.options[index]
        for choice, index, awake in zip(space.choices, row.tolist(), active(space, row).tolist(), strict=True)
        if awake
    }

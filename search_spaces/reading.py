"""How an elastic network is read: masked by probabilities, cut to one architecture, or whole once it has been cut.

A block's forward pass is written once against these three readings (see README.md). A reading turns choices into *axes*
(which channels are on), *taps* (which kernel positions are on), *optional* stretches (whether a layer is there) and
*mixtures* (which of several operations runs).

A block knows its choices by names of its own (`kernel`, `expansion`); `bound` translates, so that equal blocks at
different places of a network read alike.
"""

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from search_spaces.axes import EVERYTHING, Axis, CentreTaps, FirstChannels, MaskedAxis, MaskedTaps, Taps
from search_spaces.space import Choice, Space, check_arch
from search_spaces.static import Fixed, fixed_of, is_known

Stats = TypeVar("Stats")
Names = tuple[tuple[str, str], ...]  # a block's own name of a choice, and the space's
Stretch = Callable[..., tuple[Array, Any]]


@runtime_checkable
class Reading(Protocol):
    """One way to run an elastic network. A choice that a block asks for but was not given has a single option."""

    def bound(self, names: Names) -> "Reading":
        """The same reading, of these choices only and under a block's own names."""
        ...

    def axis(self, counts: Int[np.ndarray, "..."], *choices: str) -> Axis:
        """The channels that `counts[index of choice 1, index of choice 2, ...]` leaves on."""
        ...

    def taps(self, kernels: tuple[int, ...], choice: str) -> Taps:
        """The taps that the chosen kernel size leaves on."""
        ...

    def fixed(self, choice: str) -> int:
        """The index of a static choice: one that changes shapes, so that it is never traced."""
        ...

    def optional(self, choice: str, at_least: int, stretch: Stretch, *xs: Array) -> tuple[Array, Any]:
        """`stretch(*xs)` where the choice's index is at least `at_least`; elsewhere the first input as it is."""
        ...

    def mixture(self, choice: str, options: Sequence[Stretch], *xs: Array) -> tuple[Array, list[Any]]:
        """The chosen one of several operations, `options[index](*xs)`, and the statistics that each used."""
        ...

    def stretch(self, run: Stretch) -> Stretch:
        """How a block is run: as it is, or so that its activations are computed again for the gradient."""
        ...


@dataclass(frozen=True)
class Masked:
    """One compile for every architecture: masks are computed from probability rows, one a choice.

    A row that is one-hot is a discrete architecture; any other row is a relaxed one, which runs through the same masks.
    Channels, taps and depth are mixed (as in FBNetV2, arXiv:2004.05565); of a choice among operations the outputs are
    (as in DARTS, arXiv:1806.09055).

    Attributes:
      rows: a row of probabilities a choice; those of static choices have no effect.
      static: the indices of the static choices, which are part of the compile.
      remat: blocks' activations are computed again for the gradient instead of kept (`jax.checkpoint`).
    """

    rows: dict[str, Float[Array, " options"]]
    static: Fixed = ()
    remat: bool = False

    @staticmethod
    def of(
        choices: tuple[Choice, ...], arch: Int[Any, " choices"], fixed: Fixed = (), dtype: Any = jnp.float32
    ) -> "Masked":
        """The reading of a discrete architecture, whose indices may be traced."""
        rows = {c.name: jax.nn.one_hot(arch[i], len(c.options), dtype=dtype) for i, c in enumerate(choices)}
        return Masked(rows, fixed)

    def bound(self, names: Names) -> "Masked":
        """The rows of these choices, renamed."""
        check_names(names, self.rows)
        static = dict(self.static)
        return replace(
            self,
            rows={own: self.rows[choice] for own, choice in names},
            static=tuple((own, static[choice]) for own, choice in names if choice in static),
        )

    def _expected(self, table: np.ndarray, *choices: str) -> Array:
        dtype = next(iter(self.rows.values())).dtype if self.rows else jnp.float32
        expected = jnp.asarray(table, dtype)
        for choice in choices:
            expected = jnp.tensordot(self.rows[choice], expected, 1) if choice in self.rows else _only(expected, choice)
        return expected

    def axis(self, counts: Int[np.ndarray, "..."], *choices: str) -> Axis:
        """Weights over as many channels as the largest count has."""
        counts = np.asarray(counts)
        if (counts == counts.max()).all():
            return EVERYTHING
        return MaskedAxis(self._expected(np.arange(counts.max()) < counts[..., None], *choices))

    def taps(self, kernels: tuple[int, ...], choice: str) -> Taps:
        """The largest kernel, in which smaller ones stand in the centre."""
        return MaskedTaps(kernels, self.rows[choice]) if choice in self.rows else CentreTaps(_only(kernels, choice))

    def fixed(self, choice: str) -> int:
        """The index that the reading was given.

        Raises:
          ValueError: when it was given none, though the space has this choice.
        """
        indices = dict(self.static)
        if choice not in indices and choice in self.rows:
            raise ValueError(
                f"static choice `{choice}` changes shapes, so its index must be known: pass"
                " fixed=fixed_of(space, arch) to `masked`, outside of `jit`"
            )
        return indices.get(choice, 0)

    def optional(self, choice: str, at_least: int, stretch: Stretch, *xs: Array) -> tuple[Array, Any]:
        """Mixes the stretch's output and its first input by the probability that the stretch is there."""
        y, stats = stretch(*xs)
        if at_least == 0:
            return y, stats  # always there, and perhaps of another shape than its input
        check_names((("when", choice),), self.rows)
        probability = self.rows[choice][at_least:].sum().astype(y.dtype)
        return probability * y + (1 - probability) * xs[0], stats

    def mixture(self, choice: str, options: Sequence[Stretch], *xs: Array) -> tuple[Array, list[Any]]:
        """Runs all options and mixes their outputs by their probabilities."""
        outputs, stats = zip(*(option(*xs) for option in options), strict=True)
        if choice not in self.rows:
            return _only(outputs, choice), list(stats)
        row = self.rows[choice]
        mixed = [row[i].astype(y.dtype) * y for i, y in enumerate(outputs)]
        return reduce(jnp.add, mixed), list(stats)

    def stretch(self, run: Stretch) -> Stretch:
        """Keeps only a block's inputs for the gradient, where asked to."""
        return jax.checkpoint(run) if self.remat else run


@dataclass(frozen=True)
class Cut:
    """One architecture at its true size: the indices are plain integers, so shapes follow from them.

    Attributes:
      indices: name and index of each choice. Hashable: a block's key among compiled blocks.
    """

    indices: tuple[tuple[str, int], ...]
    _index: dict[str, int] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", dict(self.indices))

    @staticmethod
    def of(choices: tuple[Choice, ...], arch: Sequence[int] | Int[np.ndarray, " choices"]) -> "Cut":
        """The reading of one architecture with known indices."""
        return Cut(tuple((choice.name, int(index)) for choice, index in zip(choices, arch, strict=True)))

    def bound(self, names: Names) -> "Cut":
        """The indices of these choices, renamed."""
        check_names(names, self._index)
        return Cut(tuple((own, self._index[choice]) for own, choice in names))

    def index(self, choice: str, options: Any) -> int:
        """The index of a choice that has these options; 0 where it has one option and so is no choice of the space."""
        if choice not in self._index:
            _only(options, choice)
        return self._index.get(choice, 0)

    def axis(self, counts: Int[np.ndarray, "..."], *choices: str) -> FirstChannels:
        """The first so many channels."""
        at = np.asarray(counts)
        for choice in choices:
            at = at[self.index(choice, at)]
        return FirstChannels(int(at))

    def taps(self, kernels: tuple[int, ...], choice: str) -> CentreTaps:
        """The centre of the kernel."""
        return CentreTaps(kernels[self.index(choice, kernels)])

    def fixed(self, choice: str) -> int:
        """The index."""
        return self._index.get(choice, 0)

    def has(self, choice: str, at_least: int) -> bool:
        """Whether an optional stretch is there."""
        if at_least and choice not in self._index:
            check_names((("when", choice),), self._index)
        return at_least == 0 or self._index[choice] >= at_least

    def optional(self, choice: str, at_least: int, stretch: Stretch, *xs: Array) -> tuple[Array, Any]:
        """Runs the stretch or leaves it out."""
        return stretch(*xs) if self.has(choice, at_least) else (xs[0], None)

    def mixture(self, choice: str, options: Sequence[Stretch], *xs: Array) -> tuple[Array, list[Any]]:
        """Runs the chosen option only."""
        chosen = self.index(choice, options)
        y, stats = options[chosen](*xs)
        return y, [stats if i == chosen else None for i in range(len(options))]

    def stretch(self, run: Stretch) -> Stretch:
        """As it is."""
        return run


@dataclass(frozen=True)
class Whole:
    """An extracted network: parameters were cut, absent blocks are gone; no choice and no mask is left."""

    def bound(self, names: Names) -> "Whole":
        """Itself."""
        return self

    def axis(self, counts: Int[np.ndarray, "..."], *choices: str) -> Axis:
        """All channels."""
        return EVERYTHING

    def taps(self, kernels: tuple[int, ...], choice: str) -> Taps:
        """All taps."""
        return EVERYTHING

    def fixed(self, choice: str) -> int:
        """No choice is left: what a static choice shapes must be kept by the block that it cut.

        Raises:
          ValueError: always.
        """
        raise ValueError(f"an extracted network has no choice `{choice}` left; let `cut` keep what it decides")

    def optional(self, choice: str, at_least: int, stretch: Stretch, *xs: Array) -> tuple[Array, Any]:
        """Runs the stretch: if it were absent, extraction would have dropped it."""
        return stretch(*xs)

    def mixture(self, choice: str, options: Sequence[Stretch], *xs: Array) -> tuple[Array, list[Any]]:
        """Runs the option that extraction left."""
        y, stats = _only(options, choice)(*xs)
        return y, [stats]

    def stretch(self, run: Stretch) -> Stretch:
        """As it is."""
        return run


def masked(space: Space, arch: Int[Any, " choices"], fixed: Fixed | None = None) -> Masked:
    """The masked reading of an architecture, traced or not.

    Args:
      space: the space.
      arch: the architecture.
      fixed: the indices of the static choices (`search_spaces.static.fixed_of`); None takes them from an architecture
        that is known, and has none to take where the space has no static choice.

    Raises:
      ValueError: when the architecture has another number of genes, or is known and not of the space.
    """
    if is_known(arch):
        check_arch(space, arch)
    elif arch.shape != (len(space.choices),):
        raise ValueError(f"an architecture of this space has {len(space.choices)} genes, got shape {arch.shape}")
    if fixed is None:
        fixed = fixed_of(space, arch) if is_known(arch) else ()
    return Masked.of(space.choices, arch, fixed)


def check_names(names: Names, choices: Collection[str]) -> None:
    """Refuses a block's names of choices that the space doesn't have.

    Raises:
      ValueError: with the nearest choice that there is.
    """
    for own, choice in names:
        if choice not in choices:
            near = difflib.get_close_matches(choice, choices, 1, 0.0)
            hint = f"; did you mean `{near[0]}`?" if near else ", which has none"
            raise ValueError(f"a block's `{own}` is bound to `{choice}`, which is no choice of the space{hint}")


def _only(options: Any, choice: str) -> Any:
    if len(options) != 1:
        raise ValueError(
            f"a block asks for `{choice}`, which has {len(options)} options, but is bound to no choice of that name:"
            " name it in the `choices` of the block's place"
        )
    return options[0]

"""How an elastic network is read: masked by probabilities, cut to one architecture, or whole once it has been cut.

A forward pass is written once against these three readings (see README.md). A reading turns choices into *axes* (which
channels are on), *taps* (which kernel positions are on) and *optional* stretches (whether a block is there); axes and
taps then cut parameters and gate activations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from search_spaces.space import Choice, Space

Weights = Any  # a numpy or JAX array: parameters are cut as either
Stats = TypeVar("Stats")


@runtime_checkable
class Axis(Protocol):
    """Which channels of one axis are on: always the first so many."""

    def cut(self, weights: Weights, axis: int) -> Weights:
        """The part of the parameters that the channels need, along one of their axes."""
        ...

    def gate(self, x: Array) -> Array:
        """Turns the last axis of activations off where its channels are."""
        ...


@runtime_checkable
class Taps(Protocol):
    """Which taps of a kernel are on: always the centre."""

    def cut(self, weights: Weights) -> Weights:
        """The part of a `[kernel, kernel, in, out]` parameter that the taps need."""
        ...


@runtime_checkable
class Reading(Protocol):
    """One way to run an elastic network."""

    def axis(self, counts: Int[np.ndarray, "..."], *choices: str) -> Axis:
        """The channels that `counts[index of choice 1, index of choice 2, ...]` leaves on."""
        ...

    def taps(self, kernels: tuple[int, ...], choice: str) -> Taps:
        """The taps that the chosen kernel size leaves on."""
        ...

    def optional(
        self, choice: str, at_least: int, block: Callable[[Array], tuple[Array, Stats]], x: Array
    ) -> tuple[Array, Stats | None]:
        """`block(x)` where the choice's index is at least `at_least`; elsewhere `x` as it is."""
        ...


@dataclass(frozen=True)
class Everything:
    """All channels and all taps: of a size that is no choice, or of parameters that have been cut already."""

    def cut(self, weights: Weights, axis: int = 0) -> Weights:
        """The parameters as they are."""
        return weights

    def gate(self, x: Array) -> Array:
        """The activations as they are."""
        return x


EVERYTHING = Everything()


@dataclass(frozen=True)
class MaskedAxis:
    """Channels weighted by how probable it is that they are on; all are computed."""

    weight: Float[Array, " channels"]

    def cut(self, weights: Weights, axis: int) -> Weights:
        """All parameters: what is off is gated in the activations."""
        return weights

    def gate(self, x: Array) -> Array:
        """Multiplies each channel by its weight."""
        return x * self.weight.astype(x.dtype)


@dataclass(frozen=True)
class MaskedTaps:
    """Kernel positions weighted by how probable it is that they are on."""

    weight: Float[Array, "kernel kernel"]

    def cut(self, weights: Weights) -> Weights:
        """The parameters, each tap multiplied by its weight."""
        return weights * self.weight.astype(weights.dtype)[:, :, None, None]


@dataclass(frozen=True)
class Masked:
    """One compile for every architecture: masks are computed from probability rows, one a choice.

    A row that is one-hot is a discrete architecture; any other row is a relaxed one, which runs through the same masks
    (DARTS, arXiv:1806.09055, mixes the options' outputs instead; here their channels and taps are mixed, as in
    FBNetV2, arXiv:2004.05565).
    """

    rows: dict[str, Float[Array, " options"]]

    @staticmethod
    def of(choices: tuple[Choice, ...], arch: Int[Any, " choices"], dtype: Any = jnp.float32) -> "Masked":
        """The reading of a discrete architecture, whose indices may be traced."""
        return Masked({c.name: jax.nn.one_hot(arch[i], len(c.options), dtype=dtype) for i, c in enumerate(choices)})

    def _expected(self, table: Float[Array, "..."], *choices: str) -> Array:
        for choice in choices:
            table = jnp.tensordot(self.rows[choice], table, 1)
        return table

    def axis(self, counts: Int[np.ndarray, "..."], *choices: str) -> MaskedAxis:
        """Weights over as many channels as the largest count has."""
        on = np.arange(counts.max()) < counts[..., None]
        return MaskedAxis(self._expected(jnp.asarray(on, self.rows[choices[0]].dtype), *choices))

    def taps(self, kernels: tuple[int, ...], choice: str) -> MaskedTaps:
        """Weights over the largest kernel's positions."""
        reach = np.abs(np.arange(max(kernels)) - max(kernels) // 2)
        ring = np.maximum(reach[:, None], reach)
        on: Bool[np.ndarray, "options kernel kernel"] = np.stack([ring <= kernel // 2 for kernel in kernels])
        return MaskedTaps(self._expected(jnp.asarray(on, self.rows[choice].dtype), choice))

    def optional(
        self, choice: str, at_least: int, block: Callable[[Array], tuple[Array, Stats]], x: Array
    ) -> tuple[Array, Stats | None]:
        """Mixes the block's output and its input by the probability that the block is there."""
        y, stats = block(x)
        if at_least == 0:
            return y, stats  # always there, and perhaps of another shape than `x`
        row = self.rows[choice]
        probability = row[at_least:].sum().astype(x.dtype)
        return probability * y + (1 - probability) * x, stats


@dataclass(frozen=True)
class FirstChannels:
    """The first `count` channels, and no others in memory."""

    count: int

    def cut(self, weights: Weights, axis: int) -> Weights:
        """The slice of the parameters along `axis`."""
        at: list[slice] = [slice(None)] * weights.ndim
        at[axis] = slice(0, self.count)
        return weights[tuple(at)]

    def gate(self, x: Array) -> Array:
        """Nothing is left to turn off."""
        return x


@dataclass(frozen=True)
class CentreTaps:
    """The centre `kernel` x `kernel` taps."""

    kernel: int

    def cut(self, weights: Weights) -> Weights:
        """The centre crop of the parameters."""
        start = (weights.shape[0] - self.kernel) // 2
        return weights[start : start + self.kernel, start : start + self.kernel]


@dataclass(frozen=True)
class Cut:
    """One architecture at its true size: `indices` are plain integers, so shapes follow from them."""

    indices: dict[str, int]

    @staticmethod
    def of(choices: tuple[Choice, ...], arch: Sequence[int] | Int[np.ndarray, " choices"]) -> "Cut":
        """The reading of one architecture with known indices."""
        return Cut({choice.name: int(index) for choice, index in zip(choices, arch, strict=True)})

    def axis(self, counts: Int[np.ndarray, "..."], *choices: str) -> FirstChannels:
        """The first so many channels."""
        return FirstChannels(int(counts[tuple(self.indices[choice] for choice in choices)]))

    def taps(self, kernels: tuple[int, ...], choice: str) -> CentreTaps:
        """The centre of the kernel."""
        return CentreTaps(kernels[self.indices[choice]])

    def optional(
        self, choice: str, at_least: int, block: Callable[[Array], tuple[Array, Stats]], x: Array
    ) -> tuple[Array, Stats | None]:
        """Runs the block or leaves it out."""
        return block(x) if self.has(choice, at_least) else (x, None)

    def has(self, choice: str, at_least: int) -> bool:
        """Whether an optional stretch is there."""
        return self.indices[choice] >= at_least


@dataclass(frozen=True)
class Whole:
    """An extracted network: parameters were cut, absent blocks are gone; no choice and no mask is left."""

    def axis(self, counts: Int[np.ndarray, "..."], *choices: str) -> Axis:
        """All channels."""
        return EVERYTHING

    def taps(self, kernels: tuple[int, ...], choice: str) -> Taps:
        """All taps."""
        return EVERYTHING

    def optional(
        self, choice: str, at_least: int, block: Callable[[Array], tuple[Array, Stats]], x: Array
    ) -> tuple[Array, Stats | None]:
        """Runs the block: if it were absent, extraction would have dropped it."""
        return block(x)


def masked(space: Space, arch: Int[Any, " choices"]) -> Masked:
    """The masked reading of an architecture, traced or not."""
    return Masked.of(space.choices, arch)

"""What a reading says of one size: which channels of an axis are on, and which taps of a kernel.

Channels that are on are always the first so many, taps the centre: so sizes share parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

Weights = Any  # a numpy or JAX array: parameters are cut as either


@runtime_checkable
class Axis(Protocol):
    """Which channels of one axis are on."""

    def cut(self, weights: Weights, axis: int, /) -> Weights:
        """The part of the parameters that the channels need, along one of their axes."""
        ...

    def gate(self, x: Array) -> Array:
        """Turns the last axis of activations off where its channels are."""
        ...

    def total(self, x: Array) -> Array:
        """The sum over the last axis, kept as an axis of 1, of what the channels that are on hold."""
        ...

    def count(self, x: Weights) -> Array | int:
        """How many channels of the last axis of `x` are on."""
        ...


@runtime_checkable
class Taps(Protocol):
    """Which taps of a kernel are on."""

    def cut(self, weights: Weights, transforms: Sequence[Weights] = (), /) -> Weights:
        """The part of a `[kernel, kernel, in, out]` parameter that the taps need.

        Args:
          weights: of the largest kernel.
          transforms: one `[k * k, k * k]` matrix for each smaller kernel, the larger kernel first; a smaller kernel is
            then the centre of the next larger one (as transformed), times its matrix (Once-for-All, arXiv:1908.09791).
            Empty where the centre is used as it is.
        """
        ...


@dataclass(frozen=True)
class Everything:
    """All channels and all taps: of a size that is no choice, or of parameters that have been cut already."""

    def cut(self, weights: Weights, *_: Any) -> Weights:
        """The parameters as they are."""
        return weights

    def gate(self, x: Array) -> Array:
        """The activations as they are."""
        return x

    def total(self, x: Array) -> Array:
        """The sum over the last axis."""
        return x.sum(-1, keepdims=True)

    def count(self, x: Weights) -> int:
        """The size of the last axis."""
        return x.shape[-1]


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

    def total(self, x: Array) -> Array:
        """The weighted sum over the last axis."""
        return (x * self.weight.astype(x.dtype)).sum(-1, keepdims=True)

    def count(self, x: Weights) -> Array:
        """The sum of the weights."""
        return self.weight.astype(x.dtype).sum()


@dataclass(frozen=True)
class FirstChannels:
    """The first `size` channels, and no others in memory."""

    size: int

    def cut(self, weights: Weights, axis: int) -> Weights:
        """The slice of the parameters along `axis`."""
        at: list[slice] = [slice(None)] * weights.ndim
        at[axis] = slice(0, self.size)
        return weights[tuple(at)]

    def gate(self, x: Array) -> Array:
        """Nothing is left to turn off."""
        return x

    def total(self, x: Array) -> Array:
        """The sum over the last axis."""
        return x.sum(-1, keepdims=True)

    def count(self, x: Weights) -> int:
        """The size of the last axis."""
        return x.shape[-1]


@dataclass(frozen=True)
class Joined:
    """Axes one behind the other: of channels that were joined.

    Attributes:
      parts: an axis and how many channels it has at the most, each.
    """

    parts: tuple[tuple[Axis, int], ...]

    def _split(self, array: Any, axis: int) -> list[Any]:
        ends = np.cumsum([size for _, size in self.parts])
        at: list[slice] = [slice(None)] * array.ndim
        pieces = []
        for start, end in zip([0, *ends], ends, strict=False):
            at[axis] = slice(int(start), int(end))
            pieces.append(array[tuple(at)])
        return pieces

    def cut(self, weights: Weights, axis: int) -> Weights:
        """What each part needs of its stretch of the parameters, joined."""
        stretches = zip(self.parts, self._split(weights, axis), strict=True)
        pieces = [part.cut(stretch, axis) for (part, _), stretch in stretches]
        return (np if isinstance(weights, np.ndarray) else jnp).concatenate(pieces, axis)

    def gate(self, x: Array) -> Array:
        """Each part's channels as it gates them; what is compact already, or has no part to gate, stays as it is."""
        if not any(isinstance(part, MaskedAxis) for part, _ in self.parts):
            return x
        pieces = [part.gate(piece) for (part, _), piece in zip(self.parts, self._split(x, x.ndim - 1), strict=True)]
        return jnp.concatenate(pieces, -1)

    def total(self, x: Array) -> Array:
        """The sum over the last axis of what is on."""
        return self.gate(x).sum(-1, keepdims=True)

    def count(self, x: Weights) -> Array | int:
        """How many channels are on."""
        if not any(isinstance(part, MaskedAxis) for part, _ in self.parts):
            return x.shape[-1]
        pieces = self._split(x, x.ndim - 1)
        counts = [part.count(piece) for (part, _), piece in zip(self.parts, pieces, strict=True)]
        return sum(counts[1:], counts[0])


def centre(weights: Weights, kernel: int) -> Weights:
    """The centre `kernel` x `kernel` taps of a larger kernel."""
    start = (weights.shape[0] - kernel) // 2
    return weights[start : start + kernel, start : start + kernel]


def smaller(weights: Weights, kernel: int, transforms: Sequence[Weights]) -> Weights:
    """The kernel of size `kernel` that a larger one holds, passed through the matrices on the way down to it."""
    if not transforms:
        return centre(weights, kernel)
    for matrix in transforms:
        size = round(matrix.shape[0] ** 0.5)
        if size < kernel:
            break
        inner = centre(weights, size)
        weights = (matrix.astype(inner.dtype) @ inner.reshape(size * size, -1)).reshape(inner.shape)
    return weights


@dataclass(frozen=True)
class MaskedTaps:
    """Kernels of all sizes, weighted by how probable each is, in one array of the largest size."""

    kernels: tuple[int, ...]
    probability: Float[Array, " kernels"]

    def cut(self, weights: Weights, transforms: Sequence[Weights] = ()) -> Weights:
        """The expected kernel: smaller ones stand in the centre, with zeros around them."""
        if transforms:
            expected = jnp.zeros_like(weights)
            for kernel, probability in zip(self.kernels, self.probability, strict=True):
                inner = smaller(weights, kernel, transforms)
                around = (weights.shape[0] - kernel) // 2
                padded = jnp.pad(inner, ((around, around), (around, around), (0, 0), (0, 0)))
                expected += probability.astype(weights.dtype) * padded
            return expected
        reach = np.abs(np.arange(weights.shape[0]) - weights.shape[0] // 2)
        ring = np.maximum(reach[:, None], reach)
        on: Bool[np.ndarray, "options kernel kernel"] = np.stack([ring <= kernel // 2 for kernel in self.kernels])
        share = jnp.tensordot(self.probability, jnp.asarray(on, self.probability.dtype), 1)
        return weights * share.astype(weights.dtype)[:, :, None, None]


@dataclass(frozen=True)
class CentreTaps:
    """The `kernel` x `kernel` taps of one size."""

    kernel: int

    def cut(self, weights: Weights, transforms: Sequence[Weights] = ()) -> Weights:
        """The smaller kernel."""
        return smaller(weights, self.kernel, transforms)

"""Operations without parameters that a cell may choose: average pooling and zeros, under the names of their layers."""

import jax
import numpy as np
from jaxtyping import Array, Float

from search_spaces.layers import Padding, window_padding, windows
from search_spaces.named import named

Images = Float[Array, "batch height width channels"]
Smaller = Float[Array, "batch out_height out_width out_channels"]


def average_pool(x: Images, kernel: int, stride: int = 1, padding: Padding | None = None) -> Smaller:
    """The mean over windows, as the layer `AvgPool` defines it: what lies beyond the image doesn't count.

    Sums of shifted images, first along one side, then along the other: half the time of `lax.reduce_window` on a CPU
    (two cores, forwards and backwards at (64, 16, 16, 16): 0.6 ms against 1.2 ms).

    Args:
      x: images.
      kernel: rows and columns of a window.
      stride: between windows, in both directions.
      padding: rows above and below and columns left and right; None as for the layer.
    """
    return named("AvgPool", _average_pool, kernel=kernel, stride=stride, padding=padding)(x)


def _average_pool(x: Images, *, kernel: int, stride: int, padding: Padding | None) -> Smaller:
    side = window_padding(kernel)
    above, below, left, right = padding or (side, side, side, side)
    for axis, pad, after in ((1, above, below), (2, left, right)):
        side = x.shape[axis]
        count = windows(side, kernel, stride, pad, after)
        ends = [(pad, after, 0) if i == axis else (0, 0, 0) for i in range(4)]
        padded = jax.lax.pad(x, np.zeros((), x.dtype), ends)
        shifted = [jax.lax.slice_in_dim(padded, i, i + stride * (count - 1) + 1, stride, axis) for i in range(kernel)]
        first = stride * np.arange(count) - pad
        inside = np.minimum(first + kernel, side) - np.maximum(first, 0)
        shape = [count if i == axis else 1 for i in range(4)]
        x = sum(shifted[1:], shifted[0]) * (1 / inside).astype(x.dtype).reshape(shape)
    return x


def zeros(x: Images) -> Images:
    """Zeros in the shape of the input: no connection."""
    return _named_zeros(x)


def _zeros(x: Images) -> Images:
    # A product, not a constant: what a compiled block makes without its inputs is on no device in particular, and JAX
    # compiles whatever reads it again for each mixture of such arrays.
    return x * 0


_named_zeros = named("Zeros", _zeros)

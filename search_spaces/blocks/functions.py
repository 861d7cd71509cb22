"""Functions of activations that have no parameters, each under the name of its layer (`named.py`)."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Float

from search_spaces.layers import Padding, window_padding
from search_spaces.named import named

Images = Float[Array, "batch height width channels"]
Smaller = Float[Array, "batch out_height out_width channels"]


def max_pool(kernel: int, stride: int, padding: Padding | None = None) -> Callable[[Images], Smaller]:
    """The largest value in windows, as the layer `MaxPool` defines it."""
    return named("MaxPool", _max_pool, kernel=kernel, stride=stride, padding=padding)


def _max_pool(x: Images, *, kernel: int, stride: int, padding: Padding | None) -> Smaller:
    side = window_padding(kernel)
    above, below, left, right = padding or (side, side, side, side)
    lowest = np.array(-np.inf, x.dtype)
    return jax.lax.reduce_window(
        x,
        lowest,
        jax.lax.max,
        (1, kernel, kernel, 1),
        (1, stride, stride, 1),
        ((0, 0), (above, below), (left, right), (0, 0)),
    )


def channel_shuffle(groups: int) -> Callable[[Images], Images]:
    """Deals out the channels of `groups` groups in turn (ShuffleNet, arXiv:1707.01083)."""
    return named("Shuffle", _shuffle, groups=groups)


def _shuffle(x: Images, *, groups: int) -> Images:
    *size, channels = x.shape
    return x.reshape(*size, groups, channels // groups).swapaxes(-1, -2).reshape(*size, channels)


def _flatten(x: Images) -> Float[Array, "batch numbers"]:
    return x.reshape(len(x), -1)


def _tokens(x: Images) -> Float[Array, "batch tokens channels"]:
    return x.reshape(len(x), -1, x.shape[-1])


flatten = named("Flatten", _flatten)
"""All numbers as one vector, as the layer `Flatten` defines it."""

tokens = named("Tokens", _tokens)
"""The positions as tokens, in the order of reading."""

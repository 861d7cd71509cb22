"""Layer normalisation over the channels that are on, and no others."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from search_spaces.axes import EVERYTHING, Axis, MaskedAxis
from search_spaces.named import named


class LayerNorm(nnx.Module):
    """Normalises each token by the mean and variance of its channels (arXiv:1607.06450).

    Under a mask the statistics are those of the channels that are on, so that a narrower network is normalised as it
    will be alone. A pure function: nothing is kept between calls.
    """

    def __init__(self, scale: Any, bias: Any, epsilon: float):
        self.scale = nnx.Param(scale)
        self.bias = nnx.Param(bias)
        self.epsilon = epsilon

    @classmethod
    def init(cls, channels: int, epsilon: float) -> "LayerNorm":
        """Scale one, bias zero."""
        return cls(jnp.ones(channels), jnp.zeros(channels), epsilon)

    def cut(self, channels: Axis) -> "LayerNorm":
        """The same layer over fewer channels."""
        return LayerNorm(channels.cut(self.scale[...], 0), channels.cut(self.bias[...], 0), self.epsilon)

    def __call__(self, x: Float[Array, "*tokens channels"], channels: Axis) -> Float[Array, "*tokens channels"]:
        """Normalises, scales and shifts the channels that are on; those that are off come out as 0.

        Statistics are taken in float32 at least, whatever the activations are computed in.
        """
        weight = (channels.weight,) if isinstance(channels, MaskedAxis) else ()
        return named("LayerNorm", _normalise, epsilon=self.epsilon)(x, self.scale[...], self.bias[...], *weight)


def _normalise(x: Array, scale: Array, bias: Array, *weight: Array, epsilon: float) -> Array:
    """Over all channels, or, under a mask, by the channels' weights."""
    channels = MaskedAxis(*weight) if weight else EVERYTHING
    precise = x.astype(jnp.promote_types(x.dtype, np.float32))
    count = channels.count(precise)
    centred = precise - channels.total(precise) / count
    variance = channels.total(jnp.square(centred)) / count
    y = (centred * jax.lax.rsqrt(variance + epsilon)).astype(x.dtype)
    return channels.gate(y * scale + bias)

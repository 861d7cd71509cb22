"""Depthwise convolution of tiny images: every output position sees every input position, with a weight for each pair.

On a 4x4 image a 7x7 kernel has 49 taps, most of them over padding, but an output sees no more than 16 positions.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from search_spaces.blocks.depthwise_taps import TERMS, Taps, total, widened, zeros

Images = Float[Array, "batch height width channels"]
Weight = Float[Array, "kernel kernel 1 channels"]
Convolved = Float[Array, "batch out_height out_width channels"]
Paired = Float[Array, "out_height out_width height width channels"]

POSITIONS = 36  # beyond, the weights of all pairs no longer fit the cache


def worthwhile(taps: Taps) -> bool:
    """Whether an image has few positions, and no more of them than the kernel has taps that meet it.

    Forward + gradient on two busy cores (least of 60 turns, ms), by pairs and by taps. Batch 32, 480 channels: 7x7 on
    4x4 0.63 and 2.57, 5x5 on 4x4 0.61 and 1.55, 7x7 on 6x6 3.6 and 5.2. Left to the taps: 3x3 on 4x4 0.92 and 0.90,
    5x5 on 6x6 3.3 and 3.1, 7x7 on 7x7 8.2 and 7.9.
    """
    down, across = taps.reaches
    return down.size * across.size <= min(POSITIONS, down.taps * across.taps)


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The convolution and its two gradients."""

    kernel: int
    stride: int
    sizes: tuple[int, int]

    def convolve(self, x: Images, weight: Weight) -> Convolved:
        """The sum over an image's positions."""
        height, width = self.sizes
        images, paired = widened(x), lax.optimization_barrier(self._paired(widened(weight)))
        positions = [(i, j) for i in range(height) for j in range(width)]
        return total([images[:, i, j][:, None, None] * paired[:, :, i, j] for i, j in positions]).astype(x.dtype)

    def towards_images(self, weight: Weight, cotangent: Convolved) -> Images:
        """The sum over output positions."""
        outputs, paired = widened(cotangent), lax.optimization_barrier(self._paired(widened(weight)))
        positions = [(i, j) for i in range(outputs.shape[1]) for j in range(outputs.shape[2])]
        gradient = total([outputs[:, i, j][:, None, None] * paired[i, j] for i, j in positions])
        return gradient.astype(cotangent.dtype)

    def towards_weight(self, x: Images, cotangent: Convolved) -> Weight:
        """The sum over images for each pair, some images a step; then pairs that share a tap are added."""
        batch, channels = x.shape[0], x.shape[3]
        steps = -(-batch // TERMS)
        several = -(-batch // steps)
        images, outputs = (
            jnp.pad(widened(a), ((0, steps * several - batch), (0, 0), (0, 0), (0, 0)))[:, None] for a in (x, cotangent)
        )

        def over_images(step: Array, sums: Array) -> Array:
            def product(i: int) -> Array:
                image, output = (
                    lax.dynamic_index_in_dim(a, step * several + i, keepdims=False, allow_negative_indices=False)[0]
                    for a in (images, outputs)
                )
                return output[:, :, None, None] * image

            return sums + total([product(i) for i in range(several)])

        start = zeros((*cotangent.shape[1:3], *self.sizes, channels), x)
        sums = lax.optimization_barrier(lax.fori_loop(0, steps, over_images, start))
        # Each pair's weight is a copy of a tap's, or 0: the gradients of the copies add up.
        pull = jax.vjp(self._paired, zeros((self.kernel, self.kernel, 1, channels), x))[1]
        return pull(sums)[0].astype(x.dtype)

    def _paired(self, weight: Array) -> Paired:
        """The tap that each output position has over each input position, 0 where the kernel does not reach."""
        height, width = self.sizes
        pad, (high, wide) = self.kernel // 2, (-(-size // self.stride) for size in self.sizes)
        margins = [
            (self.stride * (out - 1) - pad, size + pad - self.kernel, 0)
            for out, size in ((high, height), (wide, width))
        ]
        reaching = lax.pad(weight[:, :, 0], jnp.zeros((), weight.dtype), (*margins, (0, 0, 0)))
        tops, lefts = ([self.stride * (out - 1 - o) for o in range(out)] for out in (high, wide))
        rows = jnp.stack([reaching[top : top + height] for top in tops])
        return jnp.stack([rows[:, :, left : left + width] for left in lefts], axis=1)

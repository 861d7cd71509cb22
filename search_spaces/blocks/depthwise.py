"""Depthwise convolution that is fast on CPUs too: a custom gradient, and the way of computing that suits the shape.

XLA's grouped convolution stays on accelerators only: on a CPU it was the slower one at every shape measured, from one
image of 8x8x32 (0.29 ms, not 0.12) and one channel (2.6 ms, not 0.4) to 64 of 16x16x96 (some 40 times as long).
`python -m experiments.benchmarks.depthwise --shapes` measures again.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from search_spaces.blocks.depthwise_pairs import Pairs, worthwhile
from search_spaces.blocks.depthwise_taps import Taps
from search_spaces.named import named

Images = Float[Array, "batch height width channels"]
Weight = Float[Array, "kernel kernel 1 channels"]
Convolved = Float[Array, "batch out_height out_width channels"]


def depthwise(x: Images, weight: Weight, stride: int) -> Convolved:
    """Convolves each channel by itself, zero-padded by `kernel // 2`; the output has `ceil(size / stride)` positions.

    Differentiable once, in reverse. On CPUs, narrow floats are summed in float32 and rounded once at the end.

    Args:
      x: images.
      weight: one odd kernel a channel.
      stride: in both directions.

    Raises:
      ValueError: for an even kernel, a stride below 1, or two dtypes.
    """
    if weight.shape[0] % 2 == 0:
        raise ValueError(f"`weight` must have an odd kernel, got {weight.shape[0]}; pad it with zeros on one side")
    if stride < 1:
        raise ValueError(f"`stride` must be at least 1, got {stride}")
    if x.dtype != weight.dtype:
        raise ValueError(f"`x` and `weight` must share a dtype, got {x.dtype} and {weight.dtype}; cast one of them")
    if jax.sharding.get_abstract_mesh().manual_axes:
        # Inside `shard_map` images differ between devices while weights are shared. Weights that are told to differ
        # too, before the custom gradient, have JAX itself add up their gradients over the devices.
        x, weight = x + jnp.zeros_like(weight, shape=()), weight + jnp.zeros_like(x, shape=())
    return named("Depthwise", _convolve, stride=stride)(x, weight)


def _convolve(x: Array, weight: Array, *, stride: int) -> Array:
    return _depthwise(x, weight, stride)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _depthwise(x: Array, weight: Array, stride: int) -> Array:
    return lax.platform_dependent(x, weight, cpu=partial(_on_cpu, stride), default=partial(_native, stride))


def _forward(x: Array, weight: Array, stride: int) -> tuple[Array, tuple[Array, Array]]:
    return _depthwise(x, weight, stride), (x, weight)


def _backward(stride: int, kept: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    return lax.platform_dependent(
        *kept, cotangent, cpu=partial(_on_cpu_gradients, stride), default=partial(_native_gradients, stride)
    )


_depthwise.defvjp(_forward, _backward)


def _native(stride: int, x: Array, weight: Array) -> Array:
    pad = weight.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _native_gradients(stride: int, x: Array, weight: Array, cotangent: Array) -> tuple[Array, Array]:
    return jax.vjp(partial(_native, stride), x, weight)[1](cotangent)


def _way(stride: int, x: Array, weight: Array) -> Pairs | Taps:
    sizes = x.shape[1], x.shape[2]
    taps = Taps(kernel=weight.shape[0], stride=stride, sizes=sizes)
    return Pairs(kernel=weight.shape[0], stride=stride, sizes=sizes) if worthwhile(taps) else taps


def _on_cpu(stride: int, x: Array, weight: Array) -> Array:
    return _way(stride, x, weight).convolve(x, weight)


def _on_cpu_gradients(stride: int, x: Array, weight: Array, cotangent: Array) -> tuple[Array, Array]:
    way = _way(stride, x, weight)
    return way.towards_images(weight, cotangent), way.towards_weight(x, cotangent)

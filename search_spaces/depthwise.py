"""Depthwise convolution that is fast on CPUs too: a sum of shifted products, with gradients written the same way.

XLA's grouped convolution is many times slower there (`experiments/benchmarks` measures it); elsewhere it is used as is.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Images = Float[Array, "batch height width channels"]
Weight = Float[Array, "kernel kernel 1 channels"]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise(x: Images, weight: Weight, stride: int) -> Float[Array, "batch out_height out_width channels"]:
    """Convolves each channel by itself, zero-padded by `kernel // 2`; the output has `ceil(size / stride)` positions.

    Args:
      x: images.
      weight: one odd kernel a channel.
      stride: in both directions.
    """
    return lax.platform_dependent(x, weight, cpu=partial(_shifted, stride), default=partial(_native, stride))


def _forward(x: Images, weight: Weight, stride: int) -> tuple[Array, tuple[Array, Array]]:
    return depthwise(x, weight, stride), (x, weight)


def _backward(stride: int, kept: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    return lax.platform_dependent(
        *kept, cotangent, cpu=partial(_shifted_gradients, stride), default=partial(_native_gradients, stride)
    )


depthwise.defvjp(_forward, _backward)


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


def _shifted(stride: int, x: Array, weight: Array) -> Array:
    kernel = weight.shape[0]
    pad = kernel // 2
    height, width = (-(-size // stride) for size in x.shape[1:3])
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    return sum(
        _window(padded, i, j, height, width, stride) * weight[i, j, 0] for i in range(kernel) for j in range(kernel)
    )


def _window(x: Array, i: int, j: int, height: int, width: int, stride: int) -> Array:
    rows, columns = i + (height - 1) * stride + 1, j + (width - 1) * stride + 1
    return lax.slice(x, (0, i, j, 0), (x.shape[0], rows, columns, x.shape[3]), (1, stride, stride, 1))


def _shifted_gradients(stride: int, x: Array, weight: Array, cotangent: Array) -> tuple[Array, Array]:
    kernel = weight.shape[0]
    pad = kernel // 2
    height, width = cotangent.shape[1:3]

    # Towards x: the cotangent, its rows and columns `stride` apart, convolved with the kernel turned round.
    before = kernel - 1 - pad
    after_rows, after_columns = (
        size + pad - 1 - (out - 1) * stride for size, out in zip(x.shape[1:3], (height, width), strict=True)
    )
    spread = lax.pad(
        cotangent,
        jnp.zeros((), cotangent.dtype),
        ((0, 0, 0), (before, after_rows, stride - 1), (before, after_columns, stride - 1), (0, 0, 0)),
    )
    x_gradient = sum(
        _window(spread, i, j, x.shape[1], x.shape[2], 1) * weight[kernel - 1 - i, kernel - 1 - j, 0]
        for i in range(kernel)
        for j in range(kernel)
    )

    # Towards the weights: image by image, so that an image and its cotangent stay in the cache for all taps.
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))

    def add_image(total: Array, image: tuple[Array, Array]) -> tuple[Array, None]:
        inputs, outputs = image
        taps = [
            (_window(inputs[None], i, j, height, width, stride)[0] * outputs).sum((0, 1))
            for i in range(kernel)
            for j in range(kernel)
        ]
        return total + jnp.stack(taps), None

    total, _ = lax.scan(add_image, jnp.zeros((kernel**2, x.shape[3]), x.dtype), (padded, cotangent))
    return x_gradient, total.reshape(weight.shape)

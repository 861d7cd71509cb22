"""Depthwise convolution that is fast on CPUs too: a sum of shifted products, with gradients written the same way.

XLA's grouped convolution takes some ten times as long there; elsewhere it is used as it is.
"""

from functools import partial, reduce

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
    taps = [(i, j) for i in range(kernel) for j in range(kernel)]
    return _total([_window(padded, i, j, height, width, stride) * weight[i, j, 0] for i, j in taps])


def _total(terms: list[Array]) -> Array:
    return reduce(jnp.add, terms)


def _window(images: Array, i: int, j: int, height: int, width: int, stride: int) -> Array:
    """The positions that one tap sees; leading axes are left alone."""
    rows, columns = slice(i, i + (height - 1) * stride + 1, stride), slice(j, j + (width - 1) * stride + 1, stride)
    return images[..., rows, columns, :]


def _shifted_gradients(stride: int, x: Array, weight: Array, cotangent: Array) -> tuple[Array, Array]:
    # Image by image: an image, its padding and its cotangent stay in the cache while every tap passes over them.
    kernel = weight.shape[0]
    pad = kernel // 2
    height, width = cotangent.shape[1:3]
    taps = [(i, j) for i in range(kernel) for j in range(kernel)]
    before = kernel - 1 - pad
    after_rows, after_columns = (
        size + pad - 1 - (out - 1) * stride for size, out in zip(x.shape[1:3], (height, width), strict=True)
    )

    def one_image(total: Array, image: tuple[Array, Array]) -> tuple[Array, Array]:
        inputs, outputs = image
        # Towards the image: the cotangent, its rows `stride` apart, convolved with the kernel turned round.
        spread = lax.optimization_barrier(
            lax.pad(
                outputs,
                jnp.zeros((), outputs.dtype),
                ((before, after_rows, stride - 1), (before, after_columns, stride - 1), (0, 0, 0)),
            )
        )
        rows, columns = inputs.shape[:2]
        gradient = _total(
            [_window(spread, i, j, rows, columns, 1) * weight[kernel - 1 - i, kernel - 1 - j, 0] for i, j in taps]
        )
        # Towards the weights: one sum a tap.
        padded = lax.optimization_barrier(jnp.pad(inputs, ((pad, pad), (pad, pad), (0, 0))))
        sums = jnp.stack([(_window(padded, i, j, height, width, stride) * outputs).sum((0, 1)) for i, j in taps])
        return total + sums, gradient

    total, x_gradient = lax.scan(one_image, jnp.zeros((kernel**2, x.shape[3]), x.dtype), (x, cotangent))
    return x_gradient, total.reshape(weight.shape)

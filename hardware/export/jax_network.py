"""A network run in JAX straight from its layers and weights: what every exporter has to agree with."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from search_spaces.blocks.functions import channel_shuffle, max_pool
from search_spaces.blocks.relative_position import RelativePosition
from search_spaces.layers import (
    Activation,
    Add,
    AvgPool,
    Channels,
    Concat,
    Conv,
    Dense,
    Depthwise,
    Elementwise,
    Flatten,
    GlobalPool,
    Input,
    Layer,
    LayerNorm,
    MaxPool,
    Mix,
    Nonlinearity,
    Norm,
    PatchEmbed,
    Positions,
    RelativeMix,
    RelativeScores,
    Scale,
    Scores,
    Shuffle,
    Softmax,
    Take,
    Tokens,
    Zeros,
    padding_of,
)

NHWC = ("NHWC", "HWIO", "NHWC")
Get = Callable[[str], Array]
FUNCTIONS: Mapping[Nonlinearity, Callable[[Any], Array]] = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "hard_swish": jax.nn.hard_swish,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "swish": jax.nn.silu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
}


def run_layers(
    layers: Sequence[Layer], weights: Mapping[str, Any], images: Float[Any, "batch height width channels"]
) -> Float[Array, "batch out_height out_width out_channels"]:
    """The output of the last layer, in the images' number type.

    A plain function of arrays, to be jitted, exported or compared with: each layer is XLA's own operation.

    Args:
      layers: the network in execution order.
      weights: by name, as `hardware/export/weights.py` says.
      images: normalised as in training.

    Raises:
      ValueError: on a layer that no operation is known for.
    """
    tensors: list[Array] = []
    for position, layer in enumerate(layers):

        def weight(name: str, path: str = layer.path) -> Array:
            return jnp.asarray(weights[f"{path}.{name}"])

        x = [tensors[source] for source in layer.inputs]
        tensors.append(jnp.asarray(images) if isinstance(layer, Input) else _output(position, layer, x, weight))
    return tensors[-1]


def answer(layers: Sequence[Layer], output: Any) -> Any:
    """An output as runtimes give it: `[batch, channels]` of a vector, `[batch, tokens, channels]` of tokens."""
    height, width, channels = layers[-1].shape
    if width != 1:
        return output
    return output.reshape(len(output), channels) if height == 1 else output.reshape(len(output), height, channels)


def _output(position: int, layer: Layer, x: Sequence[Array], weight: Get) -> Array:
    match layer:
        case Conv() | Depthwise():
            return _convolved(layer, x[0], weight)
        case Dense():
            return x[0] @ weight("weight") + (weight("bias") if layer.bias else 0)
        case Norm():
            normal = (x[0] - weight("mean")) * lax.rsqrt(weight("var") + layer.epsilon)
            return normal * weight("scale") + weight("bias")
        case Activation():
            return FUNCTIONS[layer.kind](x[0])
        case GlobalPool():
            return x[0].mean((1, 2), keepdims=True)
        case AvgPool():
            sums, counts = (_window_sums(layer, each) for each in (x[0], jnp.ones_like(x[0][:1])))
            return sums / counts
        case MaxPool():
            return max_pool(layer.kernel, layer.stride, layer.padding)(x[0])
        case Concat():
            return jnp.concatenate(x, -1)
        case Channels():
            return x[0][..., layer.start : layer.start + layer.shape[-1]]
        case Shuffle():
            return channel_shuffle(layer.groups)(x[0])
        case Flatten() | Tokens():
            return x[0].reshape(len(x[0]), *layer.shape)
        case Zeros():
            return jnp.zeros_like(x[0])
        case Add():
            return x[0] + x[1]
        case Scale():
            return x[0] * x[1]
        case PatchEmbed():
            squares = _windows(x[0], weight("weight"), layer.patch, ((0, 0), (0, 0)))
            return squares.reshape(len(squares), *layer.shape) + weight("bias")
        case Positions():
            return _with_positions(layer, x[0], weight)
        case Take():
            return x[0][:, layer.start : layer.start + layer.shape[0]]
        case LayerNorm():
            mean = x[0].mean(-1, keepdims=True)
            spread = ((x[0] - mean) ** 2).mean(-1, keepdims=True)
            return (x[0] - mean) * lax.rsqrt(spread + layer.epsilon) * weight("scale") + weight("bias")
        case Scores():
            query, key = (_heads(each, layer.head_dim) for each in x)
            return jnp.einsum("bqhd,bkhd->bqkh", query, key) * layer.head_dim**-0.5
        case Softmax():
            return jax.nn.softmax(x[0], 2)
        case Mix():
            mixed = jnp.einsum("bqkh,bkhd->bqhd", x[0], _heads(x[1], layer.head_dim))
            return mixed.reshape(len(mixed), *layer.shape)
        case RelativeScores() | RelativeMix():
            return _relative(layer, x, weight)
        case Elementwise():
            raise ValueError(
                f"layer {position} is the elementwise operation `{layer.operation}`, which no layer has a name for; use"
                " a nonlinearity of `search_spaces.layers.Activation`, a sum or a scale"
            )
        case _:
            raise ValueError(
                f"layer {position} (`{layer.path}`) is a {type(layer).__name__}, which has no operation here; add a"
                " case to hardware/export/jax_network.py"
            )


def _convolved(layer: Conv | Depthwise, x: Array, weight: Get) -> Array:
    above, below, left, right = padding_of(layer)
    groups = layer.groups if isinstance(layer, Conv) else layer.shape[-1]
    # a negative padding crops; XLA's convolution on a CPU would read beyond the image for it
    rows, columns = (slice(max(-a, 0), min(b, 0) or None) for a, b in ((above, below), (left, right)))
    x, around = x[:, rows, columns], tuple((max(a, 0), max(b, 0)) for a, b in ((above, below), (left, right)))
    kernel = weight("weight")
    y = _windows(x, kernel, layer.stride, around, dilation=layer.dilation, groups=groups)
    return y + weight("bias") if layer.bias else y


def _windows(
    x: Array, kernel: Array, stride: int, around: Sequence[tuple[int, int]], *, dilation: int = 1, groups: int = 1
) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        around,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=NHWC,
        feature_group_count=groups,
    )


def _window_sums(layer: AvgPool, x: Array) -> Array:
    above, below, left, right = padding_of(layer)
    around = ((0, 0), (above, below), (left, right), (0, 0))
    sides, strides = ((1, side, side, 1) for side in (layer.kernel, layer.stride))
    return lax.reduce_window(x, np.zeros((), x.dtype), lax.add, sides, strides, around)


def _with_positions(layer: Positions, x: Array, weight: Get) -> Array:
    if layer.class_token:
        token = jnp.broadcast_to(weight("token").astype(x.dtype), (len(x), 1, 1, layer.shape[-1]))
        x = jnp.concatenate([token, x], 1)
    return x + weight("weight")[:, None]


def _relative(layer: RelativeScores | RelativeMix, x: Sequence[Array], weight: Get) -> Array:
    """Pairs of tokens are `(queries, keys, heads)` in layers, and heads first where the tables are multiplied."""
    tables = RelativePosition(weight("rows"), weight("columns"), layer.reach, layer.class_token)
    if isinstance(layer, RelativeScores):
        scores = tables.scores(x[0].transpose(0, 3, 1, 2), _heads(x[1], layer.head_dim))
        return scores.transpose(0, 2, 3, 1)
    mixed = tables.mix(_heads(x[0], layer.head_dim), x[1].transpose(0, 3, 1, 2))
    return mixed.reshape(len(mixed), *layer.shape)


def _heads(tokens: Array, head_dim: int) -> Array:
    """`[batch, tokens, heads, head_dim]`."""
    return tokens.reshape(len(tokens), tokens.shape[1], -1, head_dim)

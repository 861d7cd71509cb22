"""An image as tokens: squares mapped linearly, and learned positions; both resized from one size that is learned."""

from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from search_spaces.axes import Axis, Weights
from search_spaces.blocks.attention import Tokens
from search_spaces.initialise import Draw
from search_spaces.layers import square_side
from search_spaces.named import named


class Patches(nnx.Module):
    """Squares of the image, each mapped linearly, with bias, in the order of reading.

    References:
      FlexiViT (arXiv:2212.08013): squares of another size are mapped by the learned weights, resized so that a square
      and its resized image give the same numbers, as nearly as can be.
    """

    def __init__(self, weight: Any, bias: Any):
        self.weight, self.bias = nnx.Param(weight), nnx.Param(bias)

    @classmethod
    def init(cls, draw: Draw, image_channels: int, channels: int, patch: int) -> "Patches":
        """LeCun initialisation, zero bias."""
        weight = draw(patch, patch, image_channels, channels) / (patch * image_channels**0.5)
        return cls(weight, jnp.zeros(channels))

    def cut(self, channels: Axis, patch: int) -> "Patches":
        """The same map to fewer channels, of squares of `patch` px."""
        weight, learned = channels.cut(self.weight[...], 3), self.weight.shape[0]
        if patch != learned:
            weight = _along_both_sides(_equivalent(learned, patch), weight)
        return Patches(weight, channels.cut(self.bias[...], 0))

    def __call__(self, images: Float[Array, "batch height width image_channels"]) -> Tokens:
        """A convolution whose stride is its kernel, as one matrix product."""
        return _embed_patches(images, self.weight[...], self.bias[...])


def _embedded(images: Array, weight: Array, bias: Array) -> Array:
    batch, height, width, channels = images.shape
    patch = weight.shape[0]
    squares = images.reshape(batch, height // patch, patch, width // patch, patch, channels)
    squares = squares.swapaxes(2, 3).reshape(batch, -1, patch * patch * channels)
    return squares @ weight.reshape(patch * patch * channels, -1) + bias


_embed_patches = named("PatchEmbed", _embedded)


class Positions(nnx.Module):
    """A learned vector for each token of a square, and the learned class token that comes first, if there is one.

    A square of another size has vectors of its own once cut: the learned ones, resized.
    """

    def __init__(self, weight: Any, token: Any = None):
        self.weight = nnx.Param(weight)
        self.token = None if token is None else nnx.Param(token)

    @classmethod
    def init(cls, draw: Draw, side: int, channels: int, class_token: bool) -> "Positions":
        """Normal with deviation 0.02, as in ViT."""
        weight = draw(side**2 + class_token, channels) * 0.02
        return cls(weight, draw(channels) * 0.02 if class_token else None)

    def cut(self, channels: Axis, side: int) -> "Positions":
        """The positions of fewer channels, on a square of `side` tokens; that of the class token stays as it is."""
        weight, first = channels.cut(self.weight[...], 1), int(self.token is not None)
        learned = square_side(weight.shape[0] - first)
        if side != learned:
            square = weight[first:].reshape(learned, learned, -1)
            resized = _along_both_sides(resizing(learned, side), square).reshape(side**2, -1)
            weight = _arrays(weight).concatenate([weight[:first], resized])
        return Positions(weight, None if self.token is None else channels.cut(self.token[...], 0))

    def __call__(self, patches: Float[Array, "batch patches channels"]) -> Tokens:
        """The class token and the patches, each plus its position's vector."""
        token = () if self.token is None else (self.token[...],)
        return named("Positions", _positioned, class_token=bool(token))(patches, self.weight[...], *token)


def _positioned(patches: Array, weight: Array, *token: Array, class_token: bool) -> Array:
    if class_token:
        first = jnp.broadcast_to(token[0], (patches.shape[0], 1, patches.shape[-1]))
        patches = jnp.concatenate([first, patches], 1)
    return patches + weight


@lru_cache(maxsize=256)
def resizing(before: int, after: int) -> Float[np.ndarray, "after before"]:
    """The matrix that makes `after` numbers along a line of `before`: bilinear, smoothed where it shrinks."""
    places = (np.arange(after) + 0.5) * before / after - 0.5
    away = np.abs(places[:, None] - np.arange(before)) * min(after / before, 1)
    weight = np.maximum(1 - away, 0)
    return weight / weight.sum(1, keepdims=True)


@lru_cache(maxsize=256)
def _equivalent(before: int, after: int) -> Float[np.ndarray, "after before"]:
    """The matrix for weights whose inner products with what `resizing` gives are nearest to those with what it got."""
    return np.linalg.pinv(resizing(before, after).T)


def _along_both_sides(matrix: Float[np.ndarray, "after before"], weights: Weights) -> Weights:
    """The matrix applied to the first axis and to the second."""
    matrix = matrix.astype(weights.dtype)
    return _arrays(weights).einsum("ir,jc,rc...->ij...", matrix, matrix, weights)


def _arrays(weights: Weights) -> Any:
    return np if isinstance(weights, np.ndarray) else jnp

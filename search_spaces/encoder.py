"""The blocks of an elastic vision transformer: patches to tokens, encoder layers, tokens to logits.

Activations between them are tokens `[batch, tokens, channels]`, those that are off zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from search_spaces.attention import Attention, Tokens
from search_spaces.axes import EVERYTHING, Axis
from search_spaces.elastic import NONLINEARITIES, Dense
from search_spaces.initialise import Draw
from search_spaces.layer_norm import LayerNorm
from search_spaces.layers import Graph
from search_spaces.named import named
from search_spaces.reading import Cut, Reading
from search_spaces.static import RESOLUTION


class Positions(nnx.Module):
    """A learned vector for each token, and the learned class token that comes first, if there is one."""

    def __init__(self, weight: Any, token: Any = None):
        self.weight = nnx.Param(weight)
        self.token = None if token is None else nnx.Param(token)

    @classmethod
    def init(cls, draw: Draw, patches: int, channels: int, class_token: bool) -> "Positions":
        """Normal with deviation 0.02, as in ViT."""
        weight = draw(patches + class_token, channels) * 0.02
        return cls(weight, draw(channels) * 0.02 if class_token else None)

    def cut(self, channels: Axis) -> "Positions":
        """The same positions of fewer channels."""
        token = None if self.token is None else channels.cut(self.token[...], 0)
        return Positions(channels.cut(self.weight[...], 1), token)

    def __call__(self, patches: Float[Array, "batch patches channels"]) -> Tokens:
        """The class token and the patches, each plus its position's vector."""
        token = () if self.token is None else (self.token[...],)
        return named("Positions", _positioned, class_token=bool(token))(patches, self.weight[...], *token)


def _positioned(patches: Array, weight: Array, *token: Array, class_token: bool) -> Array:
    if class_token:
        first = jnp.broadcast_to(token[0], (patches.shape[0], 1, patches.shape[-1]))
        patches = jnp.concatenate([first, patches], 1)
    return patches + weight


class Embedding(nnx.Module):
    """Squares of the image, mapped linearly to tokens, and positions. Its choices: `dim` and the resolution.

    Each resolution has positions of its own, for their number follows from it.
    """

    def __init__(self, dims: tuple[int, ...], weight: Any, bias: Any, positions: Sequence[Positions]):
        self.dims = dims
        self.patches = _Patches(weight, bias)
        self.positions = nnx.List(positions)

    @classmethod
    def init(
        cls,
        draw: Draw,
        image_channels: int,
        patch: int,
        sides: Sequence[int],
        dims: tuple[int, ...],
        class_token: bool,
    ) -> "Embedding":
        """For images of `sides` squares of `patch` px on each side, one for each resolution. LeCun initialisation."""
        channels = max(dims)
        weight = draw(patch, patch, image_channels, channels) / (patch * image_channels**0.5)
        positions = [Positions.init(draw, side**2, channels, class_token) for side in sides]
        return cls(dims, weight, jnp.zeros(channels), positions)

    def cut(self, read: Reading) -> "Embedding":
        """The tokens of fewer channels, at one resolution."""
        dim = read.axis(np.array(self.dims), "dim")
        weight, bias = dim.cut(self.patches.weight[...], 3), dim.cut(self.patches.bias[...], 0)
        # One is left where there is one resolution, or the embedding has been cut: then no choice is left to ask for.
        at = read.fixed(RESOLUTION) if len(self.positions) > 1 else 0
        return Embedding(self.dims, weight, bias, [self.positions[at].cut(dim)])

    def cut_stats(self, read: Reading, stats: Any) -> Any:
        """Layer norm has none."""
        return stats

    def __call__(
        self, read: Reading, stats: Any, images: Float[Array, "batch height width image_channels"]
    ) -> tuple[Tokens, dict[str, Any]]:
        """The tokens."""
        block = self.cut(read)
        (positions,) = block.positions
        return read.axis(np.array(self.dims), "dim").gate(positions(block.patches(images))), {}


class _Patches(nnx.Module):
    """Squares of the image, each mapped linearly, with bias, in the order of reading."""

    def __init__(self, weight: Any, bias: Any):
        self.weight, self.bias = nnx.Param(weight), nnx.Param(bias)

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


@dataclass(frozen=True, kw_only=True)
class EncoderPlan:
    """What an encoder layer may be. Its own choices: `dim`, `heads`, `mlp_ratio`.

    Attributes:
      dims: options for the channels of a token.
      heads: options for the number of heads.
      mlp_ratios: options for the ratio of the hidden channels of its two dense layers to those of a token.
      head_dim: channels of a head.
      reach: of the tables of relative positions; None for no tables.
      class_token: whether the first token is not a patch.
      epsilon: of layer norm.
    """

    dims: tuple[int, ...]
    heads: tuple[int, ...]
    mlp_ratios: tuple[float, ...]
    head_dim: int
    reach: int | None
    class_token: bool
    epsilon: float

    @cached_property
    def hidden(self) -> Int[np.ndarray, "dims mlp_ratios"]:
        """Hidden channels: those of a token times the ratio, rounded down as in AutoFormer."""
        return np.array([[int(dim * ratio) for ratio in self.mlp_ratios] for dim in self.dims])

    def read_dim(self, read: Reading) -> Axis:
        """The axis of a token's channels."""
        return read.axis(np.array(self.dims), "dim")

    def read_heads(self, read: Reading) -> Axis:
        """The axis of the channels of all heads."""
        return read.axis(np.array(self.heads) * self.head_dim, "heads")

    def read_hidden(self, read: Reading) -> Axis:
        """The axis of hidden channels."""
        return read.axis(self.hidden, "dim", "mlp_ratio")

    def layers(self, graph: Graph, x: int, read: Cut, path: str) -> int:
        """Writes the layer of a known architecture behind position `x`; returns the position of its output."""
        dim, ratio = read.index("dim", self.dims), read.index("mlp_ratio", self.mlp_ratios)
        channels, attention = self.dims[dim], f"{path}.attention"
        width = self.heads[read.index("heads", self.heads)] * self.head_dim
        h = graph.layer_norm(x, f"{path}.attention_norm", self.epsilon)
        query, key, value = (graph.dense(h, width, f"{attention}.{name}") for name in ("query", "key", "value"))
        scores = graph.scores(query, key, self.head_dim)
        if self.reach is not None:
            scores = graph.relative_scores(scores, query, f"{attention}.to_keys", self.reach, self.class_token)
        weights = graph.softmax(scores)
        h = graph.mix(weights, value, self.head_dim)
        if self.reach is not None:
            h = graph.relative_mix(h, weights, f"{attention}.to_values", self.reach, self.class_token)
        x = graph.sum(x, graph.dense(h, channels, f"{attention}.project"))
        h = graph.layer_norm(x, f"{path}.mlp_norm", self.epsilon)
        h = graph.activation(graph.dense(h, int(self.hidden[dim, ratio]), f"{path}.expand"), "gelu")
        return graph.sum(x, graph.dense(h, channels, f"{path}.project"))


class EncoderLayer(nnx.Module):
    """Attention and two dense layers with GELU between them, each behind a layer norm and added to its input.

    An Image is Worth 16x16 Words (arXiv:2010.11929).
    """

    def __init__(
        self,
        plan: EncoderPlan,
        attention_norm: LayerNorm,
        attention: Attention,
        mlp_norm: LayerNorm,
        expand: Dense,
        project: Dense,
    ):
        self.plan = plan
        self.attention_norm, self.attention = attention_norm, attention
        self.mlp_norm, self.expand, self.project = mlp_norm, expand, project

    @classmethod
    def init(cls, draw: Draw, plan: EncoderPlan) -> "EncoderLayer":
        """A layer wide enough for all options of its plan."""
        dim, hidden = max(plan.dims), int(plan.hidden.max())
        return cls(
            plan,
            LayerNorm.init(dim, plan.epsilon),
            Attention.init(draw, dim, max(plan.heads), plan.head_dim, plan.reach, plan.class_token),
            LayerNorm.init(dim, plan.epsilon),
            Dense.init(draw, dim, hidden),
            Dense.init(draw, hidden, dim),
        )

    def cut(self, read: Reading) -> "EncoderLayer":
        """The layer with the parameters that the reading uses."""
        plan = self.plan
        dim, heads, hidden = plan.read_dim(read), plan.read_heads(read), plan.read_hidden(read)
        return EncoderLayer(
            plan,
            self.attention_norm.cut(dim),
            self.attention.cut(dim, heads),
            self.mlp_norm.cut(dim),
            self.expand.cut(dim, hidden),
            self.project.cut(hidden, dim),
        )

    def cut_stats(self, read: Reading, stats: Any) -> Any:
        """Layer norm has none."""
        return stats

    def __call__(self, read: Reading, stats: Any, x: Tokens) -> tuple[Tokens, dict[str, Any]]:
        """The tokens after attention and the dense layers."""
        plan, layer = self.plan, self.cut(read)
        dim, heads, hidden = plan.read_dim(read), plan.read_heads(read), plan.read_hidden(read)
        x = x + dim.gate(layer.attention(layer.attention_norm(x, dim), heads))
        h = hidden.gate(NONLINEARITIES["gelu"](layer.expand(layer.mlp_norm(x, dim))))
        return x + dim.gate(layer.project(h)), {}


class Readout(nnx.Module):
    """A layer norm, the class token or the mean over patches, and a classifier. Its choice: `dim`."""

    def __init__(self, dims: tuple[int, ...], pool: str, class_token: bool, norm: LayerNorm, classifier: Dense):
        self.dims, self.pool, self.class_token = dims, pool, class_token
        self.norm, self.classifier = norm, classifier

    @classmethod
    def init(
        cls, draw: Draw, dims: tuple[int, ...], classes: int, pool: str, class_token: bool, epsilon: float
    ) -> "Readout":
        """Between the options for the channels of a token and the classes."""
        norm, classifier = LayerNorm.init(max(dims), epsilon), Dense.init(draw, max(dims), classes)
        return cls(dims, pool, class_token, norm, classifier)

    def cut(self, read: Reading) -> "Readout":
        """The readout of tokens of fewer channels."""
        dim = read.axis(np.array(self.dims), "dim")
        norm, classifier = self.norm.cut(dim), self.classifier.cut(dim, EVERYTHING)
        return Readout(self.dims, self.pool, self.class_token, norm, classifier)

    def cut_stats(self, read: Reading, stats: Any) -> Any:
        """Layer norm has none."""
        return stats

    def __call__(self, read: Reading, stats: Any, x: Tokens) -> tuple[Float[Array, "batch classes"], dict[str, Any]]:
        """Logits."""
        block, dim = self.cut(read), read.axis(np.array(self.dims), "dim")
        if self.pool == "class":
            return block.classifier(block.norm(x[:, 0], dim)), {}
        return block.classifier(block.norm(x[:, int(self.class_token) :], dim).mean(1)), {}


def readout_layers(graph: Graph, x: int, classes: int, pool: str, class_token: bool, path: str, epsilon: float) -> int:
    """Writes the readout behind position `x`."""
    if pool == "class":
        x = graph.layer_norm(graph.take(x, 0, 1), f"{path}.norm", epsilon)
        return graph.dense(x, classes, f"{path}.classifier")
    if class_token:
        x = graph.take(x, 1, graph.shape(x)[0] - 1)
    return graph.dense(graph.global_pool(graph.layer_norm(x, f"{path}.norm", epsilon)), classes, f"{path}.classifier")

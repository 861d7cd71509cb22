"""Stretches and recipes of tokens: layer norm, attention, encoder layers, patches to tokens, tokens to logits.

Activations between them are tokens `[batch, tokens, channels]`, those that are off zero.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from search_spaces.blocks.attention import Attention
from search_spaces.blocks.layer_norm import LayerNorm
from search_spaces.blocks.patches import Patches, Positions
from search_spaces.graph import Graph
from search_spaces.reading import Reading
from search_spaces.recipe import Builder, Tensor
from search_spaces.static import RESOLUTION
from search_spaces.widths import elastic

Pool = Literal["mean", "class"]

EPSILON = 1e-5  # of layer norm, as in AutoFormer (arXiv:2107.00651)

PATCH = "patch"


def layer_norm(b: Builder, x: Tensor, name: str, epsilon: float = EPSILON) -> Tensor:
    """Layer normalisation over the channels that are on."""
    return b.layer(
        x,
        name,
        x.width,
        init=lambda _, __, outs: LayerNorm.init(outs, epsilon),
        cut=lambda module, read: module.cut(x.width.read(read)),
        run=lambda module, read, array: module(array, x.width.read(read)),
        write=lambda graph, _, at, path, __: graph.layer_norm(at, path, epsilon),
        clean=True,
    )


def attention(
    b: Builder,
    x: Tensor,
    name: str,
    heads: tuple[int, ...],
    head_dim: int,
    *,
    reach: int | None = None,
    class_token: bool = False,
) -> Tensor:
    """Self-attention among tokens; several numbers of heads are options of the choice `heads`.

    Args:
      b: the builder.
      x: the tokens.
      name: of its parameters.
      heads: options for how many.
      head_dim: channels of a head.
      reach: of tables of relative positions; None for none.
      class_token: whether the first token is not of the square.
    """
    width = elastic(tuple(count * head_dim for count in heads), "heads")

    def write(graph: Graph, read: Any, at: int, path: str, outs: int) -> int:
        size = width.read(read).size  # pyright: ignore[reportAttributeAccessIssue]
        query, key, value = (graph.dense(at, size, f"{path}.{own}") for own in ("query", "key", "value"))
        scores = graph.scores(query, key, head_dim)
        if reach is not None:
            scores = graph.relative_scores(scores, query, f"{path}.to_keys", reach, class_token)
        weights = graph.softmax(scores)
        mixed = graph.mix(weights, value, head_dim)
        if reach is not None:
            mixed = graph.relative_mix(mixed, weights, f"{path}.to_values", reach, class_token)
        return graph.dense(mixed, outs, f"{path}.project")

    return b.layer(
        x,
        name,
        x.width,
        init=lambda draw, ins, _: Attention.init(draw, ins, max(heads), head_dim, reach, class_token),
        cut=lambda module, read: module.cut(x.width.read(read), width.read(read)),
        run=lambda module, read, array: module(array, width.read(read)),
        write=write,
        clean=False,
    )


def positions(
    b: Builder, x: Tensor, name: str, largest: int, side: Callable[[Reading], int], class_token: bool = False
) -> Tensor:
    """Learned positions of a square of tokens, and the class token before them, if there is one.

    Args:
      b: the builder.
      x: the tokens of the square.
      name: of its parameters.
      largest: side of the square whose positions are learned, in tokens.
      side: of the square that a reading has.
      class_token: whether there is one.
    """
    return b.layer(
        x,
        name,
        x.width,
        init=lambda draw, _, outs: Positions.init(draw, largest, outs, class_token),
        cut=lambda module, read: module.cut(x.width.read(read), side(read)),
        run=lambda module, _, array: module(array),
        write=lambda graph, _, at, path, __: graph.positions(at, path, class_token),
        clean=False,
    )


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Squares of the image, mapped linearly to tokens, and positions. Its own choices: `dim`, `resolution`, `patch`.

    Attributes:
      dims: options for the channels of a token.
      sizes: options for the side of the images, px.
      patches: options for the side of the squares, px.
      learned: side of the squares whose map is learned, px; those of others are resized.
      class_token: whether a learned token comes before the others.
    """

    dims: tuple[int, ...]
    sizes: tuple[int, ...]
    patches: tuple[int, ...]
    learned: int
    class_token: bool

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The tokens."""
        width = elastic(self.dims, "dim")
        x = b.layer(
            x,
            "patches",
            width,
            init=lambda draw, ins, outs: Patches.init(draw, ins, outs, self.learned),
            cut=lambda module, read: module.cut(width.read(read), self._patch(read)),
            run=lambda module, _, array: module(array),
            write=lambda graph, read, at, path, outs: graph.patch_embed(at, outs, path, self._patch(read)),
            clean=False,
        )
        largest = max(self.sizes) // min(self.patches)
        return positions(b, x, "positions", largest, self._side, self.class_token)

    def _patch(self, read: Reading) -> int:
        return chosen(read, PATCH, self.patches)

    def _side(self, read: Reading) -> int:
        return chosen(read, RESOLUTION, self.sizes) // self._patch(read)


def chosen(read: Reading, choice: str, options: tuple[int, ...]) -> int:
    """The option of a static choice, or the only one there is."""
    return options[read.fixed(choice) if len(options) > 1 else 0]


@dataclass(frozen=True, kw_only=True)
class EncoderLayer:
    """Attention and two dense layers with GELU between them, each behind a layer norm and added to its input.

    An Image is Worth 16x16 Words (arXiv:2010.11929). Its own choices: `heads`, `mlp_ratio`.

    Attributes:
      heads: options for the number of heads.
      mlp_ratios: options for the ratio of the hidden channels of its two dense layers to those of a token.
      head_dim: channels of a head.
      reach: of the tables of relative positions; None for no tables.
      class_token: whether the first token is not of the square.
      epsilon: of layer norm.
    """

    heads: tuple[int, ...]
    mlp_ratios: tuple[float, ...]
    head_dim: int
    reach: int | None = None
    class_token: bool = False
    epsilon: float = EPSILON

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The tokens after attention and the dense layers."""
        more = {"reach": self.reach, "class_token": self.class_token}
        h = layer_norm(b, x, "attention_norm", self.epsilon)
        x = b.add(x, attention(b, h, "attention", self.heads, self.head_dim, **more))
        # Rounded down, as in AutoFormer.
        hidden = x.width.times(self.mlp_ratios, "mlp_ratio", lambda channels, ratio: int(channels * ratio))
        h = b.dense(layer_norm(b, x, "mlp_norm", self.epsilon), "expand", hidden)
        return b.add(x, b.dense(b.act(h, "gelu"), "project", x.width))


@dataclass(frozen=True, kw_only=True)
class Readout:
    """A layer norm, the class token or the mean over the others, and a classifier.

    Attributes:
      classes: how many.
      pool: what the classifier reads: the `mean` over the square's tokens or the `class` token.
      class_token: whether there is one.
      epsilon: of layer norm.
    """

    classes: int
    pool: Pool = "mean"
    class_token: bool = False
    epsilon: float = EPSILON

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """Logits."""
        if self.pool == "class":
            first = lambda array: array[:, 0]  # noqa: E731
            x = b.function([x], x.width, run=first, write=lambda graph, at: graph.take(at, 0, 1))
        elif self.class_token:
            rest = lambda array: array[:, 1:]  # noqa: E731
            x = b.function([x], x.width, run=rest, write=lambda g, at: g.take(at, 1, g.shape(at)[0] - 1))
        x = layer_norm(b, x, "norm", self.epsilon)
        return b.dense(x if self.pool == "class" else b.global_pool(x), "classifier", self.classes)

"""A layer is one concrete operation; a tuple of layers is a network's graph in execution order.

Costs, exporters, encoders and drawings all read this one tuple. Shapes are `(height, width, channels)` of one image;
a vector is `(1, 1, channels)`, tokens are `(tokens, 1, channels)` and what attention gives each pair of tokens is
`(queries, keys, heads)`. `inputs` are positions in the same tuple, always smaller than the layer's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, int, int]
Nonlinearity = Literal["relu", "hard_swish", "hard_sigmoid", "gelu"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What all layers have: where their inputs come from, what shape leaves, and where their parameters lie.

    Attributes:
      inputs: positions of the layers that feed this one.
      shape: `(height, width, channels)` of the output.
      path: dotted path of the parameters in the extracted network; empty where there are none.
    """

    inputs: tuple[int, ...] = ()
    shape: Shape
    path: str = ""


@dataclass(frozen=True, kw_only=True)
class Input(Layer):
    """The image."""


@dataclass(frozen=True, kw_only=True)
class Conv(Layer):
    """A dense 2-D convolution without bias; zero padding `kernel // 2` on each side."""

    in_channels: int
    kernel: int
    stride: int = 1


@dataclass(frozen=True, kw_only=True)
class Depthwise(Layer):
    """A depthwise 2-D convolution without bias; zero padding `kernel // 2` on each side."""

    kernel: int
    stride: int = 1


@dataclass(frozen=True, kw_only=True)
class Dense(Layer):
    """A linear map of a vector, or of each token's, with bias."""

    in_channels: int


@dataclass(frozen=True, kw_only=True)
class Norm(Layer):
    """Batch normalisation with given statistics: a scale and a bias per channel are parameters."""

    epsilon: float


@dataclass(frozen=True, kw_only=True)
class Activation(Layer):
    """An elementwise nonlinearity."""

    kind: Nonlinearity


@dataclass(frozen=True, kw_only=True)
class GlobalPool(Layer):
    """The mean over all positions."""


@dataclass(frozen=True, kw_only=True)
class AvgPool(Layer):
    """The mean over a window of positions.

    An odd window is padded by `kernel // 2` on each side, and counts only what lies on the image; an even one is not
    padded, and what doesn't fill a window is left out.
    """

    kernel: int
    stride: int = 1


@dataclass(frozen=True, kw_only=True)
class Zeros(Layer):
    """Zeros in the shape of its input: where a cell's edge is cut."""


@dataclass(frozen=True, kw_only=True)
class Add(Layer):
    """The sum of two inputs of one shape."""


@dataclass(frozen=True, kw_only=True)
class Scale(Layer):
    """The first input, each channel multiplied by the second's (a vector)."""


@dataclass(frozen=True, kw_only=True)
class PatchEmbed(Layer):
    """An image cut into squares of `patch` px, each a token by one linear map with bias, in the order of reading."""

    in_channels: int
    patch: int


@dataclass(frozen=True, kw_only=True)
class Positions(Layer):
    """A learned vector added to each token; with `class_token`, a learned token has been put before the others."""

    class_token: bool = False


@dataclass(frozen=True, kw_only=True)
class Take(Layer):
    """As many tokens as the output has, from `start` on."""

    start: int


@dataclass(frozen=True, kw_only=True)
class LayerNorm(Layer):
    """Normalisation over the channels of each token: a scale and a bias per channel are parameters."""

    epsilon: float


@dataclass(frozen=True, kw_only=True)
class Scores(Layer):
    """Dot products of queries (the first input) with keys, head by head, over the root of `head_dim`."""

    head_dim: int


@dataclass(frozen=True, kw_only=True)
class Softmax(Layer):
    """Over the keys of each query, in each head."""


@dataclass(frozen=True, kw_only=True)
class Mix(Layer):
    """Values (the second input) of all tokens, weighted by attention (the first), head by head."""

    head_dim: int


@dataclass(frozen=True, kw_only=True)
class Relative(Layer):
    """What the learned tables of relative position add; heads share them (AutoFormer, arXiv:2107.00651).

    Tokens stand in a square. How a key stands to a query is one row of the table `rows`, by how many rows it is below,
    plus one of the table `columns`, each `[relative_table_size, head_dim]`; `relative_index` says which.

    Attributes:
      head_dim: channels of a head.
      side: rows, and columns, of the square.
      reach: of the tables; what stands further away counts as this far.
      class_token: whether a token that stands nowhere comes before the others.
    """

    head_dim: int
    side: int
    reach: int
    class_token: bool


@dataclass(frozen=True, kw_only=True)
class RelativeScores(Relative):
    """Scores (the first input) plus queries (the second) times relative positions, over the root of `head_dim`."""


@dataclass(frozen=True, kw_only=True)
class RelativeMix(Relative):
    """Mixed values (the first input) plus relative positions weighted by attention (the second)."""


def relative_table_size(reach: int, class_token: bool) -> int:
    """Rows of a table: each distance in either direction, none, and one where a class token is on either side."""
    return 2 * reach + 1 + class_token


def relative_index(side: int, reach: int, class_token: bool) -> tuple[tuple[int, ...], ...]:
    """For each place of a query on one axis, the table rows of the class token, if there is one, and of each place."""
    return tuple(
        ((0,) if class_token else ())
        + tuple(max(-reach, min(reach, key - query)) + reach + class_token for key in range(side))
        for query in range(side)
    )


def square_side(tokens: int) -> int:
    """The side of the square that so many tokens fill."""
    return round(tokens**0.5)


def macs(layer: Layer) -> int:
    """Multiply-accumulates for one image: convolutions, dense layers and attention's products, padding taps counted.

    The convention of the published tables: bias, normalisation, activation, pooling and elementwise are excluded.
    """
    height, width, channels = layer.shape
    match layer:
        case Conv():
            return height * width * channels * layer.kernel**2 * layer.in_channels
        case Depthwise():
            return height * width * channels * layer.kernel**2
        case Dense():
            return height * width * layer.in_channels * channels
        case PatchEmbed():
            return height * width * channels * layer.patch**2 * layer.in_channels
        case Scores():
            return height * width * channels * layer.head_dim
        case Mix():  # as many keys as queries
            return height * height * channels
        case Relative():
            heads_dim = channels * layer.head_dim if isinstance(layer, RelativeScores) else channels
            of_class = layer.class_token and isinstance(layer, RelativeScores)
            return (2 * layer.side**2 * (layer.side + layer.class_token) + of_class) * heads_dim
        case _:
            return 0


def params(layer: Layer) -> int:
    """Trained numbers of one layer (batch-norm statistics are not trained, and not counted)."""
    channels = layer.shape[-1]
    match layer:
        case Conv():
            return channels * layer.kernel**2 * layer.in_channels
        case Depthwise():
            return channels * layer.kernel**2
        case Dense():
            return (layer.in_channels + 1) * channels
        case Norm() | LayerNorm():
            return 2 * channels
        case PatchEmbed():
            return channels * (layer.patch**2 * layer.in_channels + 1)
        case Positions():
            return layer.shape[0] * channels + layer.class_token * channels
        case Relative():
            return 2 * relative_table_size(layer.reach, layer.class_token) * layer.head_dim
        case _:
            return 0


def pooled(side: int, kernel: int, stride: int) -> int:
    """Rows or columns that an `AvgPool` leaves of so many."""
    return (side + 2 * window_padding(kernel) - kernel) // stride + 1


def window_padding(kernel: int) -> int:
    """Rows or columns that an `AvgPool` adds on each side."""
    return kernel // 2 if kernel % 2 else 0


def total_macs(layers: Sequence[Layer]) -> int:
    """Multiply-accumulates of a whole network for one image."""
    return sum(map(macs, layers))


def total_params(layers: Sequence[Layer]) -> int:
    """Trained numbers of a whole network."""
    return sum(map(params, layers))


class Graph:
    """Writes a tuple of layers in execution order: each method appends one layer and returns its position."""

    def __init__(self, shape: Shape):
        self.layers: list[Layer] = [Input(shape=shape)]

    def add(self, layer: Layer) -> int:
        """Appends a layer."""
        self.layers.append(layer)
        return len(self.layers) - 1

    def shape(self, x: int) -> Shape:
        """The output shape of the layer at position `x`."""
        return self.layers[x].shape

    def conv(self, x: int, channels: int, path: str, kernel: int = 1, stride: int = 1) -> int:
        """A dense convolution; its output has `ceil(size / stride)` rows and columns."""
        height, width, in_channels = self.shape(x)
        shape = (-(-height // stride), -(-width // stride), channels)
        return self.add(
            Conv(inputs=(x,), shape=shape, path=path, in_channels=in_channels, kernel=kernel, stride=stride)
        )

    def depthwise(self, x: int, path: str, kernel: int, stride: int = 1) -> int:
        """A depthwise convolution; its output has `ceil(size / stride)` rows and columns."""
        height, width, channels = self.shape(x)
        shape = (-(-height // stride), -(-width // stride), channels)
        return self.add(Depthwise(inputs=(x,), shape=shape, path=path, kernel=kernel, stride=stride))

    def dense(self, x: int, channels: int, path: str) -> int:
        """A linear map of a vector, or of each token's."""
        height, width, in_channels = self.shape(x)
        return self.add(Dense(inputs=(x,), shape=(height, width, channels), path=path, in_channels=in_channels))

    def norm(self, x: int, path: str, epsilon: float) -> int:
        """Batch normalisation."""
        return self.add(Norm(inputs=(x,), shape=self.shape(x), path=path, epsilon=epsilon))

    def activation(self, x: int, kind: Nonlinearity) -> int:
        """An elementwise nonlinearity."""
        return self.add(Activation(inputs=(x,), shape=self.shape(x), kind=kind))

    def global_pool(self, x: int) -> int:
        """The mean over all positions."""
        return self.add(GlobalPool(inputs=(x,), shape=(1, 1, self.shape(x)[-1])))

    def avg_pool(self, x: int, kernel: int, stride: int = 1) -> int:
        """The mean over a window of positions."""
        *size, channels = self.shape(x)
        height, width = (pooled(side, kernel, stride) for side in size)
        return self.add(AvgPool(inputs=(x,), shape=(height, width, channels), kernel=kernel, stride=stride))

    def zeros(self, x: int) -> int:
        """Zeros in the shape of `x`."""
        return self.add(Zeros(inputs=(x,), shape=self.shape(x)))

    def sum(self, x: int, y: int) -> int:
        """The sum of two equal shapes."""
        return self.add(Add(inputs=(x, y), shape=self.shape(x)))

    def scale(self, x: int, gate: int) -> int:
        """`x`, each channel multiplied by `gate`'s."""
        return self.add(Scale(inputs=(x, gate), shape=self.shape(x)))

    def patch_embed(self, x: int, channels: int, path: str, patch: int) -> int:
        """Tokens of squares of `patch` px."""
        height, width, in_channels = self.shape(x)
        shape = (height // patch * (width // patch), 1, channels)
        return self.add(PatchEmbed(inputs=(x,), shape=shape, path=path, in_channels=in_channels, patch=patch))

    def positions(self, x: int, path: str, class_token: bool) -> int:
        """Learned positions added, and a class token before the others."""
        tokens, width, channels = self.shape(x)
        shape = (tokens + class_token, width, channels)
        return self.add(Positions(inputs=(x,), shape=shape, path=path, class_token=class_token))

    def take(self, x: int, start: int, tokens: int) -> int:
        """Some of the tokens."""
        return self.add(Take(inputs=(x,), shape=(tokens, *self.shape(x)[1:]), start=start))

    def layer_norm(self, x: int, path: str, epsilon: float) -> int:
        """Normalisation over the channels of each token."""
        return self.add(LayerNorm(inputs=(x,), shape=self.shape(x), path=path, epsilon=epsilon))

    def scores(self, query: int, key: int, head_dim: int) -> int:
        """Dot products of queries and keys."""
        queries, _, channels = self.shape(query)
        shape = (queries, self.shape(key)[0], channels // head_dim)
        return self.add(Scores(inputs=(query, key), shape=shape, head_dim=head_dim))

    def softmax(self, x: int) -> int:
        """Attention from scores."""
        return self.add(Softmax(inputs=(x,), shape=self.shape(x)))

    def mix(self, attention: int, value: int, head_dim: int) -> int:
        """Values weighted by attention."""
        return self.add(Mix(inputs=(attention, value), shape=self.shape(value), head_dim=head_dim))

    def relative_scores(self, scores: int, query: int, path: str, reach: int, class_token: bool) -> int:
        """Scores plus those of relative positions."""
        (tokens, _, heads), width = self.shape(scores), self.shape(query)[-1]
        layer = RelativeScores(
            inputs=(scores, query),
            shape=self.shape(scores),
            path=path,
            head_dim=width // heads,
            side=square_side(tokens - class_token),
            reach=reach,
            class_token=class_token,
        )
        return self.add(layer)

    def relative_mix(self, mixed: int, attention: int, path: str, reach: int, class_token: bool) -> int:
        """Mixed values plus relative positions."""
        (tokens, _, heads), width = self.shape(attention), self.shape(mixed)[-1]
        layer = RelativeMix(
            inputs=(mixed, attention),
            shape=self.shape(mixed),
            path=path,
            head_dim=width // heads,
            side=square_side(tokens - class_token),
            reach=reach,
            class_token=class_token,
        )
        return self.add(layer)

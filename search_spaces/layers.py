"""A layer is one concrete operation; a tuple of layers is a network's graph in execution order.

Costs, exporters, encoders and drawings all read this one tuple. Shapes are `(height, width, channels)` of one image;
a vector is `(1, 1, channels)`, tokens are `(tokens, 1, channels)` and what attention gives each pair of tokens is
`(queries, keys, heads)`. `inputs` are positions in the same tuple, always smaller than the layer's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

Shape = tuple[int, int, int]
Padding = tuple[int, int, int, int]  # rows above and below, columns left and right
Nonlinearity = Literal["relu", "relu6", "hard_swish", "hard_sigmoid", "gelu", "swish", "sigmoid", "tanh"]


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
    """A 2-D convolution of a `kernel` x `kernel` window, dense or in groups of channels.

    Attributes:
      in_channels: of its input, all groups together.
      kernel: rows of the window, and its columns where `kernel_width` is None.
      stride: between windows, in both directions.
      groups: channels come and leave in so many groups, each a convolution of its own.
      dilation: distance between neighbouring taps.
      bias: whether a number per channel is added.
      kernel_width: columns of the window, where they are not `kernel`.
      padding: zeros around the image; None for `dilation * (kernel // 2)` on each side.
    """

    in_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    dilation: int = 1
    bias: bool = False
    kernel_width: int | None = None
    padding: Padding | None = None


@dataclass(frozen=True, kw_only=True)
class Depthwise(Layer):
    """A depthwise 2-D convolution; zero padding `dilation * (kernel // 2)` on each side. Attributes as in `Conv`."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    bias: bool = False


@dataclass(frozen=True, kw_only=True)
class Dense(Layer):
    """A linear map of a vector, or of each token's, with bias or without."""

    in_channels: int
    bias: bool = True


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
    """The mean over a window of positions, counting only what lies on the image.

    Without a `padding` of its own an odd window is padded by `kernel // 2` on each side; an even one is not padded, and
    what doesn't fill a window is left out.
    """

    kernel: int
    stride: int = 1
    padding: Padding | None = None


@dataclass(frozen=True, kw_only=True)
class MaxPool(Layer):
    """The largest value in a window of positions; padded as `AvgPool`, with nothing that could be the largest."""

    kernel: int
    stride: int = 1
    padding: Padding | None = None


@dataclass(frozen=True, kw_only=True)
class Concat(Layer):
    """The channels of all inputs, in their order."""


@dataclass(frozen=True, kw_only=True)
class Channels(Layer):
    """As many channels as the output has, from `start` on."""

    start: int


@dataclass(frozen=True, kw_only=True)
class Shuffle(Layer):
    """The channels, in `groups` equal groups, dealt out in turn: the first of each group, then the second of each."""

    groups: int


@dataclass(frozen=True, kw_only=True)
class Flatten(Layer):
    """All numbers as one vector: row by row, column by column, and of each position its channels."""


@dataclass(frozen=True, kw_only=True)
class Tokens(Layer):
    """The positions of an image as tokens, in the order of reading."""


@dataclass(frozen=True, kw_only=True)
class Elementwise(Layer):
    """An elementwise operation that no other layer speaks of, as `trace` meets it; nothing exports or runs it.

    Attributes:
      operation: JAX's name of it.
    """

    operation: str


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
            return height * width * channels * taps(layer) * (layer.in_channels // layer.groups)
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
            return channels * (taps(layer) * (layer.in_channels // layer.groups) + layer.bias)
        case Depthwise():
            return channels * (layer.kernel**2 + layer.bias)
        case Dense():
            return (layer.in_channels + layer.bias) * channels
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


def taps(layer: Conv) -> int:
    """Positions of a convolution's window."""
    return layer.kernel * (layer.kernel_width or layer.kernel)


Windowed = TypeVar("Windowed", bound=Conv | AvgPool | MaxPool)


def padding_of(layer: Conv | Depthwise | AvgPool | MaxPool) -> Padding:
    """The padding of a layer, where it is its own or follows from its window."""
    if isinstance(layer, AvgPool | MaxPool):
        side = window_padding(layer.kernel)
        return (side, side, side, side) if layer.padding is None else layer.padding
    if isinstance(layer, Conv) and layer.padding is not None:
        return layer.padding
    rows = layer.dilation * (layer.kernel // 2)
    columns = layer.dilation * (layer.kernel_width // 2) if isinstance(layer, Conv) and layer.kernel_width else rows
    return rows, rows, columns, columns


def plain(layer: Windowed) -> Windowed:
    """The layer in the one way it is written: a padding, or a width of the window, that goes without saying is None."""
    if isinstance(layer, Conv) and layer.kernel_width == layer.kernel:
        layer = replace(layer, kernel_width=None)
    default = replace(layer, padding=None)
    return default if padding_of(default) == padding_of(layer) else layer


def windows(side: int, kernel: int, stride: int, before: int, after: int, dilation: int = 1) -> int:
    """How many windows of `kernel` taps fit along a side of so many positions, padded before and after."""
    return (side + before + after - dilation * (kernel - 1) - 1) // stride + 1


def ceil_padding(shape: Shape, kernel: int, stride: int) -> Padding:
    """The padding below and on the right that lets the last, partly filled windows of a pool count ("ceil mode")."""
    rows, columns = ((-(-(side - kernel) // stride)) * stride + kernel - side for side in shape[:2])
    return 0, max(rows, 0), 0, max(columns, 0)


def same_padding(shape: Shape, kernel: tuple[int, int], stride: int) -> Padding:
    """TensorFlow's "SAME": as many windows as `ceil(side / stride)`, the odd row or column below and on the right."""
    rows, columns = (
        max((-(-side // stride) - 1) * stride + size - side, 0) for side, size in zip(shape[:2], kernel, strict=True)
    )
    return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2


def pooled(side: int, kernel: int, stride: int) -> int:
    """Rows or columns that a pool without a padding of its own leaves of so many."""
    pad = window_padding(kernel)
    return windows(side, kernel, stride, pad, pad)


def window_padding(kernel: int) -> int:
    """Rows or columns that a pool without a padding of its own adds on each side."""
    return kernel // 2 if kernel % 2 else 0


def total_macs(layers: Sequence[Layer]) -> int:
    """Multiply-accumulates of a whole network for one image."""
    return sum(map(macs, layers))


def total_params(layers: Sequence[Layer]) -> int:
    """Trained numbers of a whole network."""
    return sum(map(params, layers))

"""Writes a network's layers one behind the other; shapes follow from the inputs'."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from search_spaces.layers import (
    Activation,
    Add,
    AvgPool,
    Channels,
    Concat,
    Conv,
    Dense,
    Depthwise,
    Flatten,
    GlobalPool,
    Input,
    Layer,
    LayerNorm,
    MaxPool,
    Mix,
    Nonlinearity,
    Norm,
    Padding,
    PatchEmbed,
    Positions,
    RelativeMix,
    RelativeScores,
    Scale,
    Scores,
    Shape,
    Shuffle,
    Softmax,
    Take,
    Tokens,
    Zeros,
    padding_of,
    plain,
    square_side,
    windows,
)


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

    def _windowed(self, x: int, kernel: tuple[int, int], stride: int, padding: Padding, dilation: int = 1) -> list[int]:
        """The rows and columns that windows leave."""
        height, width, _ = self.shape(x)
        above, below, left, right = padding
        return [
            windows(height, kernel[0], stride, above, below, dilation),
            windows(width, kernel[1], stride, left, right, dilation),
        ]

    def conv(self, x: int, channels: int, path: str, kernel: int = 1, stride: int = 1, **more: Any) -> int:
        """A convolution; `more` are further attributes of `Conv`."""
        layer = Conv(
            inputs=(x,),
            shape=(0, 0, channels),
            path=path,
            in_channels=self.shape(x)[-1],
            kernel=kernel,
            stride=stride,
            **more,
        )
        size = (kernel, layer.kernel_width or kernel)
        height, width = self._windowed(x, size, stride, padding_of(layer), layer.dilation)
        return self.add(replace(plain(layer), shape=(height, width, channels)))

    def depthwise(self, x: int, path: str, kernel: int, stride: int = 1, dilation: int = 1, bias: bool = False) -> int:
        """A depthwise convolution."""
        channels = self.shape(x)[-1]
        layer = Depthwise(
            inputs=(x,),
            shape=(0, 0, channels),
            path=path,
            kernel=kernel,
            stride=stride,
            dilation=dilation,
            bias=bias,
        )
        height, width = self._windowed(x, (kernel, kernel), stride, padding_of(layer), dilation)
        return self.add(replace(layer, shape=(height, width, channels)))

    def dense(self, x: int, channels: int, path: str, bias: bool = True) -> int:
        """A linear map of a vector, or of each token's."""
        height, width, in_channels = self.shape(x)
        shape = (height, width, channels)
        return self.add(Dense(inputs=(x,), shape=shape, path=path, in_channels=in_channels, bias=bias))

    def norm(self, x: int, path: str, epsilon: float) -> int:
        """Batch normalisation."""
        return self.add(Norm(inputs=(x,), shape=self.shape(x), path=path, epsilon=epsilon))

    def activation(self, x: int, kind: Nonlinearity) -> int:
        """An elementwise nonlinearity."""
        return self.add(Activation(inputs=(x,), shape=self.shape(x), kind=kind))

    def global_pool(self, x: int) -> int:
        """The mean over all positions."""
        return self.add(GlobalPool(inputs=(x,), shape=(1, 1, self.shape(x)[-1])))

    def avg_pool(self, x: int, kernel: int, stride: int = 1, padding: Padding | None = None) -> int:
        """The mean over a window of positions."""
        return self._pool(AvgPool(inputs=(x,), shape=self.shape(x), kernel=kernel, stride=stride, padding=padding))

    def max_pool(self, x: int, kernel: int, stride: int = 1, padding: Padding | None = None) -> int:
        """The largest value in a window of positions."""
        return self._pool(MaxPool(inputs=(x,), shape=self.shape(x), kernel=kernel, stride=stride, padding=padding))

    def _pool(self, layer: AvgPool | MaxPool) -> int:
        size = (layer.kernel, layer.kernel)
        height, width = self._windowed(layer.inputs[0], size, layer.stride, padding_of(layer))
        return self.add(replace(plain(layer), shape=(height, width, layer.shape[-1])))

    def concat(self, xs: Sequence[int]) -> int:
        """The channels of all of `xs`."""
        height, width, _ = self.shape(xs[0])
        return self.add(Concat(inputs=tuple(xs), shape=(height, width, sum(self.shape(x)[-1] for x in xs))))

    def channels(self, x: int, start: int, channels: int) -> int:
        """Some of the channels."""
        height, width, _ = self.shape(x)
        return self.add(Channels(inputs=(x,), shape=(height, width, channels), start=start))

    def shuffle(self, x: int, groups: int) -> int:
        """The channels, dealt out group by group."""
        return self.add(Shuffle(inputs=(x,), shape=self.shape(x), groups=groups))

    def flatten(self, x: int) -> int:
        """All numbers as one vector."""
        return self.add(Flatten(inputs=(x,), shape=(1, 1, math.prod(self.shape(x)))))

    def tokens(self, x: int) -> int:
        """The positions of an image as tokens."""
        height, width, channels = self.shape(x)
        return self.add(Tokens(inputs=(x,), shape=(height * width, 1, channels)))

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

"""A layer is one concrete operation; a tuple of layers is a network's graph in execution order.

Costs, exporters, encoders and drawings all read this one tuple. Shapes are `(height, width, channels)` of one image;
a vector is `(1, 1, channels)`. `inputs` are positions in the same tuple, always smaller than the layer's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, int, int]
Nonlinearity = Literal["relu", "hard_swish", "hard_sigmoid"]


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
    """A linear map of a vector, with bias."""

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
class Add(Layer):
    """The sum of two inputs of one shape."""


@dataclass(frozen=True, kw_only=True)
class Scale(Layer):
    """The first input, each channel multiplied by the second's (a vector)."""


def macs(layer: Layer) -> int:
    """Multiply-accumulates for one image: convolutions and dense layers only, padding taps counted.

    The convention of the published tables: bias, normalisation, activation, pooling and elementwise are excluded.
    """
    height, width, channels = layer.shape
    match layer:
        case Conv():
            return height * width * channels * layer.kernel**2 * layer.in_channels
        case Depthwise():
            return height * width * channels * layer.kernel**2
        case Dense():
            return layer.in_channels * channels
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
        case Norm():
            return 2 * channels
        case _:
            return 0


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
        """A linear map of a vector."""
        return self.add(Dense(inputs=(x,), shape=(1, 1, channels), path=path, in_channels=self.shape(x)[-1]))

    def norm(self, x: int, path: str, epsilon: float) -> int:
        """Batch normalisation."""
        return self.add(Norm(inputs=(x,), shape=self.shape(x), path=path, epsilon=epsilon))

    def activation(self, x: int, kind: Nonlinearity) -> int:
        """An elementwise nonlinearity."""
        return self.add(Activation(inputs=(x,), shape=self.shape(x), kind=kind))

    def global_pool(self, x: int) -> int:
        """The mean over all positions."""
        return self.add(GlobalPool(inputs=(x,), shape=(1, 1, self.shape(x)[-1])))

    def sum(self, x: int, y: int) -> int:
        """The sum of two equal shapes."""
        return self.add(Add(inputs=(x, y), shape=self.shape(x)))

    def scale(self, x: int, gate: int) -> int:
        """`x`, each channel multiplied by `gate`'s."""
        return self.add(Scale(inputs=(x, gate), shape=self.shape(x)))

"""The two ends of a convolutional network: the stem that meets the image, and the head that answers in logits."""

from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from search_spaces.axes import EVERYTHING
from search_spaces.elastic import EPSILON, NONLINEARITIES, Conv, Dense, Norm
from search_spaces.initialise import Draw
from search_spaces.layers import Graph, Nonlinearity
from search_spaces.reading import Reading


class Stem(nnx.Module):
    """A 3x3 convolution, normalised and, where it has an activation, activated. No choices."""

    def __init__(self, conv: Conv, norm: Norm, activation: Nonlinearity | None):
        self.conv, self.norm = conv, norm
        self.activation: Nonlinearity | None = activation

    @classmethod
    def init(
        cls, draw: Draw, ins: int, outs: int, stride: int, activation: Nonlinearity | None, epsilon: float = EPSILON
    ) -> "Stem":
        """From `ins` channels of the image to `outs`."""
        return cls(Conv.init(draw, ins, outs, kernel=3, stride=stride), Norm.init(outs, epsilon), activation)

    def cut(self, read: Reading) -> "Stem":
        """Itself."""
        return self

    def cut_stats(self, read: Reading, stats: dict[str, Any]) -> dict[str, Any]:
        """All of them."""
        return stats

    def __call__(
        self, read: Reading, stats: dict[str, Any] | None, images: Float[Array, "..."]
    ) -> tuple[Array, dict[str, Any]]:
        """The first activations."""
        x, used = self.norm(self.conv(images), (stats or {}).get("norm"))
        return NONLINEARITIES[self.activation](x) if self.activation else x, {"norm": used}


def stem_layers(
    graph: Graph, outs: int, stride: int, activation: Nonlinearity | None, path: str, epsilon: float = EPSILON
) -> int:
    """Writes the stem behind the image."""
    x = graph.conv(0, outs, f"{path}.conv", kernel=3, stride=stride)
    x = graph.norm(x, f"{path}.norm", epsilon)
    return graph.activation(x, activation) if activation else x


class Head(nnx.Module):
    """A 1x1 convolution, normalised and activated, the mean over positions, and a classifier. Its choice: `ins`."""

    def __init__(self, ins: tuple[int, ...], conv: Conv, norm: Norm, classifier: Dense, activation: Nonlinearity):
        self.ins = ins
        self.activation: Nonlinearity = activation
        self.conv, self.norm, self.classifier = conv, norm, classifier

    @classmethod
    def init(cls, draw: Draw, ins: tuple[int, ...], width: int, classes: int, activation: Nonlinearity) -> "Head":
        """Between the options for the channels before it and the classes."""
        return cls(
            ins, Conv.init(draw, max(ins), width), Norm.init(width), Dense.init(draw, width, classes), activation
        )

    def cut(self, read: Reading) -> "Head":
        """The head behind fewer channels."""
        conv = self.conv.cut(read.axis(np.array(self.ins), "ins"), EVERYTHING)
        return Head(self.ins, conv, self.norm, self.classifier, self.activation)

    def cut_stats(self, read: Reading, stats: dict[str, Any]) -> dict[str, Any]:
        """All of them."""
        return stats

    def __call__(
        self, read: Reading, stats: dict[str, Any] | None, x: Float[Array, "..."]
    ) -> tuple[Float[Array, "batch classes"], dict[str, Any]]:
        """Logits."""
        x, used = self.norm(self.cut(read).conv(x), (stats or {}).get("norm"))
        return self.classifier(NONLINEARITIES[self.activation](x).mean((1, 2))), {"norm": used}


def head_layers(graph: Graph, x: int, width: int, classes: int, activation: Nonlinearity, path: str) -> int:
    """Writes the head behind position `x`."""
    x = graph.norm(graph.conv(x, width, f"{path}.conv"), f"{path}.norm", EPSILON)
    return graph.dense(graph.global_pool(graph.activation(x, activation)), classes, f"{path}.classifier")

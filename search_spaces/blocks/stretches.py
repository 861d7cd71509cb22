"""Stretches that many recipes share: convolution with norm, squeeze-excite, the ends of a network."""

from dataclasses import dataclass
from typing import Any, Literal

from search_spaces.elastic import EPSILON
from search_spaces.layers import Nonlinearity
from search_spaces.recipe import Builder, Kernel, Tensor
from search_spaces.widths import Channels, Width


def conv_norm(
    b: Builder,
    x: Tensor,
    name: str,
    channels: int | Channels,
    kernel: Kernel = 1,
    stride: int = 1,
    *,
    activation: Nonlinearity | None = None,
    norm: str | None = None,
    epsilon: float = EPSILON,
    **more: Any,
) -> Tensor:
    """A convolution, its norm (called `<name>_norm` unless told) and an activation; `more` goes to `Builder.conv`."""
    h = b.conv(x, name, channels, kernel, stride, **more)
    return b.act(b.norm(h, norm or f"{name}_norm", epsilon), activation)


def depthwise_norm(
    b: Builder,
    x: Tensor,
    name: str,
    kernel: Kernel = 3,
    stride: int = 1,
    *,
    activation: Nonlinearity | None = None,
    epsilon: float = EPSILON,
    **more: Any,
) -> Tensor:
    """A depthwise convolution, its norm `<name>_norm` and an activation; `more` goes to `Builder.depthwise`."""
    h = b.depthwise(x, name, kernel, stride, **more)
    return b.act(b.norm(h, f"{name}_norm", epsilon), activation)


def squeeze_excite(
    b: Builder,
    x: Tensor,
    name: str,
    squeezed: int | Channels,
    *,
    activation: Nonlinearity = "relu",
    gate: Literal["hard_sigmoid", "sigmoid"] = "hard_sigmoid",
) -> Tensor:
    """Gates channels by a two-layer network of their means (arXiv:1709.01507); hard-sigmoid as in MobileNetV3."""
    h = b.act(b.dense(b.global_pool(x), f"{name}.reduce", squeezed), activation)
    return b.scale(x, b.act(b.dense(h, f"{name}.expand", x.width), gate))


@dataclass(frozen=True, kw_only=True)
class Stem:
    """A convolution that meets the image, normalised and, where it has an activation, activated."""

    outs: int | Width
    stride: int
    activation: Nonlinearity | None
    kernel: int = 3
    conv_bias: bool = False
    epsilon: float = EPSILON

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The first activations."""
        more = {"activation": self.activation, "epsilon": self.epsilon, "norm": "norm", "bias": self.conv_bias}
        return conv_norm(b, x, "conv", self.outs, self.kernel, self.stride, **more)


@dataclass(frozen=True, kw_only=True)
class Head:
    """A 1x1 convolution, normalised and activated, the mean over positions, and a classifier.

    Attributes:
      width: of the convolution.
      classes: how many.
      activation: behind the convolution and, where there is one, the mixing layer.
      mix: channels of a layer between the means and the classifier; None for none.
      mix_bias: whether that layer has a bias.
      bias: whether the classifier has one.
      conv_bias: whether the convolution has one, beside its norm.
      epsilon: of batch norm.
    """

    width: int | Width
    classes: int
    activation: Nonlinearity
    mix: int | Width | None = None
    mix_bias: bool = True
    bias: bool = True
    conv_bias: bool = False
    epsilon: float = EPSILON

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """Logits."""
        more = {"activation": self.activation, "epsilon": self.epsilon, "norm": "norm", "bias": self.conv_bias}
        x = conv_norm(b, x, "conv", self.width, **more)
        x = b.global_pool(x)
        if self.mix is not None:
            x = b.act(b.dense(x, "mix", self.mix, self.mix_bias), self.activation)
        return b.dense(x, "classifier", self.classes, self.bias)


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """The mean over positions and a classifier.

    Attributes:
      classes: how many.
      bias: whether the classifier has one.
    """

    classes: int
    bias: bool = True

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """Logits."""
        return b.dense(b.global_pool(x), "classifier", self.classes, self.bias)

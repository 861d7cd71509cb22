"""The inverted bottleneck: expand, convolve depthwise, gate, project; each of them elastic or fixed.

MobileNetV2 (arXiv:1801.04381), with squeeze-excite as in MobileNetV3 (arXiv:1905.02244).
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from search_spaces.blocks.stretches import conv_norm, depthwise_norm, squeeze_excite
from search_spaces.elastic import EPSILON, make_divisible
from search_spaces.layers import Nonlinearity
from search_spaces.recipe import Builder, Tensor
from search_spaces.widths import Channels, Width


@dataclass(frozen=True, kw_only=True)
class SqueezeExcite:
    """How a bottleneck gates its channels.

    Attributes:
      ratio: of the squeezed channels to those of `of`.
      of: the `hidden` channels, as in MobileNetV3, or the block's `input`, as in MnasNet and EfficientNet.
      divisor: the squeezed channels are made divisible by it.
      activation: between its two layers.
      gate: behind them.
    """

    ratio: float = 0.25
    of: Literal["hidden", "input"] = "hidden"
    divisor: int = 8
    activation: Nonlinearity = "relu"
    gate: Literal["hard_sigmoid", "sigmoid"] = "hard_sigmoid"

    def squeezed(self, channels: int) -> int:
        """The squeezed channels of so many."""
        if self.divisor == 1:
            return max(1, int(channels * self.ratio))
        return make_divisible(channels * self.ratio, self.divisor)


MOBILENET_V3_GATE = SqueezeExcite()


@dataclass(frozen=True, kw_only=True)
class InvertedBottleneck:
    """The block. Its own choices: `kernel`, `expansion`, `squeeze_excite`, where they have several options.

    Attributes:
      outs: channels after the block.
      kernels: options for the depthwise kernel.
      expansions: options for the ratio of hidden to input channels.
      hidden: the hidden channels, where they are given and not a ratio.
      stride: of the depthwise convolution.
      residual: whether the input is added to the output; None for where stride and widths allow it.
      squeeze_excite: options for whether the block gates its channels: (False,), (True,) or (False, True).
      gate: how it does.
      activation: behind expansion and depthwise convolution.
      transformed: smaller kernels pass through matrices (see `Depthwise`).
      expands: False where there is no expanding convolution at all (an expansion of 1 in most published networks).
      groups: of the two pointwise convolutions; channels are shuffled between them (FBNet, arXiv:1812.03443).
      bias: whether convolutions have one, beside their norms (as mobile-vision's FBNets do).
      epsilon: of batch norm.
    """

    outs: int | Width
    kernels: tuple[int, ...] = (3,)
    expansions: tuple[int | float, ...] = (6,)
    hidden: int | None = None
    stride: int = 1
    residual: bool | None = None
    squeeze_excite: tuple[bool, ...] = (False,)
    gate: SqueezeExcite = MOBILENET_V3_GATE
    activation: Nonlinearity = "relu"
    transformed: bool = False
    expands: bool = True
    groups: int = 1
    bias: bool = False
    epsilon: float = EPSILON

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The block's output."""
        norm = {"epsilon": self.epsilon, "bias": self.bias}
        h = x
        if self.expands:
            width = self._hidden(x.width)
            h = conv_norm(b, h, "expand", width, activation=self.activation, groups=self.groups, **norm)
        if self.groups > 1:
            h = b.shuffle(h, self.groups)
        h = depthwise_norm(
            b,
            h,
            "depthwise",
            self.kernels,
            self.stride,
            activation=self.activation,
            transformed=self.transformed,
            **norm,
        )
        if self.squeeze_excite == (False, True):
            h = b.optional(h, "squeeze_excite", 1, partial(self._gated, x.width))
        elif any(self.squeeze_excite):
            h = self._gated(x.width, b, h)
        h = conv_norm(b, h, "project", self.outs, groups=self.groups, **norm)
        residual = self.residual
        if residual is None:
            residual = self.stride == 1 and h.width == x.width
        return b.add(x, h) if residual else h

    def _hidden(self, ins: Channels) -> Channels:
        if self.hidden is not None:
            return Width(self.hidden)
        return ins.times(self.expansions, "expansion", lambda n, e: make_divisible(n * e))

    def _gated(self, ins: Channels, b: Builder, h: Tensor) -> Tensor:
        squeezed = (h.width if self.gate.of == "hidden" else ins).mapped(self.gate.squeezed)
        gate = self.gate
        return squeeze_excite(b, h, "squeeze_excite", squeezed, activation=gate.activation, gate=gate.gate)

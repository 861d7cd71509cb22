"""Residual blocks of dense convolutions: basic, bottleneck, and what stands before and behind them.

Deep Residual Learning for Image Recognition (arXiv:1512.03385); shortcuts that pool before they convolve are
ResNet-D's (Bag of Tricks, arXiv:1812.01187); groups and gates make RegNet's blocks (arXiv:2003.13678).
"""

from dataclasses import dataclass
from typing import Literal

from search_spaces.blocks.stretches import conv_norm, squeeze_excite
from search_spaces.elastic import make_divisible
from search_spaces.recipe import Builder, Tensor
from search_spaces.widths import Channels, Width, as_width

TORCH_EPSILON = 1e-5  # of batch norm, as PyTorch has it

Shortcut = Literal["identity", "conv", "pool"]
"""The input as it is; a 1x1 convolution with the block's stride; or the mean over windows, then a 1x1 convolution."""


def shortcut(
    b: Builder, x: Tensor, kind: Shortcut, outs: int | Channels, stride: int, epsilon: float = TORCH_EPSILON
) -> Tensor:
    """What is added to a residual block's output; its layers are called `shortcut` and `shortcut_norm`."""
    if kind == "identity":
        return x
    if kind == "pool" and stride > 1:
        x, stride = b.avg_pool(x, stride, stride, "ceil"), 1
    return conv_norm(b, x, "shortcut", outs, 1, stride, epsilon=epsilon)


@dataclass(frozen=True, kw_only=True)
class BasicBlock:
    """Two convolutions of 3x3; the second's sum with the shortcut is activated.

    Attributes:
      outs: channels after the block.
      stride: of the first convolution.
      shortcut: what the sum adds.
      epsilon: of batch norm.
    """

    outs: int
    stride: int = 1
    shortcut: Shortcut = "identity"
    epsilon: float = TORCH_EPSILON

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The block's output."""
        h = conv_norm(b, x, "conv1", self.outs, 3, self.stride, activation="relu", epsilon=self.epsilon)
        h = conv_norm(b, h, "conv2", self.outs, 3, epsilon=self.epsilon)
        return b.act(b.add(shortcut(b, x, self.shortcut, self.outs, self.stride, self.epsilon), h), "relu")


@dataclass(frozen=True, kw_only=True)
class Bottleneck:
    """1x1 to the hidden channels, 3x3, 1x1 to the output. Its own choice: `expansion`, where it has several options.

    The stride is that of the 3x3 convolution (ResNet "v1.5"; Differs: the paper has it in the first one).

    Attributes:
      outs: channels after the block.
      expansions: options for the ratio of hidden channels to `outs`.
      stride: of the 3x3 convolution.
      shortcut: what the sum adds.
      group_width: channels of each group of the 3x3 convolution, which divides the hidden ones; None for one group.
      squeezed: the ratio of a gate's squeezed channels to the block's input; None where nothing is gated.
      epsilon: of batch norm.
    """

    outs: int | Width
    expansions: tuple[float, ...] = (0.25,)
    stride: int = 1
    shortcut: Shortcut = "identity"
    group_width: int | None = None
    squeezed: float | None = None
    epsilon: float = TORCH_EPSILON

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The block's output."""
        hidden = as_width(self.outs).times(self.expansions, "expansion", lambda n, e: make_divisible(round(n * e)))
        groups = hidden.largest // self.group_width if self.group_width else 1
        h = conv_norm(b, x, "reduce", hidden, activation="relu", epsilon=self.epsilon)
        h = conv_norm(b, h, "conv", hidden, 3, self.stride, groups=groups, activation="relu", epsilon=self.epsilon)
        if self.squeezed is not None:
            ratio = self.squeezed
            h = squeeze_excite(b, h, "gate", x.width.mapped(lambda n: round(n * ratio)), gate="sigmoid")
        h = conv_norm(b, h, "expand", self.outs, epsilon=self.epsilon)
        return b.act(b.add(shortcut(b, x, self.shortcut, self.outs, self.stride, self.epsilon), h), "relu")


@dataclass(frozen=True, kw_only=True)
class ResidualConv:
    """A 3x3 convolution whose activated output is added to its input, which has as many channels.

    Attributes:
      outs: the channels.
      epsilon: of batch norm.
    """

    outs: int | Width
    epsilon: float = TORCH_EPSILON

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The sum."""
        return b.add(x, conv_norm(b, x, "conv", self.outs, 3, activation="relu", norm="norm", epsilon=self.epsilon))


@dataclass(frozen=True, kw_only=True)
class PooledStem:
    """A convolution, its norm, a ReLU, and the largest value in windows of 3x3 at stride 2.

    Attributes:
      outs: its channels.
      kernel: of the convolution.
      stride: of the convolution.
      padding: of the pool: None for one position on each side; `ceil` for none but what fills the last windows.
      epsilon: of batch norm.
    """

    outs: int | Width
    kernel: int = 7
    stride: int = 2
    padding: Literal["ceil"] | None = None
    epsilon: float = TORCH_EPSILON

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """Activations at half the convolution's resolution."""
        more = {"activation": "relu", "norm": "norm", "epsilon": self.epsilon}
        return b.max_pool(conv_norm(b, x, "conv", self.outs, self.kernel, self.stride, **more), 3, 2, self.padding)

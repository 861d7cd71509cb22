"""The depthwise separable convolution: a spatial one for each channel, then a pointwise one, both activated.

MobileNetV1 (arXiv:1704.04861); DS-CNN (arXiv:1711.07128) is made of it too.
"""

from dataclasses import dataclass

from search_spaces.blocks.stretches import conv_norm, depthwise_norm
from search_spaces.elastic import EPSILON
from search_spaces.layers import Nonlinearity
from search_spaces.recipe import Builder, Tensor
from search_spaces.widths import Width


@dataclass(frozen=True, kw_only=True)
class Separable:
    """The block. Its own choice: `kernel`, where it has several options.

    Attributes:
      outs: channels after the block.
      kernels: options for the depthwise kernel.
      stride: of the depthwise convolution.
      activation: behind both convolutions.
      bias: whether convolutions have one, beside their norms.
      epsilon: of batch norm.
    """

    outs: int | Width
    kernels: tuple[int, ...] = (3,)
    stride: int = 1
    activation: Nonlinearity = "relu"
    bias: bool = False
    epsilon: float = EPSILON

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The block's output."""
        more = {"activation": self.activation, "bias": self.bias, "epsilon": self.epsilon}
        return conv_norm(
            b, depthwise_norm(b, x, "depthwise", self.kernels, self.stride, **more), "pointwise", self.outs, **more
        )

"""VGG-16: stacks of 3x3 convolutions and three large linear layers (arXiv:1409.1556).

Without dropout, which does nothing once a network is trained.
"""

from collections.abc import Callable
from dataclasses import dataclass

from search_spaces.assembly import Fixed, Place
from search_spaces.networks.point import Point
from search_spaces.recipe import Builder, Tensor

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions
HIDDEN = 4096


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Convolutions of 3x3 with biases and ReLUs, then the largest value in windows of 2x2.

    Attributes:
      outs: channels of each.
      convs: how many.
    """

    outs: int
    convs: int

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """Activations at half the resolution."""
        for i in range(1, self.convs + 1):
            x = b.act(b.conv(x, f"conv{i}", self.outs, 3, bias=True), "relu")
        return b.max_pool(x, 2, 2)


@dataclass(frozen=True, kw_only=True)
class DenseHead:
    """Linear layers of all numbers of the image, with ReLUs between them.

    Attributes:
      positions: of the image that it gets.
      hidden: channels of each linear layer but the last.
      classes: how many.
    """

    positions: int
    hidden: tuple[int, ...]
    classes: int

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """Logits."""
        x = b.flatten(x, self.positions)
        for i, width in enumerate(self.hidden, 1):
            x = b.act(b.dense(x, f"dense{i}", width), "relu")
        return b.dense(x, "classifier", self.classes)


def vgg_16(image_size: int = 224, classes: int = 1000) -> Point:
    """VGG-16 (configuration D) without batch norm.

    Raises:
      ValueError: when nothing is left of the image, halved five times.
    """
    smallest = 2 ** len(STAGES)
    if image_size < smallest:
        raise ValueError(f"`image_size` of VGG-16 must be at least {smallest}, got {image_size}")
    positions = (image_size // smallest) ** 2
    places = (
        *(Place(recipe=Stack(outs=outs, convs=convs)) for outs, convs in STAGES),
        Place(recipe=DenseHead(positions=positions, hidden=(HIDDEN, HIDDEN), classes=classes)),
    )
    return Point(
        space=Fixed(places=places, image=(image_size, image_size, 3)),
        source="arXiv:1409.1556, configuration D; torchvision vgg16",
        row="VGG-16",
    )


NETWORKS: dict[str, Callable[[], Point]] = {"vgg_16": vgg_16}

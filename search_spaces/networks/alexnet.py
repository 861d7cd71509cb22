"""AlexNet: the widths that Krizhevsky and others published, joined into one group, and in two as it was trained.

ImageNet Classification with Deep Convolutional Neural Networks (NIPS 2012). Differs: without local response
normalisation, which has no parameters, no multiply-accumulates by the convention of the tables, and which VGG's authors
found to gain nothing (arXiv:1409.1556, section 4.1); and without dropout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from search_spaces.assembly import Fixed, Place
from search_spaces.layers import ceil_padding, windows
from search_spaces.networks.point import Point
from search_spaces.networks.vgg import DenseHead
from search_spaces.recipe import Builder, Tensor

HIDDEN = 4096
WIDTHS = (96, 256, 384, 384, 256)
SMALLEST = 39  # px: 8, 4, 2 and 1 positions behind the first convolution and the pools


@dataclass(frozen=True, kw_only=True)
class Convolutions:
    """Five convolutions with biases and ReLUs; the largest values in windows of 3x3 behind the 1st, 2nd and 5th.

    Attributes:
      groups: of the 2nd, 4th and 5th convolution.
    """

    groups: int

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """Activations at about a 32nd of the resolution."""
        first, second, third, fourth, fifth = WIDTHS
        x = b.act(b.conv(x, "conv1", first, 11, 4, bias=True, padding=(0, 0, 0, 0)), "relu")
        x = b.max_pool(x, 3, 2, "ceil")
        x = b.act(b.conv(x, "conv2", second, 5, bias=True, groups=self.groups), "relu")
        x = b.max_pool(x, 3, 2, "ceil")
        x = b.act(b.conv(x, "conv3", third, 3, bias=True), "relu")
        x = b.act(b.conv(x, "conv4", fourth, 3, bias=True, groups=self.groups), "relu")
        x = b.act(b.conv(x, "conv5", fifth, 3, bias=True, groups=self.groups), "relu")
        return b.max_pool(x, 3, 2, "ceil")


def alexnet(groups: int = 1, image_size: int = 224, classes: int = 1000) -> Point:
    """AlexNet.

    Raises:
      ValueError: when nothing is left of the image behind the last pool.
    """
    if image_size < SMALLEST:
        raise ValueError(f"`image_size` of AlexNet must be at least {SMALLEST}, got {image_size}")
    side = windows(image_size, 11, 4, 0, 0)
    for _ in range(3):
        side = windows(side, 3, 2, *ceil_padding((side, side, 1), 3, 2)[:2])
    places = (
        Place(recipe=Convolutions(groups=groups)),
        Place(recipe=DenseHead(positions=side * side, hidden=(HIDDEN, HIDDEN), classes=classes)),
    )
    groups_said = "as imgclsmob has it, in one group" if groups == 1 else "as published"
    return Point(
        space=Fixed(places=places, image=(image_size, image_size, 3)),
        source=f"NIPS 2012; {groups_said}; without local response normalisation",
        row="AlexNet (original 2-group, imgclsmob)" if groups == 1 else None,
    )


NETWORKS: dict[str, Callable[[], Point]] = {
    # The row's counts are those of one group: of the two that its name speaks of only the widths are left.
    "alexnet": partial(alexnet, 1),
    "alexnet_2_groups": partial(alexnet, 2, image_size=227),
}

"""EfficientNet-B0 to B3 (arXiv:1905.11946) and EfficientNet-Lite0 to 4: one network, made wider and deeper."""

import math
from collections.abc import Callable
from functools import partial

from search_spaces.assembly import Fixed, Place
from search_spaces.blocks.inverted_bottleneck import InvertedBottleneck, SqueezeExcite
from search_spaces.blocks.stretches import Head, Stem
from search_spaces.elastic import make_divisible
from search_spaces.layers import Nonlinearity
from search_spaces.networks.point import Point

GATE = SqueezeExcite(of="input", divisor=1, activation="swish", gate="sigmoid")
# kernel, expansion, width, blocks, stride
STAGES = (
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (5, 6, 40, 2, 2),
    (3, 6, 80, 3, 2),
    (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)


def efficientnet(
    width_mult: float,
    depth_mult: float,
    image_size: int,
    *,
    lite: bool = False,
    image_channels: int = 3,
    classes: int = 1000,
    row: str | None = None,
) -> Point:
    """The network.

    Args:
      width_mult: multiplies all channels, which are then made divisible by 8.
      depth_mult: multiplies the blocks of each stage, rounded up.
      image_size: height and width of the images, px.
      lite: no gates and relu6 for swish; stem, head, and the first and last stage's blocks stay as they are.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      row: its name in the table of reference counts.

    Returns:
      A point of a space without choices.
    """
    activation: Nonlinearity = "relu6" if lite else "swish"
    ends = 1.0 if lite else width_mult
    more = {"activation": activation, "epsilon": 1e-3}
    places = [Place(recipe=Stem(outs=make_divisible(32 * ends), stride=2, **more))]
    for kernel, expansion, width, blocks, stride in STAGES:
        depth = blocks if lite and width in (STAGES[0][2], STAGES[-1][2]) else math.ceil(blocks * depth_mult)
        for j in range(depth):
            recipe = InvertedBottleneck(
                outs=make_divisible(width * width_mult),
                kernels=(kernel,),
                expansions=(expansion,),
                stride=stride if j == 0 else 1,
                squeeze_excite=(not lite,),
                gate=GATE,
                expands=expansion > 1,
                **more,
            )
            places.append(Place(recipe=recipe))
    places.append(Place(recipe=Head(width=make_divisible(1280 * ends), classes=classes, **more)))
    return Point(
        space=Fixed(places=tuple(places), image=(image_size, image_size, image_channels)),
        source="EfficientNet-Lite (tensorflow/tpu models/official/efficientnet/lite)"
        if lite
        else "EfficientNet (arXiv:1905.11946); padding on both sides as in torchvision",
        row=row,
    )


NETWORKS: dict[str, Callable[[], Point]] = {
    "efficientnet_b0": partial(efficientnet, 1.0, 1.0, 224, row="EfficientNet-B0"),
    "efficientnet_b1": partial(efficientnet, 1.0, 1.1, 240, row="EfficientNet-B1"),
    "efficientnet_b2": partial(efficientnet, 1.1, 1.2, 256, row="EfficientNet-B2"),
    "efficientnet_b3": partial(efficientnet, 1.2, 1.4, 288, row="EfficientNet-B3"),
    "efficientnet_lite0": partial(efficientnet, 1.0, 1.0, 224, lite=True),
    "efficientnet_lite1": partial(efficientnet, 1.0, 1.1, 240, lite=True, row="EfficientNet-Lite1"),
    "efficientnet_lite2": partial(efficientnet, 1.1, 1.2, 260, lite=True),
    "efficientnet_lite3": partial(efficientnet, 1.2, 1.4, 280, lite=True, row="EfficientNet-Lite3"),
    "efficientnet_lite4": partial(efficientnet, 1.4, 1.8, 300, lite=True),
}

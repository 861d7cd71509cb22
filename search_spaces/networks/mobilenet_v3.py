"""MobileNetV3 (arXiv:1905.02244), large and small, as torchvision, timm and osmr/imgclsmob build it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from search_spaces.assembly import Fixed, Place
from search_spaces.blocks.inverted_bottleneck import InvertedBottleneck
from search_spaces.blocks.stretches import Head, Stem
from search_spaces.elastic import make_divisible
from search_spaces.layers import Nonlinearity
from search_spaces.networks.point import Point

EPSILON = 1e-3


@dataclass(frozen=True)
class Row:
    """A block as the paper's tables 1 and 2 write it."""

    kernel: int
    hidden: int
    outs: int
    gated: bool
    activation: Nonlinearity
    stride: int = 1


@dataclass(frozen=True, kw_only=True)
class Size:
    """What large and small differ in: blocks, the channels of the last convolution, those of the layer behind it."""

    rows: tuple[Row, ...]
    head: int
    mix: int = 1280


RE: Nonlinearity = "relu"
HS: Nonlinearity = "hard_swish"
SIZES = {
    "large": Size(
        rows=(
            Row(3, 16, 16, False, RE),
            Row(3, 64, 24, False, RE, 2),
            Row(3, 72, 24, False, RE),
            Row(5, 72, 40, True, RE, 2),
            Row(5, 120, 40, True, RE),
            Row(5, 120, 40, True, RE),
            Row(3, 240, 80, False, HS, 2),
            Row(3, 200, 80, False, HS),
            Row(3, 184, 80, False, HS),
            Row(3, 184, 80, False, HS),
            Row(3, 480, 112, True, HS),
            Row(3, 672, 112, True, HS),
            Row(5, 672, 160, True, HS, 2),
            Row(5, 960, 160, True, HS),
            Row(5, 960, 160, True, HS),
        ),
        head=960,
    ),
    "small": Size(
        rows=(
            Row(3, 16, 16, True, RE, 2),
            Row(3, 72, 24, False, RE, 2),
            Row(3, 88, 24, False, RE),
            Row(5, 96, 40, True, HS, 2),
            Row(5, 240, 40, True, HS),
            Row(5, 240, 40, True, HS),
            Row(5, 120, 48, True, HS),
            Row(5, 144, 48, True, HS),
            Row(5, 288, 96, True, HS, 2),
            Row(5, 576, 96, True, HS),
            Row(5, 576, 96, True, HS),
        ),
        head=576,
        mix=1024,
    ),
}


def mobilenet_v3(
    size: Literal["large", "small"],
    *,
    width_mult: float = 1.0,
    rounded: Literal["hidden", "ratio"] = "hidden",
    mix: int | None = None,
    mix_bias: bool = True,
    minimalistic: bool = False,
    image_size: int = 224,
    image_channels: int = 3,
    classes: int = 1000,
    row: str | None = None,
) -> Point:
    """The network.

    Args:
      size: which of the two.
      width_mult: multiplies all channels but those of the mixing layer; they are then made divisible by 8.
      rounded: what gives a narrower block's hidden channels: its `hidden` ones times the multiplier, as in torchvision,
        or the `ratio` of hidden to input channels, of the channels that it has, as in timm.
      mix: channels of the layer between pooling and classifier; None for the paper's.
      mix_bias: whether that layer has a bias.
      minimalistic: without gates, hard-swish and kernels of 5.
      image_size: height and width of the images, px.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      row: its name in the table of reference counts.

    Returns:
      A point of a space without choices.
    """
    table = SIZES[size]
    stem = make_divisible(16 * width_mult)
    swish = _activation(HS, minimalistic)
    places = [Place(recipe=Stem(outs=stem, stride=2, activation=swish, epsilon=EPSILON))]
    ins, full = stem, 16  # channels in front of a block, here and at full width
    for i, block in enumerate(table.rows):
        outs = make_divisible(block.outs * width_mult)
        hidden = ins * (block.hidden / full) if rounded == "ratio" else block.hidden * width_mult
        recipe = InvertedBottleneck(
            outs=outs,
            kernels=(3 if minimalistic else block.kernel,),
            hidden=make_divisible(hidden),
            stride=block.stride,
            squeeze_excite=(block.gated and not minimalistic,),
            activation=_activation(block.activation, minimalistic),
            expands=i > 0,
            epsilon=EPSILON,
        )
        places.append(Place(recipe=recipe))
        ins, full = outs, block.outs
    head = Head(
        width=make_divisible(table.head * width_mult),
        classes=classes,
        activation=swish,
        mix=mix or table.mix,
        mix_bias=mix_bias,
        epsilon=EPSILON,
    )
    places.append(Place(recipe=head))
    return Point(
        space=Fixed(places=tuple(places), image=(image_size, image_size, image_channels)),
        source="Searching for MobileNetV3 (arXiv:1905.02244), tables 1 and 2",
        row=row,
    )


def _activation(kind: Nonlinearity, minimalistic: bool) -> Nonlinearity:
    return RE if minimalistic else kind


large, small = partial(mobilenet_v3, "large"), partial(mobilenet_v3, "small")
NETWORKS: dict[str, Callable[[], Point]] = {
    "mobilenet_v3_large": partial(large, row="MobileNetV3-Large 1.0"),
    "mobilenet_v3_large_0.75": partial(large, width_mult=0.75, rounded="ratio", row="MobileNetV3-Large 0.75"),
    "mobilenet_v3_large_imgclsmob": partial(large, mix_bias=False, row="MobileNetV3-Large 1.0 (imgclsmob)"),
    "mobilenet_v3_large_minimalistic": partial(large, minimalistic=True, row="MobileNetV3-Large minimalistic"),
    "mobilenet_v3_small": partial(small, row="MobileNetV3-Small 1.0"),
    "mobilenet_v3_small_0.75": partial(small, width_mult=0.75, rounded="ratio", row="MobileNetV3-Small 0.75"),
    "mobilenet_v3_small_0.75_torchvision": partial(
        small, width_mult=0.75, mix=768, row="MobileNetV3-Small 0.75 (torchvision width_mult)"
    ),
    "mobilenet_v3_small_imgclsmob": partial(small, mix=1280, mix_bias=False, row="MobileNetV3-Small 1.0 (imgclsmob)"),
    "mobilenet_v3_small_minimalistic": partial(small, minimalistic=True, row="MobileNetV3-Small minimalistic"),
}

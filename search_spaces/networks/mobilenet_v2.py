"""MobileNetV2 (arXiv:1801.04381) at its published widths: points of the `Proxyless` space."""

from collections.abc import Callable
from functools import partial

from search_spaces.assembly import Fixed, Place
from search_spaces.blocks.inverted_bottleneck import InvertedBottleneck
from search_spaces.blocks.stretches import Head, Stem
from search_spaces.elastic import make_divisible
from search_spaces.networks.point import Point, arch_of
from search_spaces.proxyless import Proxyless, ProxylessStage

STAGES = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))  # width, blocks, stride


def mobilenet_v2(
    width_mult: float = 1.0,
    *,
    narrow_head: bool = False,
    image_size: int = 224,
    image_channels: int = 3,
    classes: int = 1000,
    row: str | None = None,
) -> Point:
    """The network.

    Args:
      width_mult: multiplies all channels, which are then made divisible by 8.
      narrow_head: whether the head's channels are multiplied below 1 too.
      image_size: height and width of the images, px.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      row: its name in the table of reference counts.

    Returns:
      A point of a space whose stages have its widths.
    """
    space = Proxyless(
        image_size=image_size,
        image_channels=image_channels,
        classes=classes,
        resolutions=(),
        width_mults=(1.0,),
        stem_channels=make_divisible(32 * width_mult),
        first_channels=make_divisible(16 * width_mult),
        stages=tuple(
            ProxylessStage(width=make_divisible(width * width_mult), stride=stride, depths=_depths(depth))
            for width, depth, stride in STAGES
        ),
        head_channels=make_divisible(1280 * (width_mult if narrow_head else max(1.0, width_mult))),
        transformed=False,
    )
    return Point(
        space=space,
        arch=arch_of(
            space,
            {f"stage{i}.depth": depth for i, (_, depth, _) in enumerate(STAGES, 1) if depth > 1}
            | {c.name: 6 for c in space.choices if c.name.endswith(".expansion")},
        ),
        source="MobileNetV2 (arXiv:1801.04381), table 2; widths rounded as in torchvision",
        row=row,
    )


def _depths(depth: int) -> tuple[int, ...]:
    return (2, 3, 4) if depth > 1 else (1,)


def mobilenet_v2_imgclsmob(*, image_size: int = 224, image_channels: int = 3, classes: int = 1000) -> Point:
    """MobileNetV2 as osmr/imgclsmob has it: its first block expands too, by 1, and its classifier has no bias."""
    places = [Place(recipe=Stem(outs=32, stride=2, activation="relu6"))]
    places.append(Place(recipe=InvertedBottleneck(outs=16, expansions=(1,), activation="relu6")))
    for width, depth, stride in STAGES:
        for j in range(depth):
            recipe = InvertedBottleneck(outs=width, stride=stride if j == 0 else 1, activation="relu6")
            places.append(Place(recipe=recipe))
    places.append(Place(recipe=Head(width=1280, classes=classes, activation="relu6", bias=False)))
    return Point(
        space=Fixed(places=tuple(places), image=(image_size, image_size, image_channels)),
        source="MobileNetV2 (arXiv:1801.04381) as in osmr/imgclsmob: 1,088 parameters of an expansion by 1 more, 1,000"
        " of the classifier's bias less",
        row="MobileNetV2 1.0 (imgclsmob variant)",
    )


NETWORKS: dict[str, Callable[[], Point]] = {
    "mobilenet_v2": partial(mobilenet_v2, row="MobileNetV2 1.0"),
    "mobilenet_v2_1.4": partial(mobilenet_v2, 1.4, row="MobileNetV2 1.4"),
    "mobilenet_v2_1.3": partial(mobilenet_v2, 1.3, row="MobileNetV2 1.3"),
    "mobilenet_v2_0.75": partial(mobilenet_v2, 0.75, row="MobileNetV2 0.75"),
    "mobilenet_v2_0.5": partial(mobilenet_v2, 0.5),
    "mobilenet_v2_0.35": partial(mobilenet_v2, 0.35),
    "mobilenet_v2_imgclsmob": mobilenet_v2_imgclsmob,
}

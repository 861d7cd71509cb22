"""Networks of Once-for-All's MobileNetV3 space (arXiv:1908.09791) with one kernel, expansion and depth throughout."""

from collections.abc import Callable
from functools import partial

from search_spaces.networks.point import Point, arch_of
from search_spaces.ofa_mobilenet import OfaMobileNet


def ofa_mobilenet(
    kernel: int,
    expansion: int,
    depth: int,
    *,
    width_mult: float = 1.0,
    image_size: int = 224,
    image_channels: int = 3,
    classes: int = 1000,
    row: str | None = None,
) -> Point:
    """A sub-network that is the same everywhere.

    Args:
      kernel: of every depthwise convolution.
      expansion: of every block.
      depth: blocks of every stage.
      width_mult: multiplies all channels; weights were published for 1.0 and 1.2.
      image_size: height and width of the images, px.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      row: its name in the table of reference counts.

    Returns:
      A point of the `OfaMobileNet` space at one resolution.
    """
    space = OfaMobileNet(
        image_channels=image_channels, classes=classes, resolutions=(image_size,), width_mults=(width_mult,)
    )
    said = {"kernel": kernel, "expansion": expansion, "depth": depth}
    of_each = {choice.name: choice.name.rpartition(".")[2] for choice in space.choices}
    there = {name: said[kind] for name, kind in of_each.items() if kind in said and _block(name) <= depth}
    return Point(
        space=space,
        arch=arch_of(space, there),
        source="Once-for-All (arXiv:1908.09791), package `ofa` 0.1.0.post202307202001",
        row=row,
    )


def _block(choice: str) -> int:
    """The number of the block that a choice belongs to; 0 for a stage's own."""
    return int(choice.partition(".block")[2].partition(".")[0] or 0)


ROW = "OFA subnet OFAMobileNetV3"
NETWORKS: dict[str, Callable[[], Point]] = {
    "ofa_mobilenet_v3_max": partial(ofa_mobilenet, 7, 6, 4, row=f"{ROW} w1.0 max ks=7 e=6 d=4"),
    "ofa_mobilenet_v3_min": partial(ofa_mobilenet, 3, 3, 2, row=f"{ROW} w1.0 min ks=3 e=3 d=2"),
    "ofa_mobilenet_v3_1.2_max": partial(ofa_mobilenet, 7, 6, 4, width_mult=1.2, row=f"{ROW} w1.2 max ks=7 e=6 d=4"),
    "ofa_mobilenet_v3_1.2_k5_e4_d3": partial(
        ofa_mobilenet, 5, 4, 3, width_mult=1.2, row=f"{ROW} w1.2 k5e4d3 ks=5 e=4 d=3"
    ),
}

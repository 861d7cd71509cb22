"""MCUNet's networks for microcontrollers (arXiv:2007.10319): points of the `McuNet` space, and two it compares with."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from search_spaces.mcunet import McuNet
from search_spaces.networks.mobilenet_v2 import mobilenet_v2
from search_spaces.networks.point import Point, arch_of
from search_spaces.networks.proxylessnas import FOUND, proxylessnas

# Blocks of each stage, as kernel/expansion. What was released has expansions of 5 too, beside those of the paper.
IN0 = ("5/4 3/3 3/4", "7/5 5/4 5/5", "7/5 5/4", "3/5 5/4 3/5", "3/6 5/4", "3/6")
IN2 = ("5/3 7/6 3/5 5/5", "3/5 7/6 5/6", "7/4 5/5", "3/5 5/5 3/4", "5/6 5/4 5/3 3/4", "5/5")
IN3 = ("7/3 3/5 7/5 5/4", "5/5 5/5 5/5", "3/5 7/6 5/4", "5/5 7/5 3/5", "3/6 7/5 3/4", "7/5")
IN4 = ("7/3 3/5 5/4", "7/5 3/4 7/4", "7/3 3/3 7/3", "3/4 5/3 5/3", "7/4 7/3 5/3", "5/4")


def mcunet(
    blocks: tuple[str, ...],
    width_mult: float,
    *,
    image_size: int,
    image_channels: int = 3,
    classes: int = 1000,
    row: str | None = None,
) -> Point:
    """A network that TinyNAS found.

    Args:
      blocks: of the stages, each block `kernel/expansion`.
      width_mult: of all channels.
      image_size: height and width of the images, px.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      row: its name in the table of reference counts.

    Returns:
      A point of the space at its width and resolution.
    """
    space = McuNet(
        image_channels=image_channels,
        classes=classes,
        resolutions=(image_size,),
        width_mults=(width_mult,),
        expansions=(3, 4, 5, 6),
        transformed=False,
    )
    options: dict[str, Any] = {}
    for i, stage in enumerate(map(str.split, blocks), 1):
        options |= {f"stage{i}.depth": len(stage)} if len(stage) > 1 else {}
        for j, block in enumerate(stage, 1):
            kernel, expansion = map(int, block.split("/"))
            options |= {f"stage{i}.block{j}.kernel": kernel, f"stage{i}.block{j}.expansion": expansion}
    return Point(
        space=space,
        arch=arch_of(space, options),
        source="MCUNet (arXiv:2007.10319), mit-han-lab/mcunet; blocks as others list its downloads, whose published"
        " parameters and MACs they have",
        row=row,
    )


# ProxylessNAS's own rounding of 0.3 times its widths: up to a multiple of 8 (57.6 to 64).
PROXYLESS = replace(FOUND["mobile"], stem=16, first=8, widths=(16, 16, 24, 32, 64, 96), head=384)

NETWORKS: dict[str, Callable[[], Point]] = {
    "mcunet_in0": partial(mcunet, IN0, 0.6, image_size=48, row="mcunet-in0"),
    "mcunet_in2": partial(mcunet, IN2, 0.5, image_size=160, row="mcunet-in2"),
    "mcunet_in3": partial(mcunet, IN3, 0.5, image_size=176, row="mcunet-in3"),
    "mcunet_in4": partial(mcunet, IN4, 1.0, image_size=160, row="mcunet-in4"),
    "mcunet_mobilenet_v2_0.35": partial(mobilenet_v2, 0.35, narrow_head=True, image_size=144, row="mbv2-w0.35"),
    "mcunet_proxyless_0.3": partial(proxylessnas, PROXYLESS, image_size=176, row="proxyless-w0.3"),
}

UNRECONCILED: dict[str, str] = dict.fromkeys(
    ("mcunet-vww0", "mcunet-vww1"),
    "its blocks are in a file that mit-han-lab/mcunet downloads, not in the repository or the paper",
)

"""ProxylessNAS's four networks (arXiv:1812.00332), Single-Path NAS's, and the ends of Once-for-All's space."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from search_spaces.layers import Nonlinearity
from search_spaces.networks.point import Point, arch_of
from search_spaces.proxyless import Proxyless, ProxylessStage
from search_spaces.space import largest, smallest

STRIDES = (2, 2, 2, 1, 2, 1)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A network that a search found.

    Attributes:
      stem: channels of the first convolution.
      first: channels of the first block.
      widths: of the stages.
      blocks: of the stages, each block `kernel/expansion`, or `-` where it is left out.
      head: channels of the last convolution.
      activation: behind every convolution but the projections.
      epsilon: of batch norm.
    """

    stem: int = 32
    first: int = 16
    widths: tuple[int, ...]
    blocks: tuple[str, ...]
    head: int = 1280
    activation: Nonlinearity = "relu6"
    epsilon: float = 1e-3

    def options(self) -> Iterator[tuple[str, Any]]:
        """What it chooses in its space."""
        for i, stage in enumerate(self.blocks, 1):
            for j, block in enumerate(stage.split(), 1):
                name = f"stage{i}.block{j}"
                if j > 1:
                    yield f"{name}.present", block != "-"
                if block != "-":
                    kernel, expansion = map(int, block.split("/"))
                    yield f"{name}.kernel", kernel
                    yield f"{name}.expansion", expansion


MOBILE = ("5/3 3/3 - -", "7/3 3/3 5/3 5/3", "7/6 5/3 5/3 5/3", "5/6 5/3 5/3 5/3", "7/6 7/6 7/3 7/3", "7/6")
FOUND = {
    "mobile": Found(widths=(32, 40, 80, 96, 192, 320), blocks=MOBILE),
    "mobile-14": Found(stem=48, first=24, widths=(40, 56, 112, 136, 256, 448), blocks=MOBILE, head=1792),
    "cpu": Found(
        stem=40,
        first=24,
        widths=(32, 48, 88, 104, 216, 360),
        blocks=("3/6 3/3 3/3 3/3", "3/6 3/3 3/3 5/3", "3/6 - - 3/3", "5/6 3/3 3/3 3/3", "5/6 5/3 5/3 3/3", "5/6"),
        head=1432,
    ),
    "gpu": Found(
        stem=40,
        first=24,
        widths=(32, 56, 112, 128, 256, 432),
        blocks=("5/3 - - -", "7/3 - - 3/3", "7/6 - - 5/3", "5/6 - 3/3 5/3", "7/6 7/6 7/6 5/6", "7/6"),
        head=1728,
    ),
    "single-path": Found(
        widths=(24, 40, 80, 96, 192, 320),
        blocks=("3/3 3/3 3/3", "5/6 3/3 3/3 3/3", "5/6 3/3 3/3 3/3", "5/6 5/3 5/3 5/3", "5/6 5/6 5/6 5/6", "3/6"),
        activation="relu",
        epsilon=1e-5,
    ),
}


def proxylessnas(
    found: Found,
    *,
    source: str = "ProxylessNAS (arXiv:1812.00332), as in osmr/imgclsmob",
    image_size: int = 224,
    image_channels: int = 3,
    classes: int = 1000,
    row: str | None = None,
) -> Point:
    """A network that ProxylessNAS, or Single-Path NAS in the same space, found.

    Args:
      found: what it is.
      source: where it was published.
      image_size: height and width of the images, px.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      row: its name in the table of reference counts.

    Returns:
      A point of the space in which every block but a stage's first may be left out.
    """
    stages = zip(found.widths, STRIDES, (len(blocks.split()) for blocks in found.blocks), strict=True)
    space = Proxyless(
        image_size=image_size,
        image_channels=image_channels,
        classes=classes,
        resolutions=(),
        width_mults=(1.0,),
        stem_channels=found.stem,
        first_channels=found.first,
        stages=tuple(
            ProxylessStage(width=width, stride=stride, depths=(depth,), skippable=True)
            for width, stride, depth in stages
        ),
        expansions=(3, 6),
        head_channels=found.head,
        activation=found.activation,
        transformed=False,
        epsilon=found.epsilon,
    )
    return Point(space=space, arch=arch_of(space, dict(found.options())), source=source, row=row)


def ofa_proxyless(which: Callable[[Any], Any], row: str) -> Point:
    """One of the ends of Once-for-All's Proxyless space at 224 px and width 1.3."""
    space = Proxyless(resolutions=(224,))
    arch = tuple(which(space).tolist())
    return Point(space=space, arch=arch, source="Once-for-All (arXiv:1908.09791), package `ofa`", row=row)


NETWORKS: dict[str, Callable[[], Point]] = {
    "proxylessnas_mobile": partial(proxylessnas, FOUND["mobile"], row="ProxylessNAS mobile"),
    "proxylessnas_mobile_14": partial(proxylessnas, FOUND["mobile-14"], row="ProxylessNAS mobile-14"),
    "proxylessnas_cpu": partial(proxylessnas, FOUND["cpu"], row="ProxylessNAS cpu"),
    "proxylessnas_gpu": partial(proxylessnas, FOUND["gpu"], row="ProxylessNAS gpu"),
    "spnasnet": partial(
        proxylessnas, FOUND["single-path"], source="Single-Path NAS (arXiv:1904.02877), as in timm", row="SPNASNet-100"
    ),
    "ofa_proxyless_max": partial(ofa_proxyless, largest, "OFA subnet OFAProxyless w1.3 max ks=7 e=6 d=4"),
    "ofa_proxyless_min": partial(ofa_proxyless, smallest, "OFA subnet OFAProxyless w1.3 min ks=3 e=3 d=2"),
}

"""RegNetY: widths of all blocks from one quantised line, each block a gated bottleneck in groups (arXiv:2003.13678)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from search_spaces.assembly import Fixed, Place
from search_spaces.blocks.residual import TORCH_EPSILON, Bottleneck
from search_spaces.blocks.stretches import Classifier, Stem
from search_spaces.networks.point import Point

STEM_CHANNELS = 32
DIVISOR = 8  # of the widths


@dataclass(frozen=True, kw_only=True)
class Line:
    """What a RegNet's widths follow from.

    Attributes:
      depth: blocks in all.
      start: the first block's width before it is quantised.
      slope: how much wider each block is than the one before it.
      ratio: of the widths of neighbouring stages, about.
      group_width: channels of each group.
      squeezed: the ratio of a gate's squeezed channels to its block's input.
    """

    depth: int
    start: int
    slope: float
    ratio: float
    group_width: int
    squeezed: float = 0.25

    @property
    def stages(self) -> tuple[tuple[int, int], ...]:
        """Width and number of blocks of each stage.

        `u_j = start + slope * j` is rounded to a power of `ratio` times `start`, then to a multiple of 8 (the paper's
        equations 2 to 4), then to whole groups.
        """
        widths = []
        for j in range(self.depth):
            steps = round(math.log((self.start + self.slope * j) / self.start) / math.log(self.ratio))
            width = round(self.start * self.ratio**steps / DIVISOR) * DIVISOR
            group = min(self.group_width, width)
            widths.append(round(width / group) * group)
        return tuple((width, len(list(blocks))) for width, blocks in groupby(widths))


REGNETS = {  # the published fits
    "regnety_200mf": Line(depth=13, start=24, slope=36.44, ratio=2.49, group_width=8),
    "regnety_400mf": Line(depth=16, start=48, slope=27.89, ratio=2.09, group_width=8),
    "regnety_600mf": Line(depth=15, start=48, slope=32.54, ratio=2.32, group_width=16),
    "regnety_800mf": Line(depth=14, start=56, slope=38.84, ratio=2.4, group_width=16),
}
ROWS = {"regnety_200mf": "regnety_002"}


def regnet(name: str, image_size: int = 224, classes: int = 1000) -> Point:
    """One of the published RegNetYs."""
    places = tuple(_places(REGNETS[name], classes))
    space = Fixed(places=places, image=(image_size, image_size, 3))
    return Point(space=space, source="arXiv:2003.13678; timm, torchvision", row=ROWS.get(name))


def _places(line: Line, classes: int) -> Iterator[Place]:
    yield Place(recipe=Stem(outs=STEM_CHANNELS, stride=2, activation="relu", epsilon=TORCH_EPSILON))
    for width, blocks in line.stages:
        for block in range(blocks):
            yield Place(
                recipe=Bottleneck(
                    outs=width,
                    expansions=(1.0,),
                    stride=1 if block else 2,
                    shortcut="identity" if block else "conv",
                    group_width=line.group_width,
                    squeezed=line.squeezed,
                )
            )
    yield Place(recipe=Classifier(classes=classes))


NETWORKS: dict[str, Callable[[], Point]] = {name: partial(regnet, name) for name in REGNETS}

"""ShuffleNetV1 (arXiv:1707.01083): 1x1 convolutions in groups, whose channels are dealt out between them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from search_spaces.assembly import Fixed, Place
from search_spaces.blocks.stretches import Classifier, conv_norm, depthwise_norm
from search_spaces.networks.point import Point
from search_spaces.recipe import Builder, Tensor
from search_spaces.shufflenet import EPSILON, PooledStem

UNITS = (4, 8, 4)
WIDTHS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # of the first stage, by groups; it doubles with each stage
STEMS = {("0.5", 3): 12, ("0.5", 8): 16, ("2.0", 3): 48, ("2.0", 8): 48}  # others have 24 channels
IMGCLSMOB = "osmr/imgclsmob's counts: a classifier with bias"
MEGVII = "the authors' repository megvii-model/ShuffleNet-Series: a classifier without bias"
ROWS = {  # size and groups
    MEGVII: (("0.5", 3), ("1.0", 3), ("1.5", 3), ("0.5", 8), ("1.5", 8), ("2.0", 8)),
    IMGCLSMOB: (("1.0", 1), ("1.0", 3), ("1.0", 4), ("1.0", 8)),
}


@dataclass(frozen=True, kw_only=True)
class GroupedShuffleUnit:
    """A 1x1 convolution in groups, a shuffle, a depthwise convolution and another 1x1 in groups, beside a shortcut.

    Attributes:
      outs: channels after the unit.
      groups: of the 1x1 convolutions.
      stride: at 1 the input is added; at 2 its mean over windows is put before the new channels.
      first_groups: of the first 1x1 convolution; None for `groups`.
    """

    outs: int
    groups: int
    stride: int = 1
    first_groups: int | None = None

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The unit's output."""
        mid = self.outs // 4
        new = self.outs if self.stride == 1 else self.outs - x.width.largest
        first = self.groups if self.first_groups is None else self.first_groups
        h = conv_norm(b, x, "reduce", mid, activation="relu", groups=first, epsilon=EPSILON)
        h = depthwise_norm(b, h, "depthwise", 3, self.stride, epsilon=EPSILON)
        if self.groups > 1:
            h = b.shuffle(h, mid // self.groups)  # each group behind gets a share of each group before
        h = conv_norm(b, h, "expand", new, groups=self.groups, epsilon=EPSILON)
        if self.stride == 1:
            return b.act(b.add(x, h), "relu")
        return b.concat(b.avg_pool(x, 3, self.stride), b.act(h, "relu"))


def shufflenet_v1(size: str, groups: int, counted: str, image_size: int = 224, classes: int = 1000) -> Point:
    """The network of a size, e.g. `1.0`, and so many groups, with the classifier that the table in `counted` has."""
    places = [Place(recipe=PooledStem(outs=STEMS.get((size, groups), 24)))]
    for stage, units in enumerate(UNITS):
        width = int(float(size) * WIDTHS[groups]) * 2**stage
        for unit in range(units):
            recipe = GroupedShuffleUnit(
                outs=width,
                groups=groups,
                stride=2 if unit == 0 else 1,
                first_groups=1 if stage == unit == 0 else None,  # so few channels come from the stem
            )
            places.append(Place(recipe=recipe))
    places.append(Place(recipe=Classifier(classes=classes, bias=counted == IMGCLSMOB)))
    row = f"ShuffleNetV1 {size}x g={groups}{' (imgclsmob)' * (counted == IMGCLSMOB)}"
    return Point(
        space=Fixed(places=tuple(places), image=(image_size, image_size, 3)),
        source=f"ShuffleNetV1 (arXiv:1707.01083), {counted}. Differs: at the rim, the mean of the strided units counts"
        " only what lies on the image",
        row=row if (size, groups) in ROWS[counted] else None,
    )


NETWORKS: dict[str, Callable[[], Point]] = {
    **{
        f"shufflenet_v1_{size}_g{groups}": partial(shufflenet_v1, size, groups, MEGVII)
        for groups in (3, 8)
        for size in ("0.5", "1.0", "1.5", "2.0")
    },
    **{f"shufflenet_v1_1.0_g{groups}_imgclsmob": partial(shufflenet_v1, "1.0", groups, IMGCLSMOB) for groups in WIDTHS},
}

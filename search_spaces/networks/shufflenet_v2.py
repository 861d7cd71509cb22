"""ShuffleNetV2 (arXiv:1807.11164), by hand, and the network that Single Path One-Shot (arXiv:1904.00420) found."""

from collections.abc import Callable
from functools import partial

from search_spaces.networks.point import Point, arch_of
from search_spaces.shufflenet import OPERATIONS, ShuffleNetV2, ShuffleStage, Variant

WIDTHS = {  # of the three stages, and of the last convolution
    "0.5": (48, 96, 192, 1024),
    "1.0": (116, 232, 464, 1024),
    "1.5": (176, 352, 704, 1024),
    "2.0": (244, 488, 976, 2048),
}
UNITS = (4, 8, 4)
SOURCES = {
    "megvii": "ShuffleNetV2 (arXiv:1807.11164) as its authors' repository megvii-model/ShuffleNet-Series builds it",
    "torchvision": "ShuffleNetV2 (arXiv:1807.11164) as torchvision 0.29 builds it",
}
ROWS = {
    ("megvii", "0.5"): "ShuffleNetV2 0.5x",
    ("megvii", "1.5"): "ShuffleNetV2 1.5x",
    ("megvii", "2.0"): "ShuffleNetV2 2.0x",
    ("torchvision", "0.5"): "ShuffleNetV2 0.5x (torchvision)",
    ("torchvision", "1.0"): "ShuffleNetV2 1.0x (torchvision)",
    ("torchvision", "2.0"): "ShuffleNetV2 2.0x (torchvision)",
}

# The released network: per unit an index into the operations, and one into the scales.
FOUND_OPERATIONS = (0, 0, 3, 1, 1, 1, 0, 0, 2, 0, 2, 1, 1, 0, 2, 0, 2, 1, 3, 2)
FOUND_SCALES = (6, 5, 3, 5, 2, 6, 3, 4, 2, 5, 7, 5, 4, 6, 7, 4, 4, 5, 4, 3)


def shufflenet_v2(size: str, variant: Variant, image_size: int = 224, classes: int = 1000) -> Point:
    """The network of a size, e.g. `1.0`, with one operation and the published middle width everywhere."""
    *widths, head = WIDTHS[size]
    space = ShuffleNetV2(
        image_size=image_size,
        classes=classes,
        stem_channels=24,
        stem_pool=True,
        stages=tuple(ShuffleStage(width=width, units=units) for width, units in zip(widths, UNITS, strict=True)),
        operations=("shuffle_3x3",),
        scales=(1.0,),
        head_channels=head,
        bias=variant == "torchvision",
        variant=variant,
    )
    return Point(space=space, source=SOURCES[variant], row=ROWS.get((variant, size)))


def spos(image_size: int = 224, classes: int = 1000) -> Point:
    """The released network, a point of the published space."""
    space = ShuffleNetV2(image_size=image_size, classes=classes)
    names = [choice.name.removesuffix(".scale") for choice in space.choices if choice.name.endswith(".scale")]
    options = {}
    for name, operation, scale in zip(names, FOUND_OPERATIONS, FOUND_SCALES, strict=True):
        options[f"{name}.operation"] = tuple(OPERATIONS)[operation]
        options[f"{name}.scale"] = space.scales[scale]
    return Point(
        space=space,
        arch=arch_of(space, options),
        source="Single Path One-Shot (arXiv:1904.00420), the network of OneShot in megvii-model/ShuffleNet-Series",
        row="SPOS (OneShot released net)",
    )


NETWORKS: dict[str, Callable[[], Point]] = {
    **{f"shufflenet_v2_{size}": partial(shufflenet_v2, size, "torchvision") for size in WIDTHS},
    **{f"shufflenet_v2_{size}_megvii": partial(shufflenet_v2, size, "megvii") for size in WIDTHS},
    "spos": spos,
}

"""SqueezeNet (arXiv:1602.07360) 1.0 and 1.1: every fire module squeezes to an eighth and makes half of it by 3x3."""

from collections.abc import Callable
from functools import partial

from search_spaces.networks.point import Point, arch_of
from search_spaces.squeezenet import FIRES, SqueezeNet

STEMS = {"1.0": (96, 7), "1.1": (64, 3)}  # channels and kernel
PUBLISHED = {"expand": 1.0, "squeeze": 0.125, "share": 0.5}


def squeezenet(version: str, image_size: int = 224, classes: int = 1000) -> Point:
    """The network of a version, `1.0` or `1.1`."""
    channels, kernel = STEMS[version]
    space = SqueezeNet(
        image_size=image_size,
        classes=classes,
        stem_channels=channels,
        stem_kernel=kernel,
        fires=FIRES[version],
    )
    options = {choice.name: PUBLISHED[choice.name.split(".")[1]] for choice in space.choices}
    return Point(
        space=space,
        arch=arch_of(space, options),
        source="SqueezeNet (arXiv:1602.07360), as torchvision builds it",
        row=f"SqueezeNet {version}",
    )


NETWORKS: dict[str, Callable[[], Point]] = {f"squeezenet_{version}": partial(squeezenet, version) for version in FIRES}

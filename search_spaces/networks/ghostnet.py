"""GhostNet (arXiv:1911.11907) at its published widths."""

from collections.abc import Callable
from functools import partial

from search_spaces.ghostnet import GhostNet
from search_spaces.networks.point import Point, arch_of

GATED = ((False,), (False, False), (True, True), (False,) * 4, (True, True), (True, False, True, False, True))
ROWS = {1.0: "GhostNet 1.0", 1.3: "GhostNet 1.3"}


def ghostnet(width: float, image_size: int = 224, classes: int = 1000) -> Point:
    """The network whose widths are all multiplied by `width`."""
    space = GhostNet(image_size=image_size, classes=classes)
    options: dict[str, float | bool] = {"head.width": width}
    for i, (stage, gated) in enumerate(zip(space.stages, GATED, strict=True), 1):
        options[f"stage{i}.width"] = width
        if stage.depths:
            options[f"stage{i}.depth"] = len(stage.hiddens)
        for j, gate in enumerate(gated, 1):
            options[f"stage{i}.block{j}.squeeze_excite"] = gate
            if len(stage.expansions) > 1:
                options[f"stage{i}.block{j}.expansion"] = 1.0
    return Point(
        space=space,
        arch=arch_of(space, options),
        source="GhostNet (arXiv:1911.11907), as timm builds it",
        row=ROWS.get(width),
    )


NETWORKS: dict[str, Callable[[], Point]] = {f"ghostnet_{width}": partial(ghostnet, width) for width in (0.5, 1.0, 1.3)}

"""The networks that AutoFormer found in its tiny, small and base spaces."""

from collections.abc import Callable
from functools import partial
from typing import Any

from search_spaces.networks.point import Point, arch_of
from search_spaces.vision_transformer import VisionTransformer

# Each space; the channels of the network found in it, and per layer its ratio and its heads
# (microsoft/Cream AutoFormer/experiments/subnet). The tiny network has ratios of 3, which its authors' space lacks.
FOUND: dict[str, tuple[dict[str, Any], int, tuple[float, ...], tuple[int, ...]]] = {
    "T": (
        {"dims": (192, 216, 240), "depths": (12, 13, 14), "heads": (3, 4)},
        192,
        (3.5, 3.5, 3, 3.5, 3, 3, 4, 4, 3.5, 4, 3.5, 4, 3.5),
        (3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3),
    ),
    "S": (
        {"dims": (320, 384, 448), "depths": (12, 13, 14), "heads": (5, 6, 7)},
        384,
        (3, 3.5, 3, 3.5, 4, 4, 4, 4, 4, 4, 4, 3.5, 4),
        (6, 6, 5, 7, 5, 5, 5, 6, 6, 7, 7, 6, 7),
    ),
    "B": (
        {"dims": (528, 576, 624), "depths": (14, 15, 16), "heads": (8, 9, 10)},
        576,
        (3.5, 3.5, 4, 3.5, 4, 3.5, 3.5, 3, 4, 4, 3, 4, 3, 3.5),
        (9, 9, 9, 9, 9, 10, 9, 9, 10, 9, 10, 9, 9, 10),
    ),
}


def _point(size: str) -> Point:
    settings, dim, ratios, heads = FOUND[size]
    space = VisionTransformer(**settings, mlp_ratios=(3.0, 3.5, 4.0))
    said: dict[str, Any] = {"dim": dim, "depth": len(heads)}
    for layer, (ratio, count) in enumerate(zip(ratios, heads, strict=True), 1):
        said |= {f"layer{layer}.mlp_ratio": ratio, f"layer{layer}.heads": count}
    source = f"AutoFormer-{size} (arXiv:2107.00651), relative positions as its code has them"
    return Point(space=space, arch=arch_of(space, said), source=source, row=f"AutoFormer-{size}")


NETWORKS: dict[str, Callable[[], Point]] = {f"autoformer_{size.lower()}": partial(_point, size) for size in FOUND}

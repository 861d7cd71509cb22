"""Cells of NAS-Bench-201 by their published index, in the networks for its three data sets."""

from collections.abc import Callable
from functools import partial

from search_spaces.nas_bench_201 import NasBench201, arch_of
from search_spaces.networks.point import Point

CONV3, CONV1, SKIP, POOL, NONE = "nor_conv_3x3", "nor_conv_1x1", "skip_connect", "avg_pool_3x3", "none"

# By index, the operations of the edges 0-1, 0-2, 1-2, 0-3, 1-3 and 2-3, and the data sets that have been counted.
ALL = ("cifar10", "cifar100", "imagenet16")
CELLS: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    1: ((CONV3, CONV3, POOL, SKIP, CONV3, SKIP), ALL),
    1462: ((CONV3,) * 6, ("cifar10", "cifar100")),
    1651: ((NONE,) * 6, ALL),
    1835: ((SKIP,) * 6, ("cifar10",)),
    3731: ((CONV3, CONV1, CONV3, SKIP, CONV3, CONV1), ALL),
    4317: ((CONV1,) * 6, ("cifar10", "cifar100")),
    7581: ((POOL,) * 6, ("cifar10", "imagenet16")),
    9930: ((CONV3, CONV3, CONV3, SKIP, CONV3, CONV3), ("cifar10", "imagenet16")),
}

SPACES = {
    "cifar10": NasBench201(),
    "cifar100": NasBench201(classes=100),
    "imagenet16": NasBench201(image_size=16, classes=120),
}


def _point(index: int, data: str) -> Point:
    a, b, c, d, e, f = CELLS[index][0]
    cell = f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
    return Point(
        space=SPACES[data],
        arch=tuple(arch_of(cell).tolist()),
        source=f"NAS-Bench-201 (arXiv:2001.00326), cell {index}, for {data}",
        row=f"NAS-Bench-201 {cell} classes={SPACES[data].classes}",
    )


NETWORKS: dict[str, Callable[[], Point]] = {
    f"nas_bench_201_{index}" + ("" if data == "cifar10" else f"_{data}"): partial(_point, index, data)
    for index, (_, counted) in CELLS.items()
    for data in counted
}

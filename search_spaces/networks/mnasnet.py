"""MnasNet-A1, -B1 and -small, as points of their space."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from search_spaces.mnasnet import MnasNet, MnasStage
from search_spaces.networks.point import Point, arch_of

SOURCE = "MnasNet (arXiv:1807.11626)"

# Of each stage: operation, kernel, width, layers, gated.
A1 = (
    ("separable", 3, 16, 1, False),
    ("mb6", 3, 24, 2, False),
    ("mb3", 5, 40, 3, True),
    ("mb6", 3, 80, 4, False),
    ("mb6", 3, 112, 2, True),
    ("mb6", 5, 160, 3, True),
    ("mb6", 3, 320, 1, False),
)
B1 = (
    ("separable", 3, 16, 1, False),
    ("mb3", 3, 24, 3, False),
    ("mb3", 5, 40, 3, False),
    ("mb6", 5, 80, 3, False),
    ("mb6", 3, 96, 2, False),
    ("mb6", 5, 192, 4, False),
    ("mb6", 3, 320, 1, False),
)
SMALL = (
    ("separable", 3, 8, 1, False),
    ("mb3", 3, 16, 1, False),
    ("mb6", 3, 16, 2, False),
    ("mb6", 5, 32, 4, True),
    ("mb6", 3, 32, 3, True),
    ("mb6", 5, 88, 3, True),
    ("mb6", 3, 144, 1, False),
)
SMALL_SPACE = MnasNet(
    stem_channels=8,
    stages=tuple(
        MnasStage(widths=(width,), depths=(layers, layers + 1), stride=stride)
        for (_, _, width, layers, _), stride in zip(SMALL, (1, 2, 2, 2, 1, 2, 1), strict=True)
    ),
)

Table = tuple[tuple[str, int, int, int, bool], ...]


def _mnasnet(table: Table, space: MnasNet, width_mult: float, row: str | None) -> Point:
    space = replace(space, width_mult=width_mult)
    chosen: dict[str, object] = {}
    for i, (operation, kernel, width, layers, gated) in enumerate(table, 1):
        names = {"op": operation, "kernel": kernel, "width": width, "depth": layers, "squeeze_excite": gated}
        chosen |= {f"stage{i}.{name}": option for name, option in names.items()}
        if layers > 1:
            chosen[f"stage{i}.skip"] = True
    return Point(space=space, arch=arch_of(space, chosen), source=SOURCE, row=row)


WIDTHS = (0.5, 0.75, 1.0, 1.4)
B1_ROWS = {0.75: "MnasNet-B1 0.75"}

NETWORKS: dict[str, Callable[[], Point]] = {
    **{f"mnasnet_a1_{w}": partial(_mnasnet, A1, MnasNet(), w, f"MnasNet-A1 {w}") for w in WIDTHS},
    **{f"mnasnet_b1_{w}": partial(_mnasnet, B1, MnasNet(), w, B1_ROWS.get(w)) for w in WIDTHS},
    "mnasnet_small": partial(_mnasnet, SMALL, SMALL_SPACE, 1.0, "MnasNet-small"),
}

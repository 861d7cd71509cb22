"""The cells that DARTS found, in the networks that its authors trained on CIFAR-10 and on ImageNet."""

from collections.abc import Callable
from functools import partial

from search_spaces.darts import Darts, Genotype, arch_of
from search_spaces.networks.point import Point

SEP3, DIL3, SKIP = "sep_conv_3x3", "dil_conv_3x3", "skip_connect"
MAX, AVG = "max_pool_3x3", "avg_pool_3x3"

# Normal and reduction cell, as in the authors' `genotypes.py`.
CELLS: dict[str, tuple[Genotype, Genotype]] = {
    "V1": (
        ((SEP3, 1), (SEP3, 0), (SKIP, 0), (SEP3, 1), (SKIP, 0), (SEP3, 1), (SEP3, 0), (SKIP, 2)),
        ((MAX, 0), (MAX, 1), (SKIP, 2), (MAX, 0), (MAX, 0), (SKIP, 2), (SKIP, 2), (AVG, 0)),
    ),
    "V2": (
        ((SEP3, 0), (SEP3, 1), (SEP3, 0), (SEP3, 1), (SEP3, 1), (SKIP, 0), (SKIP, 0), (DIL3, 2)),
        ((MAX, 0), (MAX, 1), (SKIP, 2), (MAX, 1), (MAX, 0), (SKIP, 2), (SKIP, 2), (MAX, 1)),
    ),
}

SPACES = {
    "CIFAR-10 (C=36,L=20)": Darts(),
    "ImageNet (C=48,L=14)": Darts(image_size=224, classes=1000, channels=48, cells=14, stem="imagenet"),
}


def _point(version: str, network: str) -> Point:
    space = SPACES[network]
    return Point(
        space=space,
        arch=tuple(arch_of(space, *CELLS[version]).tolist()),
        source=f"DARTS (arXiv:1806.09055), DARTS_{version} of quark0/darts, without the auxiliary classifier",
        row=f"DARTS_{version} {network}",
    )


NETWORKS: dict[str, Callable[[], Point]] = {
    f"darts_{version.lower()}_{network.split()[0].lower().replace('-', '')}": partial(_point, version, network)
    for version in CELLS
    for network in SPACES
}

"""FBNet-A, -B and -C as points of their space, in either convention, and the small FBNet for 96 px."""

from collections.abc import Callable
from functools import partial

from search_spaces.assembly import Fixed, Place
from search_spaces.blocks.inverted_bottleneck import InvertedBottleneck
from search_spaces.blocks.stretches import Head, Stem
from search_spaces.fbnet import SKIP, Convention, FbNet
from search_spaces.networks.point import Point, arch_of

SOURCE = "FBNet (arXiv:1812.03443), layers of facebookresearch/mobile-vision"

# Kernel/expansion of each layer, `g2` for two groups, `-` for none.
TABLES = {
    "a": "- 3/3 3/1 - - 5/6 3/3 5/1 3/3 5/6 5/3 5/1g2 5/6 3/6 5/1g2 5/3 3/1g2 5/6 5/6 5/3 5/6 5/6",
    "b": "3/1 3/6 5/1 3/1 3/1 5/6 5/3 3/6 5/6 5/6 5/6 - 5/3 5/6 3/1 5/1 5/3 5/6 5/1 5/6 5/6 3/6",
    "c": "3/1 3/6 - 3/1 3/1 5/6 5/3 5/6 3/6 5/6 5/3 5/6 5/6 5/6 5/6 5/6 5/3 5/6 5/6 5/6 5/6 3/6",
}
HEADS = {"a": 1504, "b": 1984, "c": 1984}


def _option(entry: str) -> str:
    if entry == "-":
        return SKIP
    kernel, _, rest = entry.partition("/")
    expansion, _, groups = rest.partition("g")
    return f"k{kernel}_e{expansion}" + (f"_g{groups}" if groups else "")


def _fbnet(letter: str, convention: Convention, row: str | None) -> Point:
    space = FbNet(head_channels=HEADS[letter], convention=convention)
    options = {f"layer{i}.op": _option(entry) for i, entry in enumerate(TABLES[letter].split(), 1)}
    return Point(space=space, arch=arch_of(space, options), source=f"{SOURCE}; convention `{convention}`", row=row)


# Kernel, expansion, channels, stride.
SMALL = (
    (3, 1, 8, 1),
    *((3, 6, 16, 2), (3, 6, 16, 1)),
    *((5, 6, 16, 2), (5, 6, 16, 1)),
    *((5, 6, 24, 2), (3, 6, 40, 1)),
    *((5, 6, 72, 2), (5, 6, 72, 1), (5, 6, 128, 1)),
)


def fbnet_96(image_size: int = 96, classes: int = 1000) -> Point:
    """The small one, whose widths the space doesn't have; of its convolutions only the ends have a bias."""
    blocks = (
        InvertedBottleneck(outs=outs, kernels=(k,), expansions=(e,), stride=stride, expands=e > 1)
        for k, e, outs, stride in SMALL
    )
    places = (
        Place(recipe=Stem(outs=8, stride=2, activation="relu", conv_bias=True)),
        *(Place(recipe=block) for block in blocks),
        Place(recipe=Head(width=1416, classes=classes, activation="relu", conv_bias=True)),
    )
    return Point(space=Fixed(places=places, image=(image_size, image_size, 3)), source=SOURCE, row="FBNet-96")


NETWORKS: dict[str, Callable[[], Point]] = {
    **{f"fbnet_{x}": partial(_fbnet, x, "mobile_vision", f"FBNet-{x.upper()}") for x in TABLES},
    "fbnet_c_timm": partial(_fbnet, "c", "timm", "FBNet-C (timm fbnetc_100, no conv bias)"),
    "fbnet_96": fbnet_96,
}

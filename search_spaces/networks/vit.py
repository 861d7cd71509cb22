"""Vision transformers, and DeiT's of the same shapes, which were trained otherwise."""

from collections.abc import Callable
from functools import partial

from search_spaces.networks.point import Point, arch_of
from search_spaces.vision_transformer import VisionTransformer

VIT = "An Image is Worth 16x16 Words (arXiv:2010.11929), as timm builds it"
DEIT = "Training data-efficient image transformers (arXiv:2012.12877)"

# Channels of a token, side of a patch, source, row. Heads have 64 channels each; there are 12 layers, each four times
# as wide between its dense layers.
SHAPES: dict[str, tuple[int, int, str, str | None]] = {
    "vit_ti_16": (192, 16, VIT, "ViT-Ti/16"),
    "vit_s_16": (384, 16, VIT, "ViT-S/16"),
    "vit_b_16": (768, 16, VIT, None),
    "vit_b_32": (768, 32, VIT, "ViT-B/32"),
    "deit_t": (192, 16, DEIT, "DeiT-T"),
    "deit_s": (384, 16, DEIT, "DeiT-S"),
    "deit_b": (768, 16, DEIT, None),
}

UNRECONCILED = {
    "DeiT-S distilled": "it has a second learned token and answers with the mean of two classifiers, one a token; the"
    " layers here know one learned token",
}


def _point(dim: int, patch: int, source: str, row: str | None) -> Point:
    space = VisionTransformer(
        patch=patch,
        dims=(dim,),
        depths=(12,),
        heads=(dim // 64,),
        mlp_ratios=(4.0,),
        pool="class",
        relative_reach=None,
        epsilon=1e-6,
    )
    return Point(space=space, arch=arch_of(space, {}), source=source, row=row)


NETWORKS: dict[str, Callable[[], Point]] = {name: partial(_point, *shape) for name, shape in SHAPES.items()}

"""What may be built, and out of which layers: choices, elastic networks and the layers they come down to."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search_spaces.space import Space

    EXAMPLES: tuple[Space, ...]


def __getattr__(name: str) -> "tuple[Space, ...]":
    """`EXAMPLES`, small spaces for the contract tests, made when asked for: `search_spaces.layers` needs no JAX."""
    if name != "EXAMPLES":
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    from search_spaces.mobile import Mobile, Stage
    from search_spaces.nas_bench_201 import NasBench201
    from search_spaces.ofa_mobilenet import OfaMobileNet, OfaStage
    from search_spaces.vision_transformer import VisionTransformer

    return (
        Mobile(
            image_size=26,  # 13, 7, 4: large enough for every tap of every kernel to meet the image
            stages=(
                Stage(widths=(8, 12), depths=(1,), stride=2),
                Stage(widths=(8, 16), depths=(1, 2), stride=2, squeeze_excite=(False, True), activation="hard_swish"),
            ),
            expansions=(2, 3),
            head_channels=16,
        ),
        OfaMobileNet(
            image_channels=1,
            classes=10,
            resolutions=(14, 16),  # 7, 4 and 8, 4
            stem_channels=8,
            first_channels=8,
            stages=(OfaStage(width=16, squeeze_excite=True, activation="hard_swish"),),
            depths=(1, 2),
            expansions=(2, 3),
            head_channels=24,
            mix_channels=32,
        ),
        VisionTransformer(
            image_size=12,  # 3 x 3 patches: the corners are out of reach of the relative positions
            classes=5,
            patch=4,
            dims=(12, 16),
            depths=(1, 2),
            heads=(1, 2),
            mlp_ratios=(1.5, 2.0),
            head_dim=8,
            relative_reach=1,
        ),
        NasBench201(image_size=8, image_channels=1, channels=4, cells=1, stages=2),
    )

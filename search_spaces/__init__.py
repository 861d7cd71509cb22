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
    from search_spaces.ofa_mobilenet import OfaMobileNet, OfaStage

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
    )

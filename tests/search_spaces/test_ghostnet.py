"""The GhostNet space: its size, its modules by hand, and halves that stay halves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search_spaces.ghostnet import GhostNet, GhostStage, rounded
from search_spaces.layers import Add, Concat, Dense, Depthwise, Scale
from search_spaces.reading import Cut, masked
from search_spaces.space import largest, options, size, smallest

SMALL = GhostNet(
    image_size=16,
    classes=10,
    widths=(0.5, 1.0),
    stem_channels=8,
    stages=(
        GhostStage(width=8, hiddens=(16,), expansions=(1.0,)),
        GhostStage(width=16, hiddens=(24, 32), depths=(1, 2), expansions=(0.5, 1.0), squeeze_excite=(True,), stride=2),
    ),
    head_channels=16,
    mix_channels=20,
)


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    """What is compared does not hang on the compiler's optimisations, which take most of its time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def test_size_by_hand():
    # A block is one of 4 expansions x 2 = 8 kinds, the first one of 2; each stage and the head have one of 3 widths.
    two, four, five = 8 + 8**2, 8**2 + 8**3 + 8**4, 8**3 + 8**4 + 8**5
    assert size(GhostNet()) == (3 * 2) * (3 * two) ** 2 * (3 * four) * (3 * two) * (3 * five) * 3
    assert size(GhostNet()) == 285_083_395_732_537_344
    assert size(SMALL) == (2 * 2) * (2 * (2 + 2 * 2)) * 2


def test_choices_are_named_for_what_they_decide():
    assert options(SMALL, smallest(SMALL)) == {
        "stage1.width": 0.5,
        "stage1.block1.squeeze_excite": False,
        "stage2.width": 0.5,
        "stage2.depth": 1,
        "stage2.block1.expansion": 0.5,
        "head.width": 0.5,
    }


def test_channels_are_multiples_of_4_and_never_under_nine_tenths():
    # 16 * 1.3 = 20.8, 24 * 1.3 = 31.2, 40 * 1.3 = 52; 4 would be less than 0.9 * 5
    assert [rounded(channels) for channels in (20.8, 31.2, 52, 5, 1)] == [20, 32, 52, 8, 4]


def test_half_of_a_modules_channels_are_cheap():
    layers = SMALL.layers(largest(SMALL))
    concats = [layer for layer in layers if isinstance(layer, Concat)]
    # hidden and output of each of the three blocks
    assert [layer.shape[-1] for layer in concats] == [16, 8, 24, 16, 32, 16]
    for layer in concats:
        primary, cheap = layer.inputs
        assert layers[primary].shape == layers[cheap].shape
        assert layers[primary].shape[-1] == layer.shape[-1] // 2
    cheap = [layer for layer in layers if isinstance(layer, Depthwise) and layer.path.endswith("cheap")]
    assert [layer.kernel for layer in cheap] == [3] * 6


def test_only_a_block_that_keeps_its_width_adds_its_input_as_it_is():
    layers = SMALL.layers(largest(SMALL))
    convolved = [layer.path for layer in layers if layer.path.endswith("short")]
    assert sum(isinstance(layer, Add) for layer in layers) == 3  # the published blocks all have a shortcut
    assert convolved == ["blocks.2.short"]  # the first of stage 2
    # squeezed: 16 / 4 = 4, 24 / 4 = 6, to a multiple of 4 upwards 8; 32 / 4 = 8; the means are mixed to 20
    assert sum(isinstance(layer, Scale) for layer in layers) == 3
    assert [layer.shape[-1] for layer in layers if isinstance(layer, Dense)] == [4, 16, 8, 24, 8, 32, 20, 10]


def test_what_is_added_lies_alike_whatever_the_width(key):
    """The stem's channels lie in halves too: else a mask would add channels that a cut network does not have."""
    space = GhostNet(
        image_size=8,
        classes=3,
        widths=(0.5, 1.0),
        stem_channels=8,
        stages=(GhostStage(width=8, hiddens=(16,), expansions=(1.0,), squeeze_excite=(False,)),),
        head_channels=8,
        mix_channels=8,
    )
    supernet = jax.jit(space.supernet)(key)
    images = jax.random.normal(key, (4, 8, 8, 3))
    narrow = (0, 0)

    @jax.jit
    def both(arch, images):
        return supernet(masked(space, arch), images)[0], supernet(Cut.of(space.choices, narrow), images)[0]

    np.testing.assert_allclose(*both(jnp.array(narrow), images), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": ()}, "`stages` must hold at least one stage"),
        ({"mix_channels": 0}, "`mix_channels` must be at least 1, got 0"),
        ({"epsilon": -1.0}, "`epsilon` must be above 0, got -1.0"),
        ({"widths": (1.0, 0.5)}, r"`widths` .* got \(1.0, 0.5\); did you mean \(0.5, 1.0\)\?"),
        ({"widths": (1.0, 1.01)}, r"of 16 channels must give different multiples of 4, got \(16, 16\)"),
        (
            {"stages": (GhostStage(width=16, hiddens=(16,), expansions=(1.0, 1.1)),)},
            r"`expansions` \(1.0, 1.1\) of 8 channels must give different multiples of 4",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        GhostNet(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "`width` of a stage must be at least 1, got 0"),
        ({"hiddens": ()}, "`hiddens` of a stage must hold channels for each of its blocks"),
        ({"depths": (2, 1)}, r"from 1 or more to its 2 blocks, got \(2, 1\); did you mean \(1, 2\)\?"),
        ({"depths": (1,)}, r"its 2 blocks, got \(1,\); did you mean \(1, 2\)\?"),
        ({"expansions": ()}, r"`expansions` must be positive .* got \(\)"),
        ({"squeeze_excite": (True, False)}, r"`squeeze_excite` of a stage must be .* got \(True, False\)"),
        ({"kernel": 4}, r"`kernel` of a stage must be odd, got 4; did you mean 5\?"),
        ({"stride": 3}, "`stride` of a stage must be 1 or 2, got 3"),
    ],
)
def test_stages_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GhostStage(**{"width": 8, "hiddens": (16, 16), **settings})

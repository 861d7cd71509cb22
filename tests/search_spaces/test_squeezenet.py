"""The SqueezeNet space: its size, fire modules by hand, numbers that keep their size, and that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from search_spaces.layers import Concat, Conv, GlobalPool, MaxPool, Norm, padding_of
from search_spaces.reading import Cut, Whole, masked
from search_spaces.space import largest, options, size, smallest
from search_spaces.squeezenet import Fire, SqueezeNet, shared, squeezed

SMALL = SqueezeNet(
    image_size=18,
    image_channels=1,
    classes=4,
    stem_channels=8,
    fires=(Fire(channels=16, pooled=True), Fire(channels=24), Fire(channels=32, pooled=True)),
    expands=(0.5, 1.0),
    squeezes=(0.25, 0.5),
    shares=(0.25, 0.75),
)


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    """What is compared does not hang on the compiler's optimisations, which take most of its time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def test_size_by_hand():
    assert size(SqueezeNet()) == (3 * 3 * 3) ** 8 == 282_429_536_481
    assert size(SMALL) == (2 * 2 * 2) ** 3


def test_choices_are_named_for_what_they_decide():
    assert options(SMALL, largest(SMALL)) == {
        f"fire{i}.{name}": value
        for i in (1, 2, 3)
        for name, value in (("expand", 1.0), ("squeeze", 0.5), ("share", 0.75))
    }


def test_fire_modules_by_hand():
    def convolved(arch):
        return [(layer.shape[-1], layer.kernel) for layer in SMALL.layers(arch) if isinstance(layer, Conv)]

    # 16 * 0.5 = 8 channels: squeezed to a quarter, 2; a quarter of them by 3x3, 2, and the other 6 by 1x1
    assert convolved(smallest(SMALL)) == [
        *((8, 3), (2, 1), (6, 1), (2, 3), (3, 1), (9, 1), (3, 3)),
        *((4, 1), (12, 1), (4, 3), (4, 1)),
    ]
    assert convolved(largest(SMALL))[1:4] == [(8, 1), (4, 1), (12, 3)]
    layers = SMALL.layers(largest(SMALL))
    assert [layer.shape[-1] for layer in layers if isinstance(layer, Concat)] == [16, 24, 32]
    assert not any(isinstance(layer, Norm) for layer in layers)
    assert isinstance(layers[-1], GlobalPool)
    assert layers[-1].shape == (1, 1, 4)


def test_windows_that_are_partly_filled_count():
    layers = SMALL.layers(smallest(SMALL))
    # 18 px: (18 - 3) // 2 + 1 = 8 behind the stem; windows of 3 at 0, 2, 4 and, partly filled, 6: 4; then at 0 and 2: 2
    assert padding_of(layers[1]) == (0, 0, 0, 0)
    assert layers[1].shape == (8, 8, 8)
    pools = [layer for layer in layers if isinstance(layer, MaxPool)]
    assert [layer.shape[:2] for layer in pools] == [(4, 4), (2, 2)]
    assert [padding_of(layer) for layer in pools] == [(0, 1, 0, 1), (0, 1, 0, 1)]


def test_neither_side_of_a_fire_module_is_ever_empty():
    assert [shared(channels, share) for channels, share in ((16, 0.01), (16, 0.99), (2, 0.5))] == [1, 15, 1]
    assert squeezed(16, 0.01) == 1


def test_cut_weights_are_scaled_by_the_channels_that_are_on(key):
    supernet = jax.jit(SMALL.supernet)(key)
    arch = smallest(SMALL)
    fire, kept = supernet.blocks[2], supernet.cut(Cut.of(SMALL.choices, arch)).blocks[2]
    # Into the second fire module's squeezing convolution come 8 of 16 channels: the root of 2 times larger. Of the
    # first module's 12 channels by 1x1 there are 6, of its 12 by 3x3 there are 2.
    on = np.r_[0:6, 12:14]
    expected = np.asarray(fire.squeeze.weight[...])[:, :, on, :3] * np.sqrt(24 / 8)
    assert fire.squeeze.weight[...].shape == (1, 1, 24, 12)  # room for the largest of both shares
    np.testing.assert_allclose(kept.squeeze.weight[...], expected, rtol=1e-6)


def test_numbers_keep_their_size_in_every_architecture(key):
    """Without normalisation: of the squeezed channels an eighth is on, and of the others a half.

    With He's initialisation alone a module would give numbers (8 * 2) ** 0.5 = 4 times smaller, three of them 64 times.
    """
    space = SqueezeNet(
        image_size=18,
        image_channels=1,
        classes=16,
        stem_channels=16,
        fires=(Fire(channels=64, pooled=True), Fire(channels=96), Fire(channels=128, pooled=True)),
        expands=(0.5, 1.0),
        squeezes=(0.125, 0.5),
    )
    images = jax.random.normal(key, (16, 18, 18, 1))

    @jax.jit
    @jax.vmap
    def spreads(key):
        supernet = space.supernet(key)
        archs = jnp.stack([smallest(space), largest(space)])
        return jax.vmap(lambda arch: supernet(masked(space, arch), images)[0].std())(archs)

    low, high = spreads(jax.random.split(key, 8)).mean(0)
    assert 1 / 2 < low / high < 2


@pytest.mark.slow
@pytest.mark.parametrize("extreme", [smallest, largest])
def test_the_narrowest_and_the_widest_learn(extreme, key):
    """Bright corners, one a class: 40 steps of Adam on noisy images of them."""
    network = jax.jit(lambda key: SMALL.supernet(key).cut(Cut.of(SMALL.choices, extreme(SMALL))))(key)
    labels = np.arange(32) % 4
    images = np.random.default_rng(0).normal(0, 0.3, (32, 18, 18, 1)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[9 * (label // 2) :][:9, 9 * (label % 2) :][:, :9] += 1
    adam = optax.adam(5e-3)

    def loss(network):
        return optax.softmax_cross_entropy_with_integer_labels(network(Whole(), jnp.asarray(images))[0], labels).mean()

    @jax.jit
    def step(network, state):
        value, gradient = jax.value_and_grad(loss)(network)
        updates, state = adam.update(gradient, state)
        return optax.apply_updates(network, updates), state, value, gradient

    state, values = adam.init(network), []
    for _ in range(40):
        network, state, value, gradient = step(network, state)
        values.append(float(value))
        if len(values) == 1:
            assert all((np.asarray(leaf) != 0).any() for leaf in jax.tree.leaves(gradient))
    assert values[0] == pytest.approx(np.log(4), abs=0.1)
    assert values[-1] < values[0] / 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fires": ()}, "`fires` must hold at least one fire module"),
        ({"stem_kernel": 0}, "`stem_kernel` must be at least 1, got 0"),
        (
            {"squeezes": (0.5, 1.5)},
            r"`squeezes` must be above 0, at most 1.0 .* got \(0.5, 1.5\); did you mean \(0.5,\)\?",
        ),
        ({"shares": ()}, r"`shares` must be above 0, .* got \(\)"),
        ({"expands": (1.0, 0.5)}, r"`expands` .* did you mean \(0.5, 1.0\)\?"),
        ({"expands": (0.5, 0.501)}, r"of 128 channels must give different numbers of at least 2, got \(64, 64\)"),
        ({"squeezes": (0.125, 0.126)}, r"`squeezes` .* of 64 channels must give different numbers, got \(8, 8\)"),
        ({"image_size": 16}, "`image_size` 16 is too small for the pools of `fires`: nothing is left"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        SqueezeNet(**settings)
    assert "\n" not in str(error.value)


def test_a_fire_module_has_two_channels_at_least():
    with pytest.raises(ValueError, match="`channels` of a fire module must be at least 2, got 1"):
        Fire(channels=1)

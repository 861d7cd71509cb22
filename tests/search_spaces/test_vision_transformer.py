"""The transformer space against published networks, sums worked by hand, and a network computed in plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf, softmax

from search_spaces.extract import extract, weights
from search_spaces.layers import (
    Dense,
    LayerNorm,
    Mix,
    PatchEmbed,
    Positions,
    RelativeMix,
    RelativeScores,
    Scores,
    total_macs,
    total_params,
)
from search_spaces.reading import masked
from search_spaces.sliced import Sliced
from search_spaces.space import largest, options, size, smallest
from search_spaces.static import fixed_of
from search_spaces.vision_transformer import VisionTransformer

SMALL = VisionTransformer(
    image_size=8,
    image_channels=1,
    classes=5,
    patch=4,
    dims=(6, 8),
    depths=(1, 2),
    heads=(1, 2),
    mlp_ratios=(1.5, 2.0),
    head_dim=4,
    relative_reach=1,
)


def found(dims, depths, heads, ratios, dim, layer_ratios, layer_heads, **settings):
    """The layers of one network of a space; a string holds a number for each layer."""
    space = VisionTransformer(dims=dims, depths=depths, heads=heads, mlp_ratios=ratios, **settings)
    layer_ratios, layer_heads = list(map(float, layer_ratios.split())), list(map(int, layer_heads.split()))
    arch = [dims.index(dim), depths.index(len(layer_heads))]
    for ratio, count in zip(layer_ratios, layer_heads, strict=True):
        arch += [heads.index(count), ratios.index(ratio)]
    return space.layers(np.array(arch + [0] * (len(space.choices) - len(arch))))


# The networks that the authors found, microsoft/Cream AutoFormer/experiments/subnet. 3.0 is none of the ratios of their
# space `T`, but the network they publish has it.
AUTOFORMER = {
    "T": (
        *((192, 216, 240), (12, 13, 14), (3, 4), (3.0, 3.5, 4.0), 192),
        "3.5 3.5 3 3.5 3 3 4 4 3.5 4 3.5 4 3.5",
        "3 3 3 3 3 3 3 3 3 3 4 3 3",
    ),
    "S": (
        *((320, 384, 448), (12, 13, 14), (5, 6, 7), (3.0, 3.5, 4.0), 384),
        "3 3.5 3 3.5 4 4 4 4 4 4 4 3.5 4",
        "6 6 5 7 5 5 5 6 6 7 7 6 7",
    ),
    "B": (
        *((528, 576, 624), (14, 15, 16), (8, 9, 10), (3.0, 3.5, 4.0), 576),
        "3.5 3.5 4 3.5 4 3.5 3.5 3 4 4 3 4 3 3.5",
        "9 9 9 9 9 10 9 9 10 9 10 9 9 10",
    ),
}


# Parameters: `get_sampled_params_numel` of the authors' code; FLOPs: the paper's, in 10^9 (1.3, 5.1 and 11), which are
# MACs, and their `get_complexity(196)`.
@pytest.mark.parametrize(
    ("name", "params", "gmacs", "complexity"),
    [
        ("T", 5_867_944, 1.3, 1_344_034_362),
        ("S", 22_891_432, 5.1, 4_892_144_730),
        ("B", 53_691_688, 11, 11_236_929_660),
    ],
)
def test_autoformers_networks_are_points_of_the_space(name, params, gmacs, complexity):
    layers = found(*AUTOFORMER[name])
    assert total_params(layers) == params
    assert total_macs(layers) == pytest.approx(gmacs * 1e9, rel=0.06)
    assert get_complexity(layers) == complexity


def get_complexity(layers):
    """What the authors' `get_complexity` counts, from our layers.

    It takes 198 tokens for 197 in the encoder, 197 in the classifier (which reads one), and counts norms, half the
    positions and a flat number for relative positions besides; our MACs are 1-2 % lower.
    """
    n, total = 198, 0.0
    *body, classifier = layers
    norms = [i for i, layer in enumerate(body) if isinstance(layer, LayerNorm)]
    for i, layer in enumerate(body):
        match layer:
            case PatchEmbed():
                total += layer.shape[-1] + 196 * 16 * 16 * 3 * layer.shape[-1]
            case Positions():
                total += 197 * layer.shape[-1] / 2
            case LayerNorm() if i != norms[-1]:
                total += n * layer.shape[-1]
            case Dense():
                total += n * layer.in_channels * layer.shape[-1]
            case Scores():
                total += n**2 * layer.shape[-1] * 64
            case Mix():
                total += n**2 * layer.shape[-1]
            case RelativeScores():
                total += 14 * n**2 + n**2 / 2
            case RelativeMix():
                total += 14 * n**2 + n * layer.shape[-1] / 2
            case _:
                pass
    assert isinstance(classifier, Dense)
    return total + 197 * classifier.in_channels * 1000


# timm's models of these names: parameters, and MACs of convolutions, linear layers and attention's products.
@pytest.mark.parametrize(
    ("name", "dim", "heads", "patch", "params", "macs"),
    [
        ("deit_tiny_patch16_224, vit_tiny_patch16_224", 192, 3, 16, 5_717_416, 1_253_683_200),
        ("deit_small_patch16_224, vit_small_patch16_224", 384, 6, 16, 22_050_664, 4_598_882_304),
        ("vit_base_patch32_224", 768, 12, 32, 88_224_232, 4_409_186_304),
    ],
)
def test_deit_and_vit_are_points_of_the_space(name, dim, heads, patch, params, macs):
    ratios, counts = " ".join(["4"] * 12), " ".join([str(heads)] * 12)
    layers = found(
        *((dim,), (12,), (heads,), (4.0,), dim, ratios, counts), patch=patch, pool="class", relative_reach=None
    )
    assert (total_params(layers), total_macs(layers)) == (params, macs), name


def test_the_smallest_by_hand():
    layers = SMALL.layers(smallest(SMALL))
    # 2 x 2 patches of 4 x 4 px and a class token: 5 tokens of 6 channels; 1 head of 4; 9 hidden channels.
    patches, positions = 16 * 6 + 6, 5 * 6 + 6
    norms = 3 * 2 * 6
    attention = 3 * (6 * 4 + 4) + (4 * 6 + 6)
    tables = 2 * 2 * 4 * 4  # for keys and values: rows and columns of 2 * 1 + 1 distances and one for the class
    mlp = (6 * 9 + 9) + (9 * 6 + 6)
    classifier = 6 * 5 + 5
    assert patches + positions + norms + attention + tables + mlp + classifier == 510
    assert total_params(layers) == 510
    scores = mix = 5 * 5 * 4
    relative = 2 * (4 * 3 * 4)  # of 4 patches, with 2 rows and the class, and with 2 columns and the class
    relative_scores, relative_mix = relative + 4, relative  # and the class token's own query
    attention = 5 * (3 * 6 * 4 + 4 * 6) + scores + relative_scores + mix + relative_mix
    assert total_macs(layers) == 4 * 16 * 6 + attention + 5 * 2 * 6 * 9 + 6 * 5 == 384 + 876 + 540 + 30


def test_size_and_choices_by_hand():
    # A width, then 1 or 2 layers of 2 numbers of heads and 2 ratios each.
    assert size(SMALL) == 2 * (4 + 16)
    # The default: 3 widths, 12 to 14 layers of 2 * 2.
    assert size(VisionTransformer()) == 3 * (4**12 + 4**13 + 4**14)
    assert options(SMALL, largest(SMALL)) == {
        "dim": 8,
        "depth": 2,
        "layer1.heads": 2,
        "layer1.mlp_ratio": 2.0,
        "layer2.heads": 2,
        "layer2.mlp_ratio": 2.0,
    }
    assert "layer2.heads" not in options(SMALL, smallest(SMALL))


def lively(space, seed=0):
    """A supernet in which every number matters, biases and scales included, in float64."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: space.supernet(jax.random.key(0)))
    return jax.tree.map(lambda like: rng.normal(0.5 * (len(like.shape) == 1), 0.4, like.shape), shapes)


def by_hand(space, arch, named, images):
    """The logits in plain numpy, from the weights of one network by their names."""
    chosen = options(space, arch)

    def norm(x, path):
        centred = x - x.mean(-1, keepdims=True)
        normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + space.epsilon)
        return normal * named[f"{path}.scale"] + named[f"{path}.bias"]

    def dense(x, path):
        return x @ named[f"{path}.weight"] + named[f"{path}.bias"]

    def relative(path, tokens):
        rows, columns, reach, vectors = named[f"{path}.rows"], named[f"{path}.columns"], space.relative_reach, []
        side = round((tokens - space.class_token) ** 0.5)
        places = [divmod(i, side) for i in range(side**2)]
        for r, c in places:
            at = [(np.clip(k - r, -reach, reach) + reach, np.clip(m - c, -reach, reach) + reach) for k, m in places]
            at = [(i + space.class_token, j + space.class_token) for i, j in at]
            vectors.append([rows[i] + columns[j] for i, j in [(0, 0)] * space.class_token + at])
        return np.array([[rows[0] + columns[0]] * tokens] * space.class_token + vectors)

    patch = chosen.get("patch", space.patch)
    side = images.shape[1] // patch
    x = np.zeros((len(images), side**2, chosen["dim"]))
    for i in range(side**2):
        row, column = divmod(i, side)
        square = images[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
        x[:, i] = np.einsum("bhwc,hwcd->bd", square, named["blocks.0.patches.weight"]) + named["blocks.0.patches.bias"]
    if space.class_token:
        token = np.broadcast_to(named["blocks.0.positions.token"], (len(images), 1, chosen["dim"]))
        x = np.concatenate([token, x], 1)
    x = x + named["blocks.0.positions.weight"]
    for layer in range(1, chosen["depth"] + 1):
        path = f"blocks.{layer}"
        h = norm(x, f"{path}.attention_norm")
        split = (*h.shape[:2], chosen[f"layer{layer}.heads"], space.head_dim)
        query, key, value = (dense(h, f"{path}.attention.{n}").reshape(split) for n in ("query", "key", "value"))
        key, value = key[:, None], value[:, None]
        if space.relative_reach is not None:
            key = key + relative(f"{path}.attention.to_keys", h.shape[1])[:, :, None]
            value = value + relative(f"{path}.attention.to_values", h.shape[1])[:, :, None]
        scores = (query[:, :, None] * key).sum(-1) / np.sqrt(space.head_dim)  # [batch, query, key, head]
        mixed = (softmax(scores, 2)[..., None] * value).sum(2)
        x = x + dense(mixed.reshape(*h.shape[:2], -1), f"{path}.attention.project")
        h = dense(norm(x, f"{path}.mlp_norm"), f"{path}.expand")
        x = x + dense(h * (1 + erf(h / np.sqrt(2))) / 2, f"{path}.project")
    path = f"blocks.{chosen['depth'] + 1}"
    x = norm(x, f"{path}.norm")
    pooled = x[:, 0] if space.pool == "class" else x[:, int(space.class_token) :].mean(1)
    return dense(pooled, f"{path}.classifier")


VARIANTS = {
    "as published": SMALL,
    "no class token": VisionTransformer(
        image_size=12,
        patch=4,
        dims=(6, 8),
        depths=(1, 2),
        heads=(1, 2),
        head_dim=4,
        class_token=False,
        relative_reach=1,
    ),
    "the class token read, no relative positions": VisionTransformer(
        image_size=8, patch=4, dims=(6, 8), depths=(1, 2), heads=(1, 2), head_dim=4, pool="class", relative_reach=None
    ),
}


@pytest.fixture
def quick_compiles():
    """Equality does not hang on the compiler's optimisations, which take most of its time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compiles")
@pytest.mark.parametrize("space", VARIANTS.values(), ids=VARIANTS)
def test_masked_and_extracted_answer_as_numpy_does(space):
    supernet = lively(space)
    images = np.random.default_rng(1).normal(size=(3, space.image_size, space.image_size, space.image_channels))
    with jax.enable_x64(True):
        read = jax.jit(lambda arch, images: supernet(masked(space, arch, ()), images))
        for arch in (smallest(space), largest(space)):
            logits, stats = read(arch, images)
            alone = extract(space, supernet, arch, stats)
            expected = by_hand(space, arch, weights(alone), images)
            np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(jax.jit(alone)(images), expected, rtol=1e-9, atol=1e-9)


GRIDS = VisionTransformer(
    resolutions=(8, 16),
    patch=4,
    patches=(8, 4),
    dims=(6, 8),
    depths=(1,),
    heads=(1, 2),
    head_dim=4,
    mlp_ratios=(2.0,),
    relative_reach=1,
    classes=3,
)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compiles")
def test_each_grid_has_the_learned_positions_resized():
    """Images of 8 and 16 px in patches of 8 and 4: 1, 2, 2 and 4 on a side, the last of them learned."""
    supernet = lively(GRIDS)
    learned = np.asarray(supernet.blocks[0].positions.weight)
    assert learned.shape == (1 + 4 * 4, 8)
    with jax.enable_x64(True):
        for (resolution, patch), side in {(0, 0): 1, (0, 1): 2, (1, 0): 2, (1, 1): 4}.items():
            arch = np.array([resolution, patch, 1, 0, 0, 0], np.int32)
            images = np.random.default_rng(1).normal(size=(2, 8 * (resolution + 1), 8 * (resolution + 1), 3))
            logits, stats = jax.jit(lambda images, arch=arch: supernet(masked(GRIDS, arch), images))(images)
            named = weights(extract(GRIDS, supernet, arch, stats))
            positions = named["blocks.0.positions.weight"]
            assert positions.shape == (1 + side**2, 8)
            resized = jax.image.resize(jnp.asarray(learned[1:]).reshape(4, 4, 8), (side, side, 8), "bilinear")
            np.testing.assert_allclose(positions[1:], resized.reshape(-1, 8), rtol=1e-9, atol=1e-9)
            np.testing.assert_array_equal(positions[0], learned[0])  # the class token stands nowhere
            np.testing.assert_allclose(logits, by_hand(GRIDS, arch, named, images), rtol=1e-9, atol=1e-9)
            sliced = Sliced(GRIDS).forward(jax.tree.map(jnp.asarray, supernet), arch, jnp.asarray(images))[0]
            np.testing.assert_allclose(sliced, logits, rtol=1e-9, atol=1e-9)
            layers = GRIDS.layers(arch)
            assert layers[0].shape == (images.shape[1], images.shape[1], 3)
            assert {layer.side for layer in layers if isinstance(layer, RelativeScores | RelativeMix)} == {side}
            assert sum(w.size for w in named.values()) == total_params(layers)
    assert fixed_of(GRIDS, largest(GRIDS)) == (("resolution", 1), ("patch", 1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 30, "patch": 4}, "whole patches of 4 px, got 30 px; nearest: 32"),
        ({"resolutions": (16, 20), "patch": 16}, "whole patches of 16 px, got 20 px"),
        ({"image_size": 32, "patches": (16, 12)}, "whole patches of 12 px, got 32 px; nearest: 36"),
        ({"patches": (8, 16)}, r"`patches` must be positive and decrease strictly.*did you mean \(16, 8\)\?"),
        ({"pool": "class", "class_token": False}, "no class token"),
        ({"heads": (4, 3)}, r"`heads` must be positive and increase strictly, got \(4, 3\); did you mean \(3, 4\)"),
        ({"dims": ()}, "`dims` must be positive"),
        ({"mlp_ratios": (0.0, 4.0)}, "`mlp_ratios` must be positive"),
        ({"dims": (8,), "mlp_ratios": (0.1,)}, "must leave a hidden channel"),
        ({"relative_reach": 0}, "`relative_reach` must be at least 1, or None"),
        ({"head_dim": 0}, "`head_dim` must be at least 1"),
        ({"epsilon": 0.0}, "`epsilon` must be above 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        VisionTransformer(**settings)

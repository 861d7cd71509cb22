"""However it is computed, it is the convolution that XLA's own grouped convolution computes, with its gradients."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec

from search_spaces.blocks.depthwise import depthwise
from search_spaces.blocks.depthwise_pairs import Pairs, worthwhile
from search_spaces.blocks.depthwise_taps import Taps


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    """Equality does not hang on the compiler's optimisations, which take most of its time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def grouped(x, weight, stride):
    pad = weight.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def pulled(convolve, x, weight, seed):
    """The output, and the gradients of a random sum of it."""
    y, pull = jax.vjp(convolve, x, weight)
    return y, *pull(jnp.asarray(np.random.default_rng(seed).normal(size=y.shape), y.dtype))


def drawn(*shape, dtype=jnp.float32, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def must_equal_the_grouped_convolution(size, kernel, stride):
    """In float64, where nothing but rounding is left of a difference."""
    batch, height, width, channels = size
    with jax.enable_x64(True):
        x = drawn(*size, dtype=jnp.float64)
        weight = drawn(kernel, kernel, 1, channels, dtype=jnp.float64, seed=1)
        ours, theirs = (
            jax.jit(lambda x, w, f=f: pulled(lambda x, w: f(x, w, stride), x, w, 2))(x, weight)
            for f in (depthwise, grouped)
        )
        assert ours[0].shape == (batch, -(-height // stride), -(-width // stride), channels)
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == jnp.float64
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9])
def test_it_is_the_grouped_convolution_with_its_gradients(kernel, stride):
    must_equal_the_grouped_convolution((2, 8, 5, 3), kernel, stride)


@pytest.mark.parametrize(
    ("size", "kernel", "stride"),
    [
        ((1, 1, 1, 1), 3, 1),
        ((2, 2, 3, 3), 7, 1),  # smaller than the kernel
        ((3, 4, 4, 1), 5, 2),
        ((37, 3, 3, 2), 3, 1),  # more images than one step of the pairs takes
        ((7, 8, 8, 2), 3, 2),  # a prime batch: groups of one
        ((12, 5, 8, 2), 3, 1),  # two groups
        ((1, 3, 37, 1), 3, 2),
        ((1, 2, 70, 1), 3, 1),  # more columns than one step of the weight gradient takes
    ],
)
def test_sizes_that_need_care(size, kernel, stride):
    must_equal_the_grouped_convolution(size, kernel, stride)


@pytest.mark.slow
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9])
def test_all_kernels_at_many_sizes(kernel, stride):
    for size in [(1, 1, 1, 1), (2, 2, 3, 3), (3, 4, 4, 2), (1, 1, 6, 2), (2, 7, 8, 3), (3, 9, 4, 1), (2, 10, 11, 2)]:
        must_equal_the_grouped_convolution(size, kernel, stride)


def test_both_ways_are_the_same_convolution_where_either_would_do():
    x, weight, cotangent = drawn(3, 4, 3, 2), drawn(5, 5, 1, 2, seed=1), drawn(3, 2, 2, 2, seed=2)
    taps, pairs = Taps(kernel=5, stride=2, sizes=(4, 3)), Pairs(kernel=5, stride=2, sizes=(4, 3))
    assert worthwhile(taps)
    for ours, theirs in zip(
        *(
            (way.convolve(x, weight), way.towards_images(weight, cotangent), way.towards_weight(x, cotangent))
            for way in (taps, pairs)
        ),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_pairs_are_for_images_with_fewer_positions_than_taps_that_meet_them():
    # 4x4 = 16 positions; 3x3 = 9 taps, 5x5 = 25. Of any kernel on 2x2 at most 3x3 taps meet it, and 4 positions are
    # fewer. On 7x7, 49 positions are no more than 49 taps, but too many for the weights of all pairs.
    way = partial(Taps, stride=1)
    assert not worthwhile(way(kernel=3, sizes=(4, 4)))
    assert worthwhile(way(kernel=5, sizes=(4, 4)))
    assert worthwhile(way(kernel=3, sizes=(2, 2)))
    assert worthwhile(way(kernel=7, sizes=(6, 6)))
    assert not worthwhile(way(kernel=7, sizes=(7, 7)))


@pytest.mark.parametrize(
    ("kernel", "stride", "size", "first", "taps"),
    [
        (3, 1, 6, 0, 3),
        (7, 1, 2, 2, 3),  # offsets -3..3, of which -1, 0 and 1 lead from one of two positions to the other
        (7, 1, 1, 3, 1),
        (7, 2, 4, 1, 6),  # outputs at 0 and 2: offsets from 0 - 2 to 3 - 0
        (5, 3, 4, 0, 5),  # outputs at 0 and 3: offsets from -3 to 3, of which the kernel has -2..2
    ],
)
def test_taps_that_never_meet_the_image_are_left_out(kernel, stride, size, first, taps):
    down, across = Taps(kernel=kernel, stride=stride, sizes=(size, size)).reaches
    assert (down.first, down.taps) == (across.first, across.taps) == (first, taps)


def test_weights_over_padding_have_no_gradient():
    gradient = jax.jit(jax.grad(lambda w: depthwise(drawn(3, 2, 6, 2), w, 1).sum()))(drawn(7, 7, 1, 2))
    assert not gradient[:2].any()
    assert not gradient[5:].any()
    assert gradient[2:5].all()


@pytest.mark.parametrize("size", [(2, 2), (6, 5)])
def test_narrow_floats_are_rounded_once(size):
    x, weight = drawn(4, *size, 3, dtype=jnp.bfloat16), drawn(5, 5, 1, 3, dtype=jnp.bfloat16, seed=1)
    run = jax.jit(lambda x, w: pulled(lambda x, w: depthwise(x, w, 1), x, w, 2))
    narrow = run(x, weight)
    y, pull = jax.vjp(lambda x, w: grouped(x, w, 1), x.astype(jnp.float32), weight.astype(jnp.float32))
    cotangent = jnp.asarray(np.random.default_rng(2).normal(size=y.shape), jnp.bfloat16).astype(jnp.float32)
    for a, b in zip(narrow, (y, *pull(cotangent)), strict=True):
        assert a.dtype == jnp.bfloat16
        # bfloat16 keeps 8 binary digits: rounding moves a number by no more than 2**-8 of it.
        np.testing.assert_allclose(a.astype(jnp.float32), b, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize(("size", "stride"), [((5, 6), 1), ((5, 6), 2), ((2, 2), 1)])
def test_a_population_of_kernels_runs_at_once(size, stride):
    x, weights = drawn(2, *size, 3), drawn(4, 3, 3, 1, 3, seed=2)
    one = partial(pulled, lambda x, w: depthwise(x, w, stride), seed=1)
    together = jax.jit(jax.vmap(one, (None, 0)))(x, weights)
    alone = jax.jit(one)
    for i, weight in enumerate(weights):
        for a, b in zip(together, alone(x, weight), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-5, atol=1e-5)


def test_layers_in_a_scan_that_are_computed_again_have_the_same_gradient():
    x, weights = drawn(2, 5, 5, 2), drawn(3, 3, 3, 1, 2, seed=1)

    def chained(convolve, x, weights):
        return sum((x := convolve(x, w, 1)).sum() for w in weights)

    def scanned(x, weights):
        layer = jax.checkpoint(lambda x, w: ((y := depthwise(x, w, 1)), y.sum()))
        return lax.scan(layer, x, weights)[1].sum()

    ours = jax.jit(jax.grad(scanned, (0, 1)))(x, weights)
    theirs = jax.jit(jax.grad(partial(chained, grouped), (0, 1)))(x, weights)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


ON_DEVICES = """
import jax, numpy as np
from jax.sharding import PartitionSpec
from search_spaces.blocks.depthwise import depthwise

def gradients(x, weight):
    return jax.grad(lambda x, w: (depthwise(x, w, 1) ** 2).sum(), (0, 1))(x, weight)

mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
data, shared = PartitionSpec("data"), PartitionSpec()
split = jax.jit(jax.shard_map(gradients, mesh=mesh, in_specs=(data, shared), out_specs=(data, shared)))
assert len(jax.devices()) == 2
for size in (6, 5), (2, 2):
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(4, *size, 2)).astype("f"), rng.normal(size=(3, 3, 1, 2)).astype("f")
    for a, b in zip(split(x, weight), jax.jit(gradients)(x, weight), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
"""


@pytest.mark.slow
def test_devices_add_up_their_gradients_of_shared_weights():
    # In a process of its own: how many devices there are is settled when JAX starts.
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    ran = subprocess.run(
        [sys.executable, "-c", ON_DEVICES],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_inside_shard_map_the_gradients_types_agree():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))
    data, shared = PartitionSpec("data"), PartitionSpec()

    def gradients(x, weight):
        return jax.grad(lambda x, w: (depthwise(x, w, 1) ** 2).sum(), (0, 1))(x, weight)

    weight = drawn(3, 3, 1, 2, seed=1)
    split = jax.jit(jax.shard_map(gradients, mesh=mesh, in_specs=(data, shared), out_specs=(data, shared)))
    for size in [(6, 5), (2, 2)]:
        x = drawn(4, *size, 2)
        for a, b in zip(split(x, weight), jax.jit(gradients)(x, weight), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_accelerators_keep_the_grouped_convolution_and_cpus_do_without():
    traced = jax.jit(lambda x, w: pulled(lambda x, w: depthwise(x, w, 2), x, w, 1)).trace(
        drawn(2, 6, 6, 4), drawn(3, 3, 1, 4)
    )
    counts = {
        p: traced.lower(lowering_platforms=(p,)).as_text().count("stablehlo.convolution") for p in ("cuda", "cpu")
    }
    assert counts == {"cuda": 3, "cpu": 0}  # forward and two gradients


def test_one_tap_by_hand():
    # [1 2; 3 4] under a 3x3 kernel that is 1 at its top left and 10 at its centre: each pixel takes ten times itself
    # and the pixel above it to the left, which is padding for all but the last.
    x = jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    weight = jnp.zeros((3, 3, 1, 1)).at[0, 0].set(1.0).at[1, 1].set(10.0)
    assert depthwise(x, weight, 1).ravel().tolist() == [10, 20, 30, 41]
    assert depthwise(x, weight, 2).ravel().tolist() == [10]


@pytest.mark.parametrize(
    ("kernel", "stride", "dtype", "said"),
    [
        (2, 1, jnp.float32, "`weight` must have an odd kernel, got 2"),
        (3, 0, jnp.float32, "`stride` must be at least 1, got 0"),
        (3, 1, jnp.bfloat16, "must share a dtype, got float32 and bfloat16"),
    ],
)
def test_what_is_no_depthwise_convolution_is_refused(kernel, stride, dtype, said):
    with pytest.raises(ValueError, match=said):
        depthwise(drawn(1, 4, 4, 2), drawn(kernel, kernel, 1, 2, dtype=dtype), stride)

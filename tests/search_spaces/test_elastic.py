"""Elastic convolutions, masked and cut, are XLA's own convolution with the part of the kernel cut out by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from search_spaces.axes import EVERYTHING, CentreTaps
from search_spaces.elastic import Conv, Depthwise
from search_spaces.reading import Cut, Masked
from search_spaces.space import Choice

KERNELS, STRIDES, WIDTHS, INS = (3, 5), (2, 1), (4, 6), (2, 3)
CHOICES = (
    Choice(name="kernel", options=KERNELS),
    Choice(name="stride", options=STRIDES, static=True),
    Choice(name="ins", options=INS),
    Choice(name="width", options=WIDTHS),
)
ARCHS = [np.array((kernel, stride, kernel ^ width, width)) for kernel, stride, width in np.ndindex(2, 2, 2)]
SIZE = (7, 6)  # at stride 2 an odd side and an even one end differently


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    """Equality does not hang on the compiler's optimisations, which take most of its time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


class Dense(nnx.Module):
    """A pointwise convolution of the images, then a dense one of which all is elastic."""

    def __init__(self, draw):
        self.stem, self.conv = Conv(draw(1, 1, 3, INS[-1])), Conv(draw(5, 5, INS[-1], WIDTHS[-1]))

    def __call__(self, read, x):
        ins, outs = read.axis(np.array(INS), "ins"), read.axis(np.array(WIDTHS), "width")
        x = ins.gate(self.stem.cut(EVERYTHING, ins)(x))
        return outs.gate(self.conv.cut(ins, outs, read.taps(KERNELS, "kernel"), STRIDES[read.fixed("stride")])(x))

    def by_hand(self, x, kernel, stride, ins, width):
        x = convolved(x, self.stem.weight[...][:, :, :, :ins], 1, 1)
        return convolved(x, centre(self.conv.weight[...], kernel)[:, :, :ins, :width], stride, 1)


class Separable(nnx.Module):
    """A strided pointwise convolution, then a depthwise one that is strided too."""

    def __init__(self, draw):
        self.conv, self.depthwise = Conv(draw(1, 1, 3, WIDTHS[-1])), Depthwise(draw(5, 5, 1, WIDTHS[-1]))

    def __call__(self, read, x):
        outs, stride = read.axis(np.array(WIDTHS), "width"), STRIDES[read.fixed("stride")]
        x = outs.gate(self.conv.cut(EVERYTHING, outs, stride=stride)(x))
        return self.depthwise.cut(outs, read.taps(KERNELS, "kernel"), stride)(x)

    def by_hand(self, x, kernel, stride, ins, width):
        x = convolved(x, self.conv.weight[...][:, :, :, :width], stride, 1)
        return convolved(x, centre(self.depthwise.weight[...], kernel)[:, :, :, :width], stride, width)


def centre(weight, kernel):
    return {3: weight[1:4, 1:4], 5: weight}[kernel]


def convolved(x, weight, stride, groups):
    pad = len(weight) // 2
    return lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def pulled(run, block, x):
    """The output, and the gradients of a random sum of it by the parameters and the images."""
    y, pull = jax.vjp(run, block, x)
    return y, *pull(jnp.asarray(drawn(*y.shape[:-1], WIDTHS[-1], seed=2)[..., : y.shape[-1]]))


@pytest.mark.slow  # two compiles for each architecture
@pytest.mark.parametrize("block", [Dense, Separable])
def test_masked_and_cut_are_the_convolution_cut_out_by_hand(block):
    """Values and gradients; the masked reading is compiled once for each static choice, here the stride."""
    traced = []

    @partial(jax.jit, static_argnums=0)
    def by_mask(fixed, arch, net, x):
        traced.append(fixed)
        return pulled(lambda net, x: net(Masked.of(CHOICES, arch, fixed, dtype=jnp.float64), x), net, x)

    with jax.enable_x64(True):
        net, x = block(partial(drawn, seed=1)), jnp.asarray(drawn(2, *SIZE, 3))
        for arch in ARCHS:
            options = [choice.options[index] for choice, index in zip(CHOICES, arch, strict=True)]
            width = options[-1]
            by_hand = jax.jit(partial(pulled, lambda net, x, options=options: net.by_hand(x, *options)))
            expected = by_hand(net, x)
            read = Cut.of(CHOICES, arch)
            by_cut = jax.jit(partial(pulled, lambda net, x, read=read: net(read, x)))
            close(by_cut(net, x), expected)
            y, *gradients = by_mask((("stride", int(arch[1])),), jnp.asarray(arch), net, x)
            assert y.shape[-1] == WIDTHS[-1]
            assert (np.asarray(y[..., width:]) == 0).all()
            close((y[..., :width], *gradients), expected)
    assert len(traced) == len(STRIDES)


def close(got, expected):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_a_stride_that_is_a_choice_must_be_known_to_the_masked_reading():
    net, x = Dense(drawn), jnp.asarray(drawn(1, 5, 5, 3), jnp.float32)
    with pytest.raises(ValueError, match="static choice `stride` changes shapes, so its index must be known: pass"):
        net(Masked.of(CHOICES, ARCHS[0]), x)


@pytest.mark.parametrize(("kind", "axes"), [(Conv, 2), (Depthwise, 1)])
def test_a_layer_that_is_given_no_stride_keeps_its_own(kind, axes):
    x, layer, ins = jnp.ones((1, 6, 6, 1)), kind(jnp.ones((3, 3, 1, 1)), 2), (EVERYTHING,) * axes
    assert layer.cut(*ins, CentreTaps(1))(x).shape == (1, 3, 3, 1)
    assert layer.cut(*ins, CentreTaps(1), 3)(x).shape == (1, 2, 2, 1)
    assert layer.cut(*ins, CentreTaps(1), 1)(x).shape == (1, 6, 6, 1)

"""Multiply-accumulates that meet the image: worked by hand, and as XLA's cost analysis counts the network itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from search_spaces import EXAMPLES
from search_spaces.derived.sampling import sample
from search_spaces.graph import Graph
from search_spaces.layers import macs
from search_spaces.reading import Cut, Whole, masked
from search_spaces.space import largest, smallest
from search_spaces.trace.real_taps import macs_on_image, total_macs_on_image

NHWC = ("NHWC", "HWIO", "NHWC")


def last(write, image):
    graph = Graph(image)
    write(graph)
    return graph.layers[-1]


def test_taps_on_padding_are_left_out():
    # 3x3 on 3x3 positions: along a side 2, 3 and 2 taps meet the image; 7 x 7 of 81 in all, times 2 x 5 channels.
    image = (3, 3, 2)
    assert macs_on_image(last(lambda g: g.conv(0, 5, "", 3), image), image) == 49 * 10
    assert macs(last(lambda g: g.conv(0, 5, "", 3), image)) == 81 * 10
    # At stride 2: 2 and 2 taps along a side.
    assert macs_on_image(last(lambda g: g.conv(0, 5, "", 3, 2), image), image) == 16 * 10
    # Taps two apart: 2, 1 and 2 along a side; each channel by itself.
    assert macs_on_image(last(lambda g: g.depthwise(0, "", 3, dilation=2), image), image) == 25 * 2
    # 3 x 1 taps, a row of padding above only: 2, 3 along the height of 3 with 2 windows; columns 3 of 1 tap.
    layer = last(lambda g: g.conv(0, 4, "", 3, kernel_width=1, padding=(1, 0, 0, 0), groups=2), image)
    assert layer.shape == (2, 3, 4)
    assert macs_on_image(layer, image) == (5 * 3) * 4 * 1


def test_two_sizes_of_an_image_lead_to_one_output():
    """So a layer alone doesn't say it: at stride 2 of 5 and of 6 positions 3 are left, with 2+3+2 and 2+3+3 taps."""
    layer = last(lambda g: g.depthwise(0, "", 3, 2), (5, 5, 1))
    assert layer == last(lambda g: g.depthwise(0, "", 3, 2), (6, 6, 1))
    assert [macs_on_image(layer, (side, side, 1)) for side in (5, 6)] == [7 * 7, 8 * 8]


def flops(function, *shapes):
    """XLA's count of a function of arrays of these shapes; nothing is compiled."""
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.jit(function).lower(*arrays).cost_analysis().get("flops", 0)


@pytest.mark.parametrize("valid", [True, False])
@pytest.mark.parametrize(
    ("kernel", "width", "stride", "dilation", "groups"),
    [(3, 3, 1, 1, 1), (5, 3, 2, 1, 2), (3, 3, 1, 2, 1), (1, 1, 2, 1, 1)],
)
def test_convolutions_are_counted_as_xla_does(kernel, width, stride, dilation, groups, valid):
    image, padding = (9, 8, 4), (0, 0, 0, 0) if valid else None
    layer = last(
        lambda g: g.conv(
            0, 6, "", kernel, stride, kernel_width=width, dilation=dilation, groups=groups, padding=padding
        ),
        image,
    )
    rows, columns = (0, 0) if valid else (dilation * (kernel // 2), dilation * (width // 2))

    def run(x, weight):
        return lax.conv_general_dilated(
            x,
            weight,
            (stride, stride),
            ((rows, rows), (columns, columns)),
            rhs_dilation=(dilation, dilation),
            dimension_numbers=NHWC,
            feature_group_count=groups,
        )

    shapes = (1, *image), (kernel, width, 4 // groups, 6)
    assert jax.eval_shape(run, *(jnp.zeros(shape) for shape in shapes)).shape[1:] == layer.shape
    assert flops(run, *shapes) == 2 * macs_on_image(layer, image)
    if valid:
        assert macs_on_image(layer, image) == macs(layer)


def test_depthwise_convolutions_are_counted_as_xla_counts_its_own():
    image = (9, 7, 6)
    layer = last(lambda g: g.depthwise(0, "", 5, 2), image)

    def run(x, weight):
        return lax.conv_general_dilated(x, weight, (2, 2), ((2, 2), (2, 2)), None, None, NHWC, 6)

    assert flops(run, (1, *image), (5, 5, 1, 6)) == 2 * macs_on_image(layer, image)


@pytest.mark.slow
@pytest.mark.parametrize("space", EXAMPLES, ids=lambda space: type(space).__name__)
def test_a_network_multiplies_what_its_layers_say_by_xlas_count(space):
    for arch in [smallest(space), largest(space), *np.asarray(sample(jax.random.key(0), space, 2))]:
        layers, read = space.layers(arch), Cut.of(space.choices, arch)
        images = jnp.zeros((1, *layers[0].shape))

        def cut(read=read, images=images, arch=arch):
            supernet = space.supernet(jax.random.key(0))
            return supernet.cut(read), supernet.cut_stats(read, supernet(masked(space, arch), images)[1])

        run = lambda network, stats, images: network(Whole(), images, stats)[0]  # noqa: E731
        closed = jax.make_jaxpr(run)(*nnx.eval_shape(cut), images)
        assert multiplied(closed.jaxpr) == 2 * total_macs_on_image(layers)


def multiplied(jaxpr):
    """XLA's count of all convolutions and matrix products, one after the other.

    Our depthwise convolution is a sum of shifted images on CPUs: XLA's own of the same shapes stands for it.
    """
    total = 0
    for equation in jaxpr.eqns:
        name, shapes = equation.primitive.name, [v.aval.shape for v in equation.invars]
        if name in ("dot_general", "conv_general_dilated"):
            total += flops(lambda *xs, equation=equation: equation.primitive.bind(*xs, **equation.params), *shapes)
        elif name == "custom_vjp_call":
            (image, kernel), out = shapes, equation.outvars[0].aval.shape
            stride = -(-image[1] // out[1])
            pad = (kernel[0] // 2,) * 2
            run = lambda x, w, s=stride, p=pad: lax.conv_general_dilated(  # noqa: E731
                x, w, (s, s), (p, p), dimension_numbers=NHWC, feature_group_count=x.shape[-1]
            )
            total += flops(run, *shapes)
        else:
            inner = [
                getattr(p, "jaxpr", p) for p in equation.params.values() if hasattr(getattr(p, "jaxpr", p), "eqns")
            ]
            total += sum(map(multiplied, inner))
    return total

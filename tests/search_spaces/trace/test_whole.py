"""Layers read from networks equal those that spaces write, and those that one would write by hand for plain JAX."""

import inspect
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from search_spaces import EXAMPLES
from search_spaces.blocks.operations import average_pool
from search_spaces.derived.sampling import sample
from search_spaces.elastic import NONLINEARITIES
from search_spaces.extract import Extracted, extract
from search_spaces.graph import Graph
from search_spaces.layers import Activation, Elementwise, total_params
from search_spaces.named import named
from search_spaces.reading import Cut, Whole, masked
from search_spaces.space import largest, smallest
from search_spaces.trace.blocks import traced_layers
from search_spaces.trace.whole import trace

NHWC = ("NHWC", "HWIO", "NHWC")


def archs_of(space, count):
    drawn = np.asarray(sample(jax.random.key(0), space, count))
    return [smallest(space), largest(space), *drawn]


def extracted_shapes(space, arch):
    """The extracted network of an architecture, all parameters shapes alone."""
    read = Cut.of(space.choices, arch)

    def cut():
        supernet = space.supernet(jax.random.key(0))
        images = jnp.zeros((1, *space.layers(arch)[0].shape))
        return supernet.cut(read), supernet.cut_stats(read, supernet(masked(space, arch), images)[1])

    return Extracted(*nnx.eval_shape(cut))


# Spaces


@pytest.mark.slow
@pytest.mark.parametrize("space", EXAMPLES, ids=lambda space: type(space).__name__)
def test_the_layers_of_a_network_are_those_that_its_space_writes(space):
    for arch in archs_of(space, 2):
        layers = space.layers(arch)
        assert trace(extracted_shapes(space, arch), layers[0].shape) == layers


@pytest.mark.slow
@pytest.mark.parametrize("space", EXAMPLES, ids=lambda space: type(space).__name__)
def test_block_by_block_they_are_the_same(space):
    for arch in archs_of(space, 10):
        assert traced_layers(space, arch) == space.layers(arch)
        assert traced_layers(space, arch.tolist(), space.layers(arch)[0].shape) == space.layers(arch)


def test_parameters_with_numbers_are_traced_as_shapes_are():
    space = EXAMPLES[0]
    arch, rng = largest(space), np.random.default_rng(0)
    shapes = nnx.eval_shape(lambda: space.supernet(jax.random.key(0)))
    supernet = jax.tree.map(lambda like: rng.normal(size=like.shape).astype(np.float32), shapes)
    images = jnp.zeros((1, *space.layers(arch)[0].shape))
    stats = jax.eval_shape(lambda: supernet(masked(space, arch), images)[1])
    stats = jax.tree.map(lambda like: np.ones(like.shape, np.float32), stats)
    assert trace(extract(space, supernet, arch, stats), images.shape[1:]) == space.layers(arch)


def test_a_space_whose_images_have_no_known_size_is_asked_for_it():
    space = EXAMPLES[0]
    bare = BareSpace()
    with pytest.raises(ValueError, match=r"`BareSpace` has no `image_size` and `image_channels`.*pass `image_shape`"):
        traced_layers(bare, smallest(space))
    assert traced_layers(bare, smallest(space), (26, 26, 1)) == space.layers(smallest(space))


class BareSpace:
    """A space of somebody's, known by its choices, its supernet, and the layers that are traced."""

    choices = EXAMPLES[0].choices

    def supernet(self, key):
        return EXAMPLES[0].supernet(key)

    def layers(self, arch):
        return traced_layers(self, arch, (26, 26, 1))


# Plain JAX


class Plain(nnx.Module):
    """A network of parameters by name; what it does is a function of these, of statistics and of images."""

    def __init__(self, run, params):
        self.run = run
        for name, value in params.items():
            setattr(self, name, value if isinstance(value, nnx.Module) else nnx.Param(value))

    def __call__(self, read, images, stats):
        assert read == Whole()
        return self.run(self, stats, images), stats


class Own(nnx.Module):
    """A module with parameters."""

    def __init__(self, **params):
        for name, value in params.items():
            setattr(self, name, nnx.Param(value))


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def network(run, stats=None, **params):
    return Extracted(Plain(run, params), stats or {})


def conv(x, weight, stride=1, padding="SAME", dilation=1, groups=1):
    return lax.conv_general_dilated(
        x, weight, (stride, stride), padding, None, (dilation, dilation), NHWC, feature_group_count=groups
    )


def test_a_network_in_plain_jax_has_the_layers_that_one_would_write():
    def run(net, stats, x):
        x = conv(x, net.stem.weight[...], 2) + net.stem.bias[...]  # 11 -> 6 px: SAME is 1 on each side here
        x = (x - stats["norm"]["mean"]) / jnp.sqrt(stats["norm"]["var"] + 1e-5) * net.norm.scale[...] + net.norm.bias[
            ...
        ]
        x = jax.nn.relu(x)
        shortcut = x
        x = conv(x, net.grouped.weight[...], groups=2)
        x = x * (net.second.scale[...] * lax.rsqrt(net.second.var[...] + 1e-3)) + net.second.bias[...]
        x = conv(jax.nn.relu6(x), net.spread.weight[...], dilation=2, groups=8) + net.spread.bias[...]
        x = shortcut + x * jax.nn.sigmoid(x.mean((1, 2), keepdims=True) @ net.gate[...][0, 0])
        a, b = jnp.split(x, [3], -1)
        x = jnp.concatenate([b, a, x], -1)
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")  # 6 -> 3: 0 before, 1 behind
        x = conv(jnp.pad(x, ((0, 0), (2, 2), (1, 1), (0, 0))), net.tall.weight[...], padding="VALID")
        x = lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
        x = jax.nn.silu(jnp.abs(x))
        x = jax.nn.gelu(x.reshape(len(x), -1) @ net.w1[...] + net.b1[...], approximate=False)
        return x @ net.classifier.weight[...]

    net = network(
        run,
        {"norm": {"mean": shape(8), "var": shape(8)}},
        stem=Own(weight=shape(3, 3, 2, 8), bias=shape(8)),
        norm=Own(scale=shape(8), bias=shape(8)),
        grouped=Own(weight=shape(1, 1, 4, 8)),
        second=Own(scale=shape(8), bias=shape(8), var=shape(8)),
        spread=Own(weight=shape(3, 3, 1, 8), bias=shape(8)),
        gate=shape(1, 1, 8, 8),
        tall=Own(weight=shape(5, 3, 16, 4)),
        w1=shape(4, 6),
        b1=shape(6),
        classifier=Own(weight=shape(6, 3)),
    )
    graph = Graph((11, 11, 2))
    x = graph.conv(0, 8, "stem", 3, 2, bias=True)
    x = shortcut = graph.activation(graph.norm(x, "norm", 1e-5), "relu")
    x = graph.norm(graph.conv(x, 8, "grouped", groups=2), "second", 1e-3)
    x = graph.depthwise(graph.activation(x, "relu6"), "spread", 3, dilation=2, bias=True)
    gate = graph.activation(graph.conv(graph.global_pool(x), 8, "gate"), "sigmoid")
    x = graph.sum(shortcut, graph.scale(x, gate))
    a, b = graph.channels(x, 0, 3), graph.channels(x, 3, 5)
    x = graph.max_pool(graph.concat([b, a, x]), 3, 2, (0, 1, 0, 1))
    x = graph.conv(x, 4, "tall", 5, kernel_width=3)
    assert graph.shape(x) == (3, 3, 4)
    x = graph.avg_pool(x, 2, 2)
    x = graph.add(Elementwise(inputs=(x,), shape=graph.shape(x), operation="abs"))
    x = graph.activation(x, "swish")  # 1 x 1 positions: a vector already
    x = graph.activation(graph.dense(x, 6, "w1"), "gelu")
    graph.dense(x, 3, "classifier", bias=False)
    got = trace(net, (11, 11, 2))
    assert got == tuple(graph.layers)
    count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(net.network, nnx.Param)))
    assert total_params(got) == count - 8  # without the variance of the second norm, which is not trained


def layers_of(run, image, **params):
    """Without the image."""
    return trace(network(lambda net, stats, x: run(net, x), **params), image)[1:]


def test_reshapes_are_layers_where_they_change_what_is_what():
    def patches(net, x):
        x = x.reshape(1, 2, 3, 2, 3, 4).transpose(0, 1, 3, 2, 4, 5).reshape(1, 4, 36)
        return x @ net.embed.weight[...].reshape(36, 5) + net.embed.bias[...] + net.positions[...]

    embed = Own(weight=shape(3, 3, 4, 5), bias=shape(5))
    graph = Graph((6, 6, 4))
    graph.positions(graph.patch_embed(0, 5, "embed", 3), "positions", False)
    assert layers_of(patches, (6, 6, 4), embed=embed, positions=shape(4, 5)) == tuple(graph.layers[1:])

    def tokens(net, x):
        x = x.reshape(1, 36, 4) @ net.w[...]
        return jnp.einsum("btc,dc->btd", x[:, 2:7], net.v[...]).mean(1)

    graph = Graph((6, 6, 4))
    x = graph.take(graph.dense(graph.tokens(0), 5, "w", bias=False), 2, 5)
    graph.global_pool(graph.dense(x, 3, "v", bias=False))
    assert layers_of(tokens, (6, 6, 4), w=shape(4, 5), v=shape(3, 5)) == tuple(graph.layers[1:])

    got = layers_of(lambda net, x: x.reshape(1, -1) @ net.w[...], (6, 6, 8), w=shape(288, 3))
    assert got == (graph_of((6, 6, 8), lambda g: g.dense(g.flatten(0), 3, "w", bias=False)))
    got = layers_of(lambda net, x: conv(shuffle(x), net.w[...]), (6, 6, 8), w=shape(3, 3, 8, 2))
    assert got == graph_of((6, 6, 8), lambda g: g.conv(g.shuffle(0, 2), 2, "w", 3))


def shuffle(x):
    return x.reshape(1, 6, 6, 2, 4).swapaxes(3, 4).reshape(1, 6, 6, 8)


def graph_of(image, write):
    graph = Graph(image)
    write(graph)
    return tuple(graph.layers[1:])


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("relu", jax.nn.relu),
        ("relu", lambda x: jnp.maximum(x, 0)),
        ("relu6", lambda x: jnp.clip(x, 0, 6)),
        ("hard_swish", jax.nn.hard_swish),
        ("hard_swish", lambda x: x * jax.nn.relu6(x + 3) / 6),
        ("hard_sigmoid", jax.nn.hard_sigmoid),
        ("gelu", lambda x: jax.nn.gelu(x, approximate=False)),
        ("swish", lambda x: jax.nn.sigmoid(x) * x),
        ("sigmoid", jax.nn.sigmoid),
        ("tanh", jnp.tanh),
    ],
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_nonlinearities_are_known_however_they_are_written(kind, function, dtype):
    weight = jax.ShapeDtypeStruct((1, 1, 2, 2), dtype)
    got = layers_of(lambda net, x: function(conv(x, net.w[...])), (4, 4, 2), w=weight)
    assert got[1:] == (Activation(inputs=(1,), shape=(4, 4, 2), kind=kind),)


@pytest.mark.parametrize(
    ("half", "root", "dtype", "is_gelu"),
    [
        (0.5, 1.41421, jnp.float32, True),  # five digits of the root of 2
        (0.503, 2**0.5, jnp.float32, False),
        (0.5, 1.41, jnp.float32, False),
        (0.5, 1.41, jnp.bfloat16, True),  # eight bits tell it from the root of 2 by one step at the most
    ],
)
def test_a_nonlinearity_has_its_own_numbers(half, root, dtype, is_gelu):
    weight = jax.ShapeDtypeStruct((1, 1, 2, 2), dtype)
    run = lambda x: half * x * (1 + lax.erf(x / root))  # noqa: E731
    got = layers_of(lambda net, x: run(conv(x, net.w[...])), (4, 4, 2), w=weight)
    assert (got[1:] == (Activation(inputs=(1,), shape=(4, 4, 2), kind="gelu"),)) == is_gelu
    assert is_gelu or all(isinstance(layer, Elementwise) for layer in got[1:])


def test_a_layer_function_of_constants_is_a_constant():
    relu = NONLINEARITIES["relu"]
    got = layers_of(lambda net, x: x * relu(jnp.ones(4)), (4, 4, 4))
    assert got == (Elementwise(inputs=(0,), shape=(4, 4, 4), operation="mul"),)
    (half,) = layers_of(lambda net, x: jnp.maximum(x, relu(jnp.asarray(-3.0))), (4, 4, 4))
    assert half == Activation(inputs=(0,), shape=(4, 4, 4), kind="relu")  # the greater of x and relu(-3), which is 0


def test_what_something_else_reads_too_is_no_part_of_a_nonlinearity():
    def run(net, x):
        gate = jax.nn.sigmoid(x)
        return x * gate + gate

    kinds = [
        layer.kind if isinstance(layer, Activation) else type(layer).__name__ for layer in layers_of(run, (4, 4, 2))
    ]
    assert kinds == ["sigmoid", "Elementwise", "Add"]


def test_average_pools_count_what_lies_on_the_image():
    def run(net, x):
        window = ((1, 3, 3, 1), (1, 2, 2, 1), "SAME")
        return lax.reduce_window(x, 0.0, lax.add, *window) / lax.reduce_window(jnp.ones_like(x), 0.0, lax.add, *window)

    assert layers_of(run, (5, 5, 2)) == graph_of((5, 5, 2), lambda g: g.avg_pool(0, 3, 2))


def test_pools_with_a_padding_of_their_own_say_it():
    got = layers_of(lambda net, x: average_pool(x, 2, 2, (0, 1, 0, 1)), (5, 5, 2))
    assert got == graph_of((5, 5, 2), lambda g: g.avg_pool(0, 2, 2, (0, 1, 0, 1)))


def test_what_else_is_elementwise_keeps_jaxs_name():
    got = layers_of(lambda net, x: jax.nn.leaky_relu(x), (4, 4, 2))  # x where x >= 0, else 0.01 x
    assert [layer.operation for layer in got] == ["ge", "mul", "select_n"]
    assert [layer.inputs for layer in got] == [(0,), (0,), (1, 2, 0)]


def test_a_layer_function_of_ones_own_is_named():
    """What is inside is the author's: here a sort, which is no layer."""

    def median(x):
        return jnp.sort(x.reshape(len(x), -1, x.shape[-1]), 1)[:, 4]

    got = layers_of(lambda net, x: named("GlobalPool", median)(x) @ net.w[...], (3, 3, 2), w=shape(2, 3))
    assert got == graph_of((3, 3, 2), lambda g: g.dense(g.global_pool(0), 3, "w", bias=False))


def test_a_large_network_takes_no_memory():
    """The first dense layer of VGG-16 alone has 103 M parameters."""
    got = layers_of(lambda net, x: x.reshape(1, -1) @ net.fc.weight[...] + net.fc.bias[...], (7, 7, 512), fc=VGG_FC)
    assert total_params(got) == 7 * 7 * 512 * 4096 + 4096


VGG_FC = Own(weight=shape(7 * 7 * 512, 4096), bias=shape(4096))


# What is no layer


def refused(run, image=(4, 4, 2), **params):
    with pytest.raises(ValueError, match=r"search_spaces/named\.py") as error:
        layers_of(run, image, **params)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_error_names_the_authors_line():
    def run(net, x):
        return jnp.cumsum(x, 1)

    line = inspect.getsourcelines(run)[1] + 1
    assert re.match(rf"`cumsum` at \S*test_whole.py:{line} is no layer that `trace` knows; name", refused(run))


def test_what_is_no_layer_is_refused_with_a_reason():
    w = shape(1, 1, 2, 2)
    cases: list[tuple[str, Any, dict[str, Any]]] = [
        ("attention's products", lambda net, x: jnp.einsum("bhwc,bhwd->bcd", x, x), {}),
        ("sum over positions", lambda net, x: x.sum((1, 2)), {}),
        ("something else than all positions", lambda net, x: x.mean(-1), {}),
        ("something else than how many", lambda net, x: x.sum((1, 2)) / 3, {}),
        ("outside of a layer with parameters", lambda net, x: x * net.gamma[...], {"gamma": shape(2)}),
        ("mixes activations with `gamma`", lambda net, x: x * net.gamma[...], {"gamma": shape(4, 4, 2)}),
        ("dimension numbers", lambda net, x: lax.conv(x, net.w[...], (1, 1), "SAME"), {"w": shape(2, 4, 1, 1)}),
        ("no parameter", lambda net, x: conv(x, jnp.ones((1, 1, 2, 2))), {}),
        ("every other position", lambda net, x: x[:, ::2, ::2], {}),
        ("crops an image", lambda net, x: x[:, 1:3], {}),
        ("joins something else", lambda net, x: jnp.concatenate([x, x], 1), {}),
        ("padding around", lambda net, x: jnp.tanh(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))), {}),
        ("as no layer does", lambda net, x: conv(x.swapaxes(1, 2), net.w[...]), {"w": w}),
        ("before its bias", before_its_bias, {"w": w, "b": shape(2)}),
        ("kind of layer", lambda net, x: named("Wavelet", jnp.tanh)(x), {}),
        ("must say the field `epsilon`", lambda net, x: named("Norm", jnp.tanh)(x), {}),
    ]
    for reason, run, params in cases:
        assert reason in refused(run, **params)


def before_its_bias(net, x):
    y = conv(x, net.w[...])
    return y.reshape(1, 16, 2) + net.b[...] + y.reshape(1, 16, 2)

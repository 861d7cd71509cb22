"""Networks that mix every kind of layer of images, vectors and tokens at random, and weights that all matter."""

import math

import numpy as np
import pytest

from hardware.export.weights import weight_shapes
from search_spaces.graph import Graph
from search_spaces.layers import windows

KINDS = ("relu", "relu6", "hard_swish", "hard_sigmoid", "gelu", "swish", "sigmoid", "tanh")


def _divisor(rng, *numbers):
    common = math.gcd(*numbers)
    return int(rng.choice([d for d in range(1, common + 1) if common % d == 0]))


def _padding(rng, most):
    return None if rng.integers(2) else tuple(int(p) for p in rng.integers(0, most + 1, 4))


def _convolution(rng, graph, x, path):
    height, width, channels = graph.shape(x)
    out, kernel, columns = int(rng.integers(1, 13)), int(rng.choice([1, 2, 3, 5])), int(rng.choice([1, 2, 3, 5]))
    padding, dilation = _padding(rng, 2), int(rng.integers(1, 3))
    above, below, left, right = padding or [dilation * (k // 2) for k in (kernel, kernel, columns, columns)]
    if min(windows(height, kernel, 1, above, below, dilation), windows(width, columns, 1, left, right, dilation)) < 1:
        return graph.conv(x, out, path, bias=True)
    return graph.conv(
        x,
        out,
        path,
        kernel,
        int(rng.integers(1, 3)),
        groups=_divisor(rng, channels, out),
        dilation=dilation,
        bias=bool(rng.integers(2)),
        kernel_width=columns,
        padding=padding,
    )


def _pool(rng, graph, x):
    kernel = int(rng.choice([2, 3]))
    if min(graph.shape(x)[:2]) < kernel:
        return graph.global_pool(x)
    pool = graph.max_pool if rng.integers(2) else graph.avg_pool
    return pool(x, kernel, int(rng.integers(1, 3)), _padding(rng, kernel - 1))


def random_network(rng):
    """A random network whose loose ends meet in one vector."""
    graph = Graph((int(rng.integers(4, 9)), int(rng.integers(4, 9)), int(rng.integers(1, 5))))

    def like(x, axes):
        shapes = [graph.shape(y) for y in range(len(graph.layers))]
        return int(rng.choice([y for y, shape in enumerate(shapes) if shape[:axes] == graph.shape(x)[:axes]]))

    for i in range(int(rng.integers(6, 16))):
        path, x = f"layer{i}", int(rng.integers(max(0, len(graph.layers) - 3), len(graph.layers)))
        channels = graph.shape(x)[-1]
        match int(rng.integers(16)):
            case 0 | 1 | 2:
                _convolution(rng, graph, x, path)
            case 3:
                graph.depthwise(
                    x, path, int(rng.choice([3, 5])), dilation=int(rng.integers(1, 3)), bias=bool(rng.integers(2))
                )
            case 4 | 5:
                graph.norm(x, path, 1e-3)
            case 6 | 7:
                graph.activation(x, KINDS[rng.integers(len(KINDS))])
            case 8:
                _pool(rng, graph, x)
            case 9 | 10:
                graph.concat([x, like(x, 2)])
            case 11:
                start = int(rng.integers(channels))
                graph.channels(x, start, int(rng.integers(1, channels - start + 1)))
            case 12:
                graph.shuffle(x, _divisor(rng, channels))
            case 13:
                graph.tokens(x)
            case 14:
                graph.dense(x, int(rng.integers(1, 9)), path, bias=bool(rng.integers(2)))
            case _:
                graph.sum(x, like(x, 3))
    read = {i for layer in graph.layers for i in layer.inputs}
    ends = []
    for x in [x for x in range(len(graph.layers)) if x not in read]:
        flat = graph.flatten(x)
        ends.append(graph.dense(flat, 3, f"end{x}") if rng.integers(2) else flat)
    graph.dense(graph.concat(ends), 4, "classifier")
    return tuple(graph.layers)


def lively(layers, seed=0):
    """Weights in which every number matters, norms and biases included, and no value grows from layer to layer."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in weight_shapes(layers).items():
        if len(shape) == 1:
            low, high = (0.5, 1.5) if name.endswith((".var", ".scale")) else (-0.5, 0.5)
            weights[name] = rng.uniform(low, high, shape).astype(np.float32)
        else:
            weights[name] = rng.normal(0, math.prod(shape[:-1]) ** -0.5, shape).astype(np.float32)
    return weights


@pytest.fixture(name="random_network")
def _random_network():
    return random_network


@pytest.fixture(name="lively")
def _lively():
    return lively

"""Peak activation memory and weights at rest, worked by hand and by an independent simulation."""

import math

import numpy as np
import pytest

from hardware.costs.memory import flash_bytes, peak_bytes
from search_spaces.graph import Graph
from search_spaces.layers import (
    Activation,
    Add,
    Conv,
    Dense,
    Depthwise,
    Flatten,
    Norm,
    Scale,
    Tokens,
    Zeros,
    total_params,
)


def test_a_chain_needs_its_largest_pair():
    graph = Graph((8, 8, 3))  # 192 values
    x = graph.conv(0, 16, "a", kernel=3)  # 1024 values
    x = graph.activation(graph.norm(x, "a_norm", 1e-5), "relu")  # fused
    graph.conv(x, 8, "b", stride=2)  # 4 * 4 * 8 = 128 values
    # image + a: 192 + 1024; a + b: 1024 + 128
    assert peak_bytes(graph.layers, "int8") == 192 + 1024
    assert peak_bytes(graph.layers, "fp32") == 4 * (192 + 1024)


def test_a_residual_lives_until_its_sum_which_works_in_place():
    graph = Graph((4, 4, 2))  # 32 values
    x = graph.conv(0, 4, "a")  # 64
    y = graph.conv(x, 16, "expand")  # 256
    y = graph.conv(y, 4, "project")  # 64
    graph.sum(x, y)  # in the place of x
    # image + a = 96; a + expand = 320; a + expand + project = 384; sum: 128
    assert peak_bytes(graph.layers, "int8") == 64 + 256 + 64


def test_an_elementwise_layer_needs_room_while_its_input_is_still_wanted():
    graph = Graph((4, 4, 2))
    x = graph.conv(0, 8, "a")  # 128 values, read by the activation, by the sum
    y = graph.activation(x, "relu")  # not fused: a second reader; not in place: x is read later
    graph.sum(x, y)
    assert peak_bytes(graph.layers, "int8") == 128 + 128


def test_a_scale_works_in_place_of_the_image_not_of_the_gate():
    graph = Graph((4, 4, 8))  # 128 values
    gate = graph.dense(graph.global_pool(0), 8, "gate")  # 8 + 8
    graph.scale(0, gate)
    # image + pooled + gate = 128 + 8 + 8; then image (overwritten) + gate
    assert peak_bytes(graph.layers, "int8") == 144


def test_weights_at_rest():
    graph = Graph((8, 8, 3))
    x = graph.norm(graph.conv(0, 16, "a", kernel=3), "a_norm", 1e-5)
    x = graph.depthwise(x, "b", kernel=5)  # no norm: no bias
    x = graph.dense(graph.global_pool(x), 10, "c")
    # a: 3*3*3*16 weights + 16 biases; b: 5*5*16; c: 16*10 + 10 biases
    assert flash_bytes(graph.layers, "fp32") == 4 * (432 + 16 + 400 + 160 + 10)
    assert flash_bytes(graph.layers, "int8") == 432 + 400 + 160 + 4 * (16 + 10)
    # folding a norm halves what it holds
    assert flash_bytes(graph.layers, "fp32") == 4 * (total_params(graph.layers) - 16)


def test_zeros_need_no_memory_where_a_sum_absorbs_them():
    graph = Graph((4, 4, 2))  # 32 values
    x = graph.conv(0, 4, "a")  # 64
    dead = graph.conv(x, 32, "dead")  # 512, which nothing that counts reads
    y = graph.conv(dead, 4, "dead_too")
    graph.sum(x, graph.zeros(y))
    assert peak_bytes(graph.layers, "int8") == 32 + 64
    assert flash_bytes(graph.layers, "int8") == 2 * 4


def test_zeros_on_their_own_work_in_place():
    graph = Graph((4, 4, 2))
    graph.conv(graph.zeros(graph.conv(0, 4, "a")), 4, "b")
    # image + a = 96; zeros take the place of a; zeros + b = 128
    assert peak_bytes(graph.layers, "int8") == 128


def test_a_concatenation_needs_what_it_joins_and_the_whole():
    graph = Graph((4, 4, 2))  # 32 values
    x = graph.conv(0, 4, "a")  # 64
    y = graph.max_pool(x, 3)  # 64
    graph.conv(graph.concat([x, y]), 1, "b")  # 128 values joined, then 16
    # image + a = 96; a + pool = 128; a + pool + joined = 256; joined + b = 144
    assert peak_bytes(graph.layers, "int8") == 256


def test_channels_taken_and_dealt_out_are_copied():
    graph = Graph((2, 2, 8))  # 32 values
    half = graph.channels(0, 0, 4)  # 16
    graph.shuffle(graph.concat([half, graph.channels(0, 4, 4)]), 2)
    # image + half + half = 64, of which the image goes; halves + joined = 64; joined + shuffled = 64
    assert peak_bytes(graph.layers, "int8") == 64


def test_what_is_flattened_or_read_as_tokens_stays_where_it_is():
    graph = Graph((4, 4, 2))  # 32 values
    tokens = graph.tokens(graph.conv(0, 8, "a"))  # 128
    mapped = graph.dense(tokens, 8, "b")  # 128
    flat = graph.flatten(graph.sum(tokens, mapped))  # in the place of a
    graph.dense(graph.activation(flat, "relu"), 4, "c")  # in the same place, then 4 more
    # image + a = 160; a + b = 256; the sum takes the place of a; 128 + 4
    assert peak_bytes(graph.layers, "int8") == 256
    assert flash_bytes(graph.layers, "int8") == 2 * 8 + 8 * 8 + 128 * 4 + 4 * (8 + 4)


def test_a_view_keeps_its_tensor_alive():
    graph = Graph((2, 2, 4))  # 16 values
    x = graph.conv(0, 8, "a")  # 32
    flat = graph.flatten(x)
    y = graph.activation(x, "relu")  # not in place: the flattened one is read later
    y = graph.activation(graph.conv(y, 1, "b"), "relu")  # 4
    graph.concat([graph.flatten(y), flat])  # 36
    # image + a = 48; a + its relu = 64; a + relu + b = 68; a + b + joined = 72
    assert peak_bytes(graph.layers, "int8") == 72
    output = Graph((2, 2, 4))
    x = output.conv(0, 8, "a")
    output.flatten(x)  # the network's answer: held to the end, though only a convolution reads it
    output.conv(output.conv(x, 1, "b"), 8, "c")
    # a + b + c = 32 + 4 + 32
    assert peak_bytes(output.layers, "int8") == 68


def test_biases_without_norms_and_norms_without_biases():
    graph = Graph((8, 8, 4))
    x = graph.conv(0, 8, "a", 3, groups=2, bias=True)  # 9 * 2 * 8 weights, 8 biases
    x = graph.norm(graph.depthwise(x, "b", 3, bias=True), "norm", 1e-5)  # 9 * 8 weights, 8 biases with the norm's
    graph.dense(graph.global_pool(x), 10, "c", bias=False)  # 8 * 10
    assert flash_bytes(graph.layers, "int8") == 144 + 72 + 80 + 4 * (8 + 8)
    # the norm's 2 * 8 numbers are folded away
    assert flash_bytes(graph.layers, "fp32") == 4 * (total_params(graph.layers) - 16)


def random_graph(rng):
    """A random network of every kind of layer, with branches."""
    graph = Graph((int(rng.integers(3, 9)), int(rng.integers(3, 9)), int(rng.integers(1, 5))))
    for i in range(int(rng.integers(4, 16))):
        x = int(rng.integers(max(0, len(graph.layers) - 4), len(graph.layers)))
        match int(rng.integers(7)):
            case 0:
                graph.conv(x, int(rng.integers(1, 9)), f"{i}", kernel=3, stride=int(rng.integers(1, 3)))
            case 1:
                graph.depthwise(x, f"{i}", kernel=3)
            case 2 | 3:
                graph.norm(x, f"{i}", 1e-5)
            case 4:
                graph.activation(x, "relu")
            case 5:
                graph.scale(x, graph.dense(graph.global_pool(x), graph.shape(x)[-1], f"{i}"))
            case _:
                same = [y for y, layer in enumerate(graph.layers) if layer.shape == graph.shape(x)]
                graph.sum(x, int(rng.choice(same)))
    return tuple(graph.layers)


def simulate(layers):
    """Buffers handed out and given back one by one, layer by layer; a fused layer shares its maker's buffer."""
    readers = {i: [j for j, layer in enumerate(layers) if i in layer.inputs] for i in range(len(layers))}

    def only_reader(i, kind):
        return len(readers[i]) == 1 and isinstance(layers[readers[i][0]], kind)

    buffer = {0: 0}  # tensor -> buffer
    sizes = {0: math.prod(layers[0].shape)}  # buffer -> values
    fused, peak = set(), sizes[0]
    for i, layer in enumerate(layers):
        if i == 0 or i in fused:
            continue
        made = {i}
        if isinstance(layer, Conv | Depthwise | Dense):
            for kind in (Norm, Activation):
                if only_reader(max(made), kind):
                    made.add(readers[max(made)][0])
        fused |= made - {i}

        def dead_after(tensor, step=i):
            return readers[tensor] and max(readers[tensor]) <= step

        place = None
        if isinstance(layer, Norm | Activation | Add | Scale):
            place = next(
                (buffer[s] for s in layer.inputs if dead_after(s) and layers[s].shape == layer.shape),
                None,
            )
        if place is None:
            place = max(sizes, default=0) + i + 1
            sizes[place] = math.prod(layer.shape)
        peak = max(peak, sum(sizes.values()))
        buffer |= dict.fromkeys(made, place)
        kept = {b for t, b in buffer.items() if not dead_after(t) and t not in made - {max(made)}}
        sizes = {b: size for b, size in sizes.items() if b in kept}
    return peak


def held_bytes(layers):
    """The most that is held when each tensor is counted, step by step, from who still needs it."""
    shapes = [math.prod(layer.shape) for layer in layers]
    home = list(range(len(layers)))  # which tensor holds a layer's output
    fused = {}
    for i, layer in enumerate(layers):
        readers = [j for j, other in enumerate(layers) if i in other.inputs]
        inside = isinstance(layer, Conv | Depthwise | Dense) or i in fused
        wanted = Activation if isinstance(layer, Norm) else Norm | Activation
        if (
            inside
            and not isinstance(layer, Activation)
            and len(readers) == 1
            and isinstance(layers[readers[0]], wanted)
        ):
            fused[readers[0]] = i
    for i, layer in enumerate(layers):
        if isinstance(layer, Flatten | Tokens) or i in fused:
            home[i] = home[layer.inputs[0]]
    steps = [i for i, layer in enumerate(layers) if i not in fused and not isinstance(layer, Flatten | Tokens)]
    outputs = [i for i in range(len(layers)) if all(i not in layer.inputs for layer in layers)]
    until = {home[i]: len(layers) for i in outputs}
    for i in steps:
        until |= {home[s]: max(i, until.get(home[s], 0)) for s in layers[i].inputs}
    most = 0
    for i in steps:
        alive = {t for t in {home[j] for j in steps if j < i} if until[t] >= i}
        if isinstance(layers[i], Norm | Activation | Add | Scale | Zeros):
            dying = [home[s] for s in layers[i].inputs if until[home[s]] == i and layers[s].shape == layers[i].shape]
            alive -= set(dying[:1])
        most = max(most, sum(shapes[t] for t in alive) + shapes[i])
    return most


@pytest.mark.parametrize("seed", range(60))
def test_peak_of_joins_and_views_agrees_with_counting_who_needs_what(seed, random_network):
    layers = random_network(np.random.default_rng(seed))
    assert peak_bytes(layers, "int8") == held_bytes(layers)


@pytest.mark.parametrize("seed", range(60))
def test_peak_agrees_with_a_simulation_of_buffers(seed):
    layers = random_graph(np.random.default_rng(seed))
    assert peak_bytes(layers, "int8") == simulate(layers)


def test_a_wider_layer_never_costs_less():
    def bytes_of(width):
        graph = Graph((16, 16, 3))
        x = graph.activation(graph.norm(graph.conv(0, width, "a", kernel=3), "a_norm", 1e-5), "relu")
        graph.dense(graph.global_pool(x), 10, "head")
        return peak_bytes(graph.layers, "fp32"), flash_bytes(graph.layers, "fp32")

    costs = [bytes_of(width) for width in range(1, 20)]
    assert costs == sorted(costs)


def test_attention_holds_scores_for_every_pair_of_tokens():
    graph = Graph((8, 8, 1))  # 64 values
    x = graph.patch_embed(0, 4, "patches", 1)  # 64 tokens of 4: 256 values
    query, key, value = (graph.dense(x, 4, name) for name in "qkv")  # 256 each
    scores = graph.softmax(graph.scores(query, key, 2))  # 64 * 64 pairs, 2 heads: 8192; softmax in place
    graph.sum(x, graph.dense(graph.mix(scores, value, 2), 4, "project"))
    # While scores are made: the tokens, query, key, value and the scores.
    assert peak_bytes(graph.layers, "int8") == 4 * 256 + 8192
    assert flash_bytes(graph.layers, "int8") == 4 * 1 + 4 * 16 + 4 * (4 + 4 * 4)  # weights, then biases of 4 bytes

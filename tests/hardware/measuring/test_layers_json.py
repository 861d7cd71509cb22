"""Networks as text: read back they are the same network, and what is none is refused in one line."""

import dataclasses
import hashlib
import json

import pytest

from hardware.measuring.campaign import reference_network
from hardware.measuring.layers_json import layers_from_json, layers_json, network_key, protocol_key
from hardware.measuring.protocol import Protocol
from search_spaces.examples import EXAMPLES
from search_spaces.graph import Graph
from search_spaces.networks import NAMED
from search_spaces.space import largest


def without_paths(layers):
    return tuple(dataclasses.replace(layer, path="") for layer in layers)


def test_every_networks_layers_come_back_without_their_names():
    several = [NAMED[name]().layers() for name in ("shufflenet_v1_0.5_g3", "vit_ti_16")]
    several += [space.layers(largest(space)) for space in EXAMPLES]
    for layers in several:
        text = layers_json(layers)
        assert layers_from_json(text) == without_paths(layers)
        assert layers_json(layers_from_json(text)) == text
        assert network_key(layers) == hashlib.sha256(text.encode()).hexdigest()


def test_the_networks_key_is_its_layers_without_their_names():
    def layers(kernel=3, path="a"):
        graph = Graph((8, 8, 3))
        graph.conv(0, 4, path, kernel)
        return tuple(graph.layers)

    assert network_key(layers()) == network_key(layers()) == network_key(layers(path="b"))
    assert network_key(layers()) != network_key(layers(kernel=5))
    # the JSON written out by hand
    assert layers_json(layers()) == (
        '[{"inputs":[],"layer":"Input","shape":[8,8,3]},'
        '{"in_channels":3,"inputs":[0],"kernel":3,"layer":"Conv","shape":[8,8,4],"stride":1}]'
    )


def test_an_attribute_that_came_later_counts_only_where_it_says_something():
    def key(**more):
        graph = Graph((8, 8, 4))
        graph.dense(graph.avg_pool(graph.depthwise(graph.conv(0, 4, "a", 3, **more), "b", 3), 3), 2, "c")
        return network_key(graph.layers)

    # as the first stores have it: no groups, dilation, bias or padding
    text = (
        '[{"inputs":[],"layer":"Input","shape":[8,8,4]},'
        '{"in_channels":4,"inputs":[0],"kernel":3,"layer":"Conv","shape":[8,8,4],"stride":1},'
        '{"inputs":[1],"kernel":3,"layer":"Depthwise","shape":[8,8,4],"stride":1},'
        '{"inputs":[2],"kernel":3,"layer":"AvgPool","shape":[8,8,4],"stride":1},'
        '{"in_channels":4,"inputs":[3],"layer":"Dense","shape":[8,8,2]}]'
    )
    assert key() == hashlib.sha256(text.encode()).hexdigest()
    others = [{"groups": 2}, {"dilation": 2}, {"bias": True}, {"padding": (2, 0, 1, 1)}, {"kernel_width": 5}]
    assert len({key(), *(key(**more) for more in others)}) == 6


def test_another_protocol_is_another_key():
    keys = {protocol_key(p.to_dict()) for p in (Protocol(), Protocol(), Protocol(rounds=21), Protocol(seed=1))}
    assert len(keys) == 3


CONV = {"layer": "Conv", "inputs": [0], "shape": [8, 8, 4], "in_channels": 3, "kernel": 3, "stride": 1}


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (CONV | {"layer": "Convolution"}, "layer 1: there is no layer `Convolution`; is the file of a newer edgenas?"),
        (CONV | {"kernel": "3"}, 'layer 1 (Conv): `kernel` cannot be "3"'),
        (CONV | {"kernel": True}, "`kernel` cannot be true"),
        (CONV | {"kernel": 3.5}, "`kernel` cannot be 3.5"),
        (CONV | {"kernel": 0}, "`kernel` must be 1 or more, got 0"),
        (CONV | {"shape": [8, 8]}, "`shape` cannot be [8, 8]"),
        (CONV | {"shape": [8, 8, 4.0]}, "`shape` cannot be [8, 8, 4.0]"),
        (CONV | {"shape": [9, 8, 4]}, "has shape (9, 8, 4), but its inputs [(8, 8, 3)] give (8, 8, 4)"),
        (CONV | {"padding": [1, 1]}, "`padding` cannot be [1, 1]"),
        (CONV | {"colour": 1}, "`colour` cannot be 1"),
        (CONV | {"inputs": [1]}, "layer 1: `inputs` must be positions before its own, got (1,)"),
        (CONV | {"inputs": [-1]}, "must be positions before its own"),
        ({"layer": "Conv", "inputs": [0], "shape": [8, 8, 4]}, "layer 1 (Conv) lacks `in_channels`"),
        ({"layer": "Activation", "inputs": [0], "shape": [8, 8, 3], "kind": "sin"}, '`kind` cannot be "sin"'),
        ({"layer": "Scale", "inputs": [0], "shape": [8, 8, 3]}, "layer 1 (Scale) makes no sense"),
        (
            {"layer": "PatchEmbed", "inputs": [0], "shape": [4, 1, 8], "in_channels": 3, "patch": 0},
            "layer 1 (PatchEmbed) makes no sense",
        ),
    ],
)
def test_layers_that_are_none_are_refused_in_one_line(second, said):
    with pytest.raises(ValueError, match="layer 1") as refused:
        layers_from_json(json.dumps([{"layer": "Input", "inputs": [], "shape": [8, 8, 3]}, second]))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", "[1]", "null", "[" * 100_000])
def test_text_that_is_no_list_of_layers_is_refused(text):
    with pytest.raises(ValueError, match="layers are"):
        layers_from_json(text)


def test_the_reference_stays_as_it_is():
    # as the first stores have it: their times are on its scale
    assert network_key(reference_network()) == "1b6024a614fc10c2496c6ed909dd4f6641429be805032427d4c5955b4261e027"

"""tflite-micro answers as LiteRT does, and its arena is what the plan says."""

from dataclasses import replace

import numpy as np
import pytest

from hardware.costs.arena import arena_activation_bytes
from hardware.export.weights import random_images, random_weights
from hardware.measuring.campaign import reference_network
from hardware.runtimes.litert import LiteRt
from hardware.runtimes.micro import Arena, Micro
from hardware.runtimes.runtime import Runtime
from search_spaces.graph import Graph

LAYERS = reference_network()
IMAGES = random_images(LAYERS, 8)


@pytest.fixture(scope="module")
def artifact():
    return Micro().prepare(LAYERS, random_weights(LAYERS), calibration=IMAGES)


def made(graph):
    layers = tuple(graph.layers)
    return layers, Micro().prepare(layers, random_weights(layers), "int8", random_images(layers))


def test_it_is_a_runtime_that_names_its_version():
    assert isinstance(Micro(), Runtime)
    assert Micro().version.startswith("tflite-micro 0.")


def test_it_answers_as_litert_does(artifact):
    ours, theirs = Micro().run(artifact, IMAGES), LiteRt().run(artifact, IMAGES)
    step = np.unique(np.abs(np.diff(np.unique(theirs)))).min()  # of the output's integers
    assert np.abs(ours - theirs).max() <= 2.01 * step  # XNNPACK rounds another way in some layers
    assert (ours.argmax(1) == theirs.argmax(1)).mean() >= 7 / 8
    assert Micro().run(artifact, IMAGES[:0]).shape == (0, 10)


def test_the_arena_is_what_the_plan_says(artifact):
    arena = Micro().arena(artifact)
    # alive together: what the first depthwise convolution's hard-swish leaves, 16 * 16 * 96, and its padded copy
    assert arena.activation_bytes == 16 * 16 * 96 + 20 * 20 * 96 == arena_activation_bytes(LAYERS)
    assert 0 < arena.persistent_bytes < arena.activation_bytes
    assert Micro().arena_bytes(artifact) == arena.total_bytes == arena.activation_bytes + arena.persistent_bytes


def test_less_than_the_arena_will_not_do(artifact):
    total = Micro().arena_bytes(artifact)
    assert Micro(arena_limit_bytes=total).arena_bytes(artifact) == total
    with pytest.raises(ValueError, match=r"arena takes more than \d+ bytes; raise `arena_limit_bytes`"):
        Micro(arena_limit_bytes=total - 64).arena(artifact)
    with pytest.raises(ValueError, match="`arena_limit_bytes` must be 1 or more, got 0"):
        Micro(arena_limit_bytes=0)


def test_joined_and_gated_networks_are_planned_as_tflite_writes_them():
    graph = Graph((8, 8, 4))
    x = graph.activation(graph.conv(0, 8, "a", 3, 2, bias=True), "relu")
    y = graph.concat([x, graph.activation(graph.conv(x, 24, "b", 3), "relu6")])
    gate = graph.activation(graph.dense(graph.global_pool(y), 32, "gate"), "hard_sigmoid")
    y = graph.max_pool(graph.activation(graph.scale(y, gate), "swish"), 2, 2)
    graph.dense(graph.global_pool(y), 5, "classifier")
    layers, artifact = made(graph)
    assert Micro().arena(artifact).activation_bytes == arena_activation_bytes(layers)


def test_its_costs_are_measured(artifact):
    costs = Micro().costs(artifact, "my_board")
    assert {name: (cost.unit, cost.kind, cost.target) for name, cost in costs.items()} == dict.fromkeys(
        ("arena_bytes", "activation_bytes"), ("bytes", "measured", "my_board")
    )
    assert costs["arena_bytes"].value > costs["activation_bytes"].value


def test_a_layer_that_it_has_no_operator_for_is_named():
    graph = Graph((4, 4, 3))
    graph.dense(graph.global_pool(graph.activation(graph.conv(0, 4, "a", bias=True), "gelu")), 2, "b")
    with pytest.raises(ValueError, match="layer 2 is a gelu, which tflite-micro has no operator for; use another"):
        made(graph)
    layers = tuple(graph.layers)
    written = LiteRt().prepare(layers, random_weights(layers), "int8", random_images(layers))
    with pytest.raises(ValueError, match=r"refuses the model of \d+ bytes: it has no operator GELU"):
        Micro().arena(written)


def test_there_is_no_time_to_take(artifact):
    with pytest.raises(ValueError, match="say nothing of a microcontroller's; take its arena"):
        Micro().ready(artifact)


@pytest.mark.parametrize("damage", ["empty", "nonsense", "cut", "overwritten"])
def test_damaged_files_are_refused(damage, artifact):
    whole = artifact.content
    content = {
        "empty": b"",
        "nonsense": b"nonsense" * 9,
        "cut": whole[:9000],
        "overwritten": whole[:100] + bytes(500) + whole[600:],
    }[damage]
    with pytest.raises(ValueError, match=r"^tflite-micro \S+ refuses the model of \d+ bytes: "):
        Micro().arena(replace(artifact, content=content))


def test_other_files_and_images_are_refused(artifact):
    with pytest.raises(ValueError, match="takes int8 TFLite files, got fp32 onnx"):
        Micro().arena(replace(artifact, format="onnx", precision="fp32"))
    with pytest.raises(ValueError, match=r"reads images of \(32, 32, 3\), got \(8, 8, 3\)"):
        Micro().run(artifact, IMAGES[:, :8, :8])
    with pytest.raises(ValueError, match="runs int8 here, got `fp32`"):
        Micro().prepare(LAYERS, {}, "fp32")


def test_an_arena_is_both_its_parts():
    assert Arena(activation_bytes=30, persistent_bytes=12).total_bytes == 42

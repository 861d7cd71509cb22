"""Layers drawn as one: a convolution with its norm and nonlinearity, a squeeze-and-excitation, all others alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from hardware.costs.kernels import readers_of
from search_spaces.layers import (
    Activation,
    Conv,
    Dense,
    Depthwise,
    Elementwise,
    GlobalPool,
    Input,
    Layer,
    Norm,
    PatchEmbed,
    Positions,
    Scale,
    Shape,
    Softmax,
)

JOINS_BEFORE = Norm | Activation | Softmax | Positions | Elementwise
"""What is drawn with the layer before it, where nothing else reads that layer; a norm, only with a convolution's."""
JOINS_BEHIND = Norm | Activation
"""What is drawn with the convolution behind it, where it could not join the layer before."""
WEIGHTED = Conv | Depthwise | Dense | PatchEmbed


@dataclass(frozen=True, kw_only=True)
class Node:
    """Layers drawn as one.

    Attributes:
      main: the layer that names it.
      layers: all of them, in order.
      inputs: positions of the nodes that feed it.
      gate: whether it is a whole squeeze-and-excitation, its `main` the scaling.
    """

    main: Layer
    layers: tuple[Layer, ...]
    inputs: tuple[int, ...]
    gate: bool = False

    @property
    def shape(self) -> Shape:
        """What leaves it."""
        return self.layers[-1].shape

    @property
    def activation(self) -> str:
        """The nonlinearity drawn with it, if any."""
        kinds = [each.kind for each in self.layers if isinstance(each, Activation)]
        return kinds[-1] if kinds and not self.gate and not isinstance(self.main, Activation) else ""


def nodes_of(layers: Sequence[Layer]) -> tuple[Node, ...]:
    """The nodes of a network, in order.

    Raises:
      ValueError: when a layer reads a later one.
    """
    readers = readers_of(layers)
    leader = list(range(len(layers)))  # the position of the layer that it is drawn with

    def joins(position: int) -> int:
        layer = layers[position]
        if isinstance(layer, JOINS_BEFORE) and len(layer.inputs) == 1:
            (source,) = layer.inputs
            main = layers[leader[source]]
            joins_it = not isinstance(main, Input) and (isinstance(main, WEIGHTED) or not isinstance(layer, Norm))
            if readers[source] == [position] and joins_it:
                return leader[source]
        return position

    for position in range(len(layers)):
        leader[position] = joins(position)
    for position in reversed(range(len(layers))):
        layer = layers[position]
        if leader[position] == position and isinstance(layer, JOINS_BEHIND) and len(readers[position]) == 1:
            (reader,) = readers[position]
            if isinstance(layers[reader], WEIGHTED) and leader[reader] == reader:
                leader[position] = reader
    gates = _gates(layers, readers)
    for scale, chain in gates.items():
        for position in chain:
            leader[position] = scale
    leader = [_last(leader, position) for position in range(len(layers))]
    kept = sorted(set(leader))
    place = {position: i for i, position in enumerate(kept)}
    members: dict[int, list[int]] = {position: [] for position in kept}
    for position, lead in enumerate(leader):
        members[lead].append(position)
    nodes = []
    for position in kept:
        own = set(members[position])
        inputs = [
            leader[source] for member in members[position] for source in layers[member].inputs if source not in own
        ]
        if position in gates:
            inputs = [leader[layers[position].inputs[0]]]
        nodes.append(
            Node(
                main=layers[position],
                layers=tuple(layers[member] for member in members[position]),
                inputs=tuple(place[source] for source in inputs),
                gate=position in gates,
            )
        )
    return tuple(nodes)


def _last(leader: Sequence[int], position: int) -> int:
    while leader[position] != position:
        position = leader[position]
    return position


def _gates(layers: Sequence[Layer], readers: Sequence[Sequence[int]]) -> dict[int, list[int]]:
    """For each scaling whose factors come from the mean of what is scaled: the layers in between."""
    found: dict[int, list[int]] = {}
    for position, layer in enumerate(layers):
        if isinstance(layer, Scale):
            scaled, source = layer.inputs
            chain: list[int] = []
            while len(readers[source]) == 1 and len(layers[source].inputs) == 1:
                chain.append(source)
                if isinstance(layers[source], GlobalPool):
                    break
                (source,) = layers[source].inputs
            if chain and isinstance(layers[chain[-1]], GlobalPool) and layers[chain[-1]].inputs == (scaled,):
                found[position] = chain
    return found

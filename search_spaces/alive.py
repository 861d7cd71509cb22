"""What of a network can change its answer: zeros drop out of sums, and what then leads nowhere is not run.

Cells whose edges may be cut (NAS-Bench-201's `none`) hold both. `layers(arch)` tells such a cell in full, as its
parameters are counted and published; exporters and the costs of running it leave out what a runtime has no need for.
"""

from collections.abc import Sequence
from dataclasses import replace

from search_spaces.layers import Add, Layer, Zeros


def alive(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers that can change the output of the last one, renumbered.

    Zeros that no sum absorbs stay (a network whose image never reaches the classifier still answers), and so does what
    they read. A network without zeros comes back as it is.
    """
    if not any(isinstance(layer, Zeros) for layer in layers):
        return tuple(layers)
    value = list(range(len(layers)))  # the position that holds the same numbers
    zero = [isinstance(layer, Zeros) for layer in layers]
    for position, layer in enumerate(layers):
        if isinstance(layer, Add) and any(zero[value[i]] for i in layer.inputs):
            rest = [value[i] for i in layer.inputs if not zero[value[i]]]
            value[position] = rest[0] if rest else value[layer.inputs[0]]
    needed = {0, value[-1]}
    for position in range(len(layers) - 1, -1, -1):
        if position in needed:
            needed |= {value[i] for i in layers[position].inputs}
    kept = sorted(needed)
    place = {position: i for i, position in enumerate(kept)}
    return tuple(replace(layers[i], inputs=tuple(place[value[j]] for j in layers[i].inputs)) for i in kept)

"""A cost of a whole network as what each of its kernels adds, where it is a sum over them.

A model of latency or energy is a function of a network. What a kernel adds to it is found by giving it networks of one
kernel each: no model has to say how it adds up, and none is believed to.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from hardware.costs.kernels import VIEW, Kernel, kernels, viewed
from search_spaces.alive import alive
from search_spaces.layers import Input, Layer

NetworkCost = Callable[[Sequence[Layer]], Any]
"""A function of a network: a number, or a row of them."""


class Part(NamedTuple):
    """A kernel, or a view.

    Attributes:
      position: of its main layer in the network.
      layers: the main layer and those fused with it.
      kernel: None for a view.
    """

    position: int
    layers: tuple[Layer, ...]
    kernel: Kernel | None


NO_IMAGE = Input(shape=(1, 1, 1))
"""Stands where the image would: what reads the image itself may cost something else."""

CLOSE = 1e-9
"""How far, in parts of it, a network's cost may be from its kernels' sum."""


class Shares:
    """What each kernel adds to the costs of a network; those of a kernel that was met before are not asked for again.

    Attributes:
      cost: the function of a network.
    """

    def __init__(self, cost: NetworkCost):
        """Takes the function."""
        self.cost = cost
        self._known: dict[tuple[Layer, ...], np.ndarray] = {}

    def __call__(self, layers: Sequence[Layer], parts: Sequence[Part]) -> Float[np.ndarray, "parts values"]:
        """What the inputs alone cost, then what each part adds.

        Args:
          layers: the network, as `alive` leaves it.
          parts: its parts.
        """
        found = [row_of(self.cost, tuple(layer for layer in layers if isinstance(layer, Input)))]
        held = viewed(layers)
        for part in parts:
            sources = part.layers[0].inputs
            alone, at = [NO_IMAGE], []
            for source in sources:
                if held[source] == 0:
                    alone[0] = Input(shape=layers[source].shape)
                else:
                    alone.append(Input(shape=layers[source].shape))
                at.append(0 if held[source] == 0 else len(alone) - 1)
            own = tuple(
                replace(layer, path="", inputs=(len(alone) + i - 1,) if i else tuple(at))
                for i, layer in enumerate(part.layers)
            )
            network = (*alone, *own)
            if (share := self._known.get(network)) is None:
                share = self._known[network] = row_of(self.cost, network) - row_of(self.cost, tuple(alone))
            found.append(share)
        return np.array(found)

    def add_up(self, layers: Sequence[Layer]) -> bool:
        """Whether the parts of this network are what it costs."""
        layers = alive(layers)
        whole, parts = row_of(self.cost, layers), self(layers, parts_of(layers))
        return bool((abs(np.array(list(map(math.fsum, parts.T))) - whole) <= CLOSE * abs(whole)).all())


def row_of(cost: NetworkCost, layers: Sequence[Layer]) -> Float[np.ndarray, " values"]:
    """The values of a network.

    Raises:
      ValueError: when one of them is not finite.
    """
    row = np.atleast_1d(np.asarray(cost(layers), np.float64))
    if not np.isfinite(row).all():
        raise ValueError(f"a cost of a network must be finite, got {row[~np.isfinite(row)][0]}")
    return row


def parts_of(layers: Sequence[Layer]) -> list[Part]:
    """The kernels and views of a network, as `alive` leaves it, in order: all of its layers but inputs."""
    found = [Part(i, (layer,), None) for i, layer in enumerate(layers) if isinstance(layer, VIEW)]
    for kernel in kernels(layers):
        position = kernel.makes
        for _ in kernel.fused:
            position = layers[position].inputs[0]
        found.append(Part(position, (kernel.layer, *kernel.fused), kernel))
    return sorted(found, key=lambda part: part.position)

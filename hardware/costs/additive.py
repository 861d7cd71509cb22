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

from hardware.costs.kernels import VIEW, Kernel, kernels
from search_spaces.alive import alive
from search_spaces.layers import Input, Layer, Shape

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
        self._known: dict[tuple[tuple[Shape, ...], tuple[Layer, ...]], np.ndarray] = {}

    def __call__(self, layers: Sequence[Layer], parts: Sequence[Part]) -> Float[np.ndarray, "parts values"]:
        """What the inputs alone cost, then what each part adds.

        Args:
          layers: the network, as `alive` leaves it.
          parts: its parts.
        """
        found = [row_of(self.cost, tuple(layer for layer in layers if isinstance(layer, Input)))]
        for part in parts:
            shapes = tuple(layers[i].shape for i in part.layers[0].inputs)
            own = tuple(
                replace(layer, path="", inputs=(len(shapes) + i - 1,) if i else tuple(range(len(shapes))))
                for i, layer in enumerate(part.layers)
            )
            if (share := self._known.get((shapes, own))) is None:
                alone = tuple(Input(shape=shape) for shape in shapes)
                share = row_of(self.cost, (*alone, *own)) - row_of(self.cost, alone)
                self._known[shapes, own] = share
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

"""A cost of a whole network as what each of its kernels adds, where it is a sum over them.

A model of latency or energy is a function of a network. What a kernel adds to it is found by giving it networks of one
kernel each: no model has to say how it adds up, and none is believed to.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from hardware.costs.kernels import VIEW, Kernel, kernels
from search_spaces.alive import alive
from search_spaces.layers import Input, Layer, Shape

NetworkCost = Callable[[Sequence[Layer]], Any]
"""A function of a network: a number, or a row of them."""

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

    def __call__(
        self, layers: Sequence[Layer], steps: Sequence[tuple[Layer, ...]]
    ) -> Float[np.ndarray, "parts values"]:
        """The part of the inputs alone, then that of each step.

        Args:
          layers: the network, as `alive` leaves it.
          steps: what `chains` gives of it.
        """
        inputs = tuple(layer for layer in layers if isinstance(layer, Input))
        found = [row_of(self.cost, inputs)]
        for step in steps:
            shapes = tuple(layers[i].shape for i in step[0].inputs)
            own = tuple(
                replace(layer, path="", inputs=(len(shapes) + i - 1,) if i else tuple(range(len(shapes))))
                for i, layer in enumerate(step)
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
        whole, parts = row_of(self.cost, layers), self(layers, chains(layers, kernels(layers)))
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


def chains(layers: Sequence[Layer], steps: Sequence[Kernel]) -> list[tuple[Layer, ...]]:
    """All layers but inputs, in order: of each kernel those that run in it, and views one by one."""
    found = [(kernel.makes, (kernel.layer, *kernel.fused)) for kernel in steps]
    found += [(i, (layer,)) for i, layer in enumerate(layers) if isinstance(layer, VIEW)]
    return [chain for _, chain in sorted(found, key=lambda each: each[0])]

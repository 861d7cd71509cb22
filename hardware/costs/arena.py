"""What an int8 network takes of tflite-micro's arena, from its layers: TFLite's tensors, packed as they are planned.

`memory.py` says what must be alive at once under the best of rules. tflite-micro keeps other ones: nothing works in
place, padding that TFLite's operators don't know is an operator of its own, and tensors lie where a greedy planner puts
them, with gaps between. That is what an arena on a board must hold.
"""

import math
from bisect import insort
from collections.abc import Sequence
from typing import NamedTuple

from hardware.costs.kernels import fused_chain, readers_of
from search_spaces.alive import alive
from search_spaces.layers import (
    Activation,
    Add,
    AvgPool,
    Channels,
    Concat,
    Conv,
    Dense,
    Depthwise,
    Flatten,
    GlobalPool,
    Input,
    Layer,
    MaxPool,
    Norm,
    Scale,
    Shape,
    Shuffle,
    Tokens,
    Zeros,
    padding_of,
    same_padding,
)

ALIGNMENT = 16
"""Bytes; every tensor begins at a multiple of it."""

FUSES = Conv | Depthwise | Dense | Norm | Add | Scale | AvgPool | MaxPool
"""What a ReLU runs inside of, in TFLite."""


class Buffer(NamedTuple):
    """A tensor's need of memory.

    Attributes:
      size: bytes.
      first: step that makes it.
      last: step that reads it last, itself included.
    """

    size: int
    first: int
    last: int


def arena_activation_bytes(layers: Sequence[Layer]) -> int:
    """Bytes of tflite-micro's arena that activations take (what it calls its head), for one image in int8.

    Equal to the byte for the networks of `experiments/benchmarks/arena.py`; what TFLite's converter makes of stranger
    graphs is not all known here. Kernels' scratch buffers are not in it (the reference kernels' are small), nor is what
    stays in the arena for good: the structures of tensors and operators.

    Args:
      layers: the network.

    Raises:
      ValueError: on a layer of tokens or of attention, whose operators in TFLite are not known here.
    """
    return planned_bytes(buffers(layers))


def planned_bytes(needs: Sequence[Buffer]) -> int:
    """The memory that a plan of these buffers takes.

    Buffers are placed from the largest on, of equal ones the later first, each in the lowest gap between those that
    are alive together with it.

    References:
      tflite-micro's GreedyMemoryPlanner.
    """
    sizes = [-(-need.size // ALIGNMENT) * ALIGNMENT for need in needs]
    placed: list[tuple[int, int]] = []  # offset and number, by offset
    for number in sorted(range(len(needs)), key=lambda each: (-sizes[each], -each)):
        need, offset = needs[number], 0
        for begin, other in placed:
            if need.first <= needs[other].last and needs[other].first <= need.last:
                if begin - offset >= sizes[number]:
                    break
                offset = max(offset, begin + sizes[other])
        insort(placed, (offset, number))
    return max((offset + sizes[number] for offset, number in placed), default=0)


def buffers(layers: Sequence[Layer]) -> tuple[Buffer, ...]:
    """The tensors of a network's int8 TFLite file, in the order in which they are made.

    Raises:
      ValueError: on a layer of tokens or of attention.
    """
    steps = _Steps(alive(layers))
    for position in range(len(steps.layers)):
        steps.write(position)
    end = len(steps.sizes) - 1
    last = {made: made for made in range(end + 1)}
    for step, reads in enumerate(steps.reads):
        last |= dict.fromkeys(reads, step)
    last[steps.tensors[-1]] = end
    return tuple(Buffer(size, made, last[made]) for made, size in enumerate(steps.sizes))


class _Steps:
    """Operators as TFLite has them; each makes one tensor, of the step's number."""

    def __init__(self, layers: Sequence[Layer]):
        self.layers = layers
        self.readers = readers_of(layers)
        self.folded = {
            chain[0]
            for position in range(len(layers))
            if (chain := fused_chain(layers, self.readers, position)) and isinstance(layers[chain[0]], Norm)
        }
        self.tensors: list[int] = []  # of each layer
        self.sizes: list[int] = []
        self.reads: list[tuple[int, ...]] = []

    def make(self, size: int, *reads: int) -> int:
        self.sizes.append(size)
        self.reads.append(reads)
        return len(self.sizes) - 1

    def write(self, position: int) -> None:
        layer, size = self.layers[position], math.prod(self.layers[position].shape)
        x = [self.tensors[source] for source in layer.inputs]
        match layer:
            case Input():
                tensor = self.make(size)
            case Conv() | Depthwise():
                tensor = self.make(size, self._padded(layer, x[0]))
            case Norm() if position in self.folded:
                tensor = x[0]
            case Norm():
                tensor = self.make(size, self.make(size, x[0]))
            case Activation():
                tensor = self._activation(layer, size, x[0])
            case AvgPool():
                tensor = self.make(size, self._padded(layer, x[0]))
                tensor = self.make(size, tensor) if self._pads(layer) and any(padding_of(layer)) else tensor
            case MaxPool():
                tensor = self.make(size, self._padded(layer, x[0]))
            case Concat():  # those of a smaller range than the largest are brought to the same scale
                largest = max(reversed(x), key=lambda each: self.sizes[each])
                tensor = self.make(
                    size, *(each if each == largest else self.make(self.sizes[each], each) for each in x)
                )
            case Shuffle():
                tensor = self.make(size, self.make(size, self.make(size, x[0])))
            case Flatten() | Tokens():
                tensor = x[0] if size == self.layers[layer.inputs[0]].shape[-1] else self.make(size, x[0])
            case Dense() | GlobalPool() | Channels() | Zeros() | Add() | Scale():
                tensor = self.make(size, *x)
            case _:
                raise ValueError(
                    f"layer {position} is a {type(layer).__name__}, whose TFLite operators are not known here; take the"
                    " arena itself (`Micro.arena`)"
                )
        self.tensors.append(tensor)

    def _activation(self, layer: Activation, size: int, x: int) -> int:
        (source,) = layer.inputs
        inside = isinstance(self.layers[source], FUSES) and len(self.readers[source]) == 1
        match layer.kind:
            case "relu" | "relu6":
                return x if inside else self.make(size, x)
            case "hard_sigmoid":  # the ReLU6 of x + 3, and a product
                return self.make(size, x if inside else self.make(size, x))
            case "swish":
                return self.make(size, x, self.make(size, x))
            case _:
                return self.make(size, x)

    def _padded(self, layer: Conv | Depthwise | AvgPool | MaxPool, x: int) -> int:
        """What the operator reads: its input, or a padded or cropped copy."""
        if not self._pads(layer):
            return x
        shape, padding = self.layers[layer.inputs[0]].shape, padding_of(layer)
        if min(padding) < 0:
            shape = _around(shape, *(min(side, 0) for side in padding))
            x = self.make(math.prod(shape), x)
        if max(padding) > 0:
            x = self.make(math.prod(_around(shape, *(max(side, 0) for side in padding))), x)
        return x

    def _pads(self, layer: Conv | Depthwise | AvgPool | MaxPool) -> bool:
        """Whether its padding is none that TFLite's operators know."""
        padding, dilation = padding_of(layer), getattr(layer, "dilation", 1)
        sides = (layer.kernel, getattr(layer, "kernel_width", None) or layer.kernel)
        span = (dilation * (sides[0] - 1) + 1, dilation * (sides[1] - 1) + 1)
        shape = self.layers[layer.inputs[0]].shape
        return any(padding) and padding != same_padding(shape, span, layer.stride)


def _around(shape: Shape, above: int, below: int, left: int, right: int) -> Shape:
    return shape[0] + above + below, shape[1] + left + right, shape[2]

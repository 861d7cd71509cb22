"""What a network needs of memory: activations while it runs (RAM) and weights at rest (flash)."""

import math
from collections.abc import Sequence

from hardware.costs.kernels import Kernel, kernels, readers_of, viewed
from hardware.costs.precision import WIDTHS, Precision, in_bytes
from search_spaces.alive import alive
from search_spaces.layers import (
    Activation,
    Add,
    Elementwise,
    Input,
    Layer,
    LayerNorm,
    Norm,
    Positions,
    RelativeMix,
    RelativeScores,
    Scale,
    Softmax,
    Zeros,
)

IN_PLACE = (
    Activation
    | Norm
    | LayerNorm
    | Softmax
    | Positions
    | Add
    | Scale
    | Zeros
    | Elementwise
    | RelativeScores
    | RelativeMix
)


def peak_bytes(layers: Sequence[Layer], precision: Precision) -> int:
    """The most activation memory alive at once, for one image, in the order in which the layers stand.

    A tensor lives from the kernel that makes it to the last kernel that reads it; what nobody reads is an output and
    lives to the end. While a kernel runs, its inputs and its output are all alive. Norms and activations fused into
    the kernel before them (`kernels.py`) make no tensor, and neither does flattening, or reading positions as tokens.
    What is `IN_PLACE` and a kernel of its own works in place: its output takes the place of an input of the same shape
    that has no later reader. Nothing is split, and a concatenation copies what it joins. A runtime's scratch
    buffers (im2col, Winograd), the fragments of its allocator and layers that can't change the answer
    (`search_spaces/alive.py`) are not in it.

    Args:
      layers: the network.
      precision: of activations.
    """
    layers = alive(layers)
    return in_bytes(max(values_held(layers, kernels(layers))), WIDTHS[precision].activation)


def values_held(layers: Sequence[Layer], steps: Sequence[Kernel]) -> list[int]:
    """How many activation values are alive: before the first kernel, then while each kernel runs.

    Args:
      layers: the network, as `alive` leaves it.
      steps: its kernels.
    """
    end, held_by = len(steps), viewed(layers)
    last_read = {source: step for step, kernel in enumerate(steps) for source in kernel.reads}
    last_read |= {held_by[i]: end for i, readers in enumerate(readers_of(layers)) if not readers}
    held = {i: math.prod(layer.shape) for i, layer in enumerate(layers) if isinstance(layer, Input)}
    total = sum(held.values())
    found = [total]
    for step, kernel in enumerate(steps):
        if isinstance(kernel.layer, IN_PLACE):
            for tensor, source in zip(kernel.reads, kernel.layer.inputs, strict=True):
                if last_read[tensor] == step and layers[source].shape == kernel.layer.shape:
                    total -= held.pop(tensor)  # its place is the output's
                    break
        held[kernel.makes] = kernel.output_values
        total += kernel.output_values
        found.append(total)
        total -= sum(held.pop(tensor, 0) for tensor in kernel.reads if last_read[tensor] == step)
    return found


def flash_bytes(layers: Sequence[Layer], precision: Precision) -> int:
    """Bytes of weights and biases at rest.

    A norm after a convolution or dense layer is folded into it and leaves one bias per channel; a norm on its own is
    a factor and an offset per channel. Weights of 4 bits lie two to a byte. The graph's description, the scales of
    quantised tensors and the runtime's code are not in it, nor are layers that can't change the answer.

    Args:
      layers: the network.
      precision: of weights and biases.
    """
    widths, steps = WIDTHS[precision], kernels(alive(layers))
    return sum(in_bytes(k.weight_values, widths.weight) + in_bytes(k.bias_values, widths.bias) for k in steps)

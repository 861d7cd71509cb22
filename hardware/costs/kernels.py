"""Layers fused to kernels, as embedded runtimes run them.

A convolution or dense layer, the batch normalisation after it (folded into its weights) and the nonlinearity after
that (applied while the result is written) are one kernel, as long as nothing else reads what is in between. A `VIEW`
only says in which shape the same numbers are read, and is none. Every other layer is a kernel of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from search_spaces.layers import (
    Activation,
    Add,
    AvgPool,
    Channels,
    Concat,
    Conv,
    Dense,
    Depthwise,
    Elementwise,
    Flatten,
    GlobalPool,
    Input,
    Layer,
    LayerNorm,
    MaxPool,
    Mix,
    Norm,
    PatchEmbed,
    Positions,
    Relative,
    Scale,
    Scores,
    Shuffle,
    Softmax,
    Take,
    Tokens,
    Zeros,
    macs,
    params,
    taps,
)

KernelKind = Literal["conv", "pointwise", "depthwise", "dense", "pool", "elementwise"]

VIEW = Flatten | Tokens
"""Moves nothing where channels lie last, as embedded runtimes have them."""


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One call of a runtime's routine.

    Attributes:
      kind: `conv` (a window above 1x1, or patches), `pointwise` (a product of matrices: a 1x1 convolution, a dense
        layer of tokens, what attention multiplies), `depthwise` (each channel alone), `dense` (of a vector), `pool` or
        `elementwise` (also what only copies: channels joined, taken or dealt out).
      layer: the main layer.
      fused: the norm and activation run with it, in order.
      reads: positions in the layers' tuple of the tensors it reads: of a view, what it is a view of.
      makes: position of the tensor it makes: that of its last layer.
      macs: multiply-accumulates for one image.
      operations: what the arithmetic unit has to do: the MACs, or one for each value read where there are none.
      input_values: values read for one image, weights excepted.
      output_values: values written for one image.
      weight_values: weights that must be stored, a folded norm's bias excepted.
      bias_values: biases that must be stored: the layer's own, or the one a folded norm leaves.
    """

    kind: KernelKind
    layer: Layer
    fused: tuple[Layer, ...]
    reads: tuple[int, ...]
    makes: int
    macs: int
    operations: int
    input_values: int
    output_values: int
    weight_values: int
    bias_values: int


def readers_of(layers: Sequence[Layer]) -> list[list[int]]:
    """The positions that read each layer's output, in order.

    Raises:
      ValueError: when a layer reads itself or a later one.
    """
    readers: list[list[int]] = [[] for _ in layers]
    for position, layer in enumerate(layers):
        for source in layer.inputs:
            if not 0 <= source < position:
                raise ValueError(
                    f"layer {position} ({type(layer).__name__} `{layer.path}`) reads layer {source};"
                    " inputs must be positions before its own"
                )
            readers[source].append(position)
    return readers


def viewed(layers: Sequence[Layer]) -> list[int]:
    """For each layer the position of the tensor that holds its output: its own, or of a view what it is a view of."""
    held: list[int] = []
    for position, layer in enumerate(layers):
        held.append(held[layer.inputs[0]] if isinstance(layer, VIEW) else position)
    return held


def kernels(layers: Sequence[Layer]) -> tuple[Kernel, ...]:
    """The kernels of a network in execution order; the `Input` and views are none.

    Raises:
      ValueError: on a layer of unknown kind, or one that reads a later one.
    """
    readers = readers_of(layers)
    held = viewed(layers)
    taken: set[int] = set()
    found: list[Kernel] = []
    for position, layer in enumerate(layers):
        if position in taken or isinstance(layer, Input | VIEW):
            continue
        chain = fused_chain(layers, readers, position)
        taken.update(chain)
        found.append(_kernel(layers, held, position, chain))
    return tuple(found)


def fused_chain(layers: Sequence[Layer], readers: Sequence[Sequence[int]], position: int) -> tuple[int, ...]:
    """Positions of the norm and the activation that run inside the kernel of the layer at `position`."""
    chain: tuple[int, ...] = ()
    if isinstance(layers[position], Conv | Depthwise | Dense):
        for wanted in (Norm, Activation):
            end = chain[-1] if chain else position
            if len(readers[end]) == 1 and isinstance(layers[readers[end][0]], wanted):
                chain += (readers[end][0],)
    return chain


def _kernel(layers: Sequence[Layer], held: Sequence[int], position: int, chain: tuple[int, ...]) -> Kernel:
    layer = layers[position]
    kind = _kind(position, layer)
    channels = layer.shape[-1]
    weight_values, bias_values = params(layer), 0
    match layer:
        case Conv() | Depthwise() | Dense():
            bias_values = channels * layer.bias
        case PatchEmbed() | LayerNorm() | Norm():  # a norm on its own: a factor and an offset for each channel
            bias_values = channels
        case Positions():  # the class token is added to its position once and for all
            weight_values = layer.shape[0] * channels
        case _:
            pass
    weight_values -= bias_values
    if chain and isinstance(layers[chain[0]], Norm):
        bias_values = channels
    input_values = sum(math.prod(layers[source].shape) for source in layer.inputs)
    return Kernel(
        kind=kind,
        layer=layer,
        fused=tuple(layers[i] for i in chain),
        reads=tuple(held[i] for i in layer.inputs),
        makes=chain[-1] if chain else position,
        macs=macs(layer),
        operations=macs(layer) or input_values,
        input_values=input_values,
        output_values=math.prod(layer.shape),
        weight_values=weight_values,
        bias_values=bias_values,
    )


def _kind(position: int, layer: Layer) -> KernelKind:
    match layer:
        case Conv() if 1 < layer.groups == layer.in_channels:
            return "depthwise"
        case Conv():
            return "pointwise" if taps(layer) == 1 else "conv"
        case Depthwise():
            return "depthwise"
        case Dense():
            return "dense" if layer.shape[:2] == (1, 1) else "pointwise"
        case PatchEmbed():
            return "conv"
        case Scores() | Mix() | Relative():
            return "pointwise"
        case GlobalPool() | AvgPool() | MaxPool():
            return "pool"
        case Activation() | Norm() | LayerNorm() | Softmax() | Positions() | Add() | Scale() | Zeros():
            return "elementwise"
        case Take() | Concat() | Channels() | Shuffle() | Elementwise():
            return "elementwise"
        case _:
            raise ValueError(f"layer {position} is a {type(layer).__name__}, which no kernel is known for")

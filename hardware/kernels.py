"""Layers fused to kernels, as embedded runtimes run them.

A convolution or dense layer, the batch normalisation after it (folded into its weights) and the nonlinearity after
that (applied while the result is written) are one kernel, as long as nothing else reads what is in between. Every
other layer is a kernel of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from search_spaces.layers import (
    Activation,
    Add,
    AvgPool,
    Conv,
    Dense,
    Depthwise,
    GlobalPool,
    Input,
    Layer,
    LayerNorm,
    Mix,
    Norm,
    PatchEmbed,
    Positions,
    Relative,
    Scale,
    Scores,
    Softmax,
    Take,
    Zeros,
    macs,
    params,
)

KernelKind = Literal["conv", "pointwise", "depthwise", "dense", "pool", "elementwise"]


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One call of a runtime's routine.

    Attributes:
      kind: `conv` (kernel above 1, or patches), `pointwise` (a product of matrices: a 1x1 convolution, a dense layer of
        tokens, what attention multiplies), `depthwise`, `dense` (of a vector), `pool` or `elementwise`.
      layer: the main layer.
      fused: the norm and activation run with it, in order.
      reads: positions in the layers' tuple of the tensors it reads.
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


def kernels(layers: Sequence[Layer]) -> tuple[Kernel, ...]:
    """The kernels of a network in execution order; the `Input` is none.

    Raises:
      ValueError: on a layer of unknown kind, or one that reads a later one.
    """
    readers = readers_of(layers)
    taken: set[int] = set()
    found: list[Kernel] = []
    for position, layer in enumerate(layers):
        if position in taken or isinstance(layer, Input):
            continue
        chain = fused_chain(layers, readers, position)
        taken.update(chain)
        found.append(_kernel(layers, position, chain))
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


def _kernel(layers: Sequence[Layer], position: int, chain: tuple[int, ...]) -> Kernel:
    layer = layers[position]
    channels = layer.shape[-1]
    weight_values = bias_values = 0
    match layer:
        case Conv():
            kind: KernelKind = "pointwise" if layer.kernel == 1 else "conv"
            weight_values = channels * layer.kernel**2 * layer.in_channels
        case Depthwise():
            kind = "depthwise"
            weight_values = channels * layer.kernel**2
        case Dense():
            kind = "dense" if layer.shape[:2] == (1, 1) else "pointwise"
            weight_values, bias_values = channels * layer.in_channels, channels
        case PatchEmbed():
            kind = "conv"
            weight_values, bias_values = params(layer) - channels, channels
        case Scores() | Mix() | Relative():
            kind = "pointwise"
            weight_values = params(layer)
        case LayerNorm():
            kind = "elementwise"
            weight_values, bias_values = channels, channels
        case Positions():  # the class token is added to its position once and for all
            kind = "elementwise"
            weight_values = layer.shape[0] * channels
        case GlobalPool() | AvgPool():
            kind = "pool"
        case Norm():  # on its own: a factor and an offset for each channel
            kind = "elementwise"
            weight_values, bias_values = channels, channels
        case Activation() | Add() | Scale() | Zeros() | Softmax() | Take():
            kind = "elementwise"
        case _:
            raise ValueError(f"layer {position} is a {type(layer).__name__}, which no kernel is known for")
    if chain and isinstance(layers[chain[0]], Norm):
        bias_values = channels
    input_values = sum(math.prod(layers[source].shape) for source in layer.inputs)
    return Kernel(
        kind=kind,
        layer=layer,
        fused=tuple(layers[i] for i in chain),
        reads=layer.inputs,
        makes=chain[-1] if chain else position,
        macs=macs(layer),
        operations=macs(layer) or input_values,
        input_values=input_values,
        output_values=math.prod(layer.shape),
        weight_values=weight_values,
        bias_values=bias_values,
    )

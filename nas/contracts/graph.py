"""Layers follow one from the other: each reads earlier ones, of the shapes that its kind takes."""

import math
from collections.abc import Sequence

from hardware.export.weights import weight_shapes
from nas.contracts.case import Case
from nas.contracts.contract import ContractError, require
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
    RelativeMix,
    RelativeScores,
    Scale,
    Scores,
    Shape,
    Shuffle,
    Softmax,
    Take,
    Tokens,
    Zeros,
    padding_of,
    windows,
)


def layers_follow_one_from_the_other(case: Case) -> None:
    """One image enters, every layer reads earlier ones of fitting shapes, and all but the last are read."""
    mend = "write layers with `search_spaces.graph.Graph`, which derives shapes and positions"
    for row in case.rows:
        layers = case.space.layers(row)
        images = [i for i, layer in enumerate(layers) if isinstance(layer, Input)]
        require(images == [0], f"the image must be the first layer and no other, got `Input` at {images}", mend)
        read = {i for layer in layers for i in layer.inputs}
        unread = sorted(set(range(len(layers) - 1)) - read)
        require(
            not unread, f"no layer reads layer {unread[:1]}, though it is not the last", "leave out what nobody reads"
        )
        require(len(layers) - 1 not in read, "the last layer is read by another", mend)
        for position, layer in enumerate(layers):
            require(
                all(0 <= i < position for i in layer.inputs),
                f"layer {position} reads {layer.inputs}, not all of them before it",
                mend,
            )
            before = [layers[i].shape for i in layer.inputs]
            require(fits(layer, before), f"layer {position} reads shapes {before}, which is no way to {layer}", mend)
        try:
            weight_shapes(layers)
        except ValueError as error:  # two layers share a path
            raise ContractError(str(error), "give each layer with parameters a path of its own") from error


def fits(layer: Layer, before: Sequence[Shape]) -> bool:
    """Whether a layer's inputs have the shapes that lead to its own."""
    match layer, list(before):
        case ((Conv() | Depthwise()), [(height, width, channels)]):
            ins = layer.in_channels if isinstance(layer, Conv) else layer.shape[-1]
            kernel = (layer.kernel, (layer.kernel_width or layer.kernel) if isinstance(layer, Conv) else layer.kernel)
            above, below, left, right = padding_of(layer)
            rows = windows(height, kernel[0], layer.stride, above, below, layer.dilation)
            columns = windows(width, kernel[1], layer.stride, left, right, layer.dilation)
            grouped = isinstance(layer, Depthwise) or channels % layer.groups == layer.shape[-1] % layer.groups == 0
            return grouped and channels == ins and layer.shape[:2] == (rows, columns)
        case ((AvgPool() | MaxPool()), [(height, width, channels)]):
            above, below, left, right = padding_of(layer)
            rows = windows(height, layer.kernel, layer.stride, above, below)
            columns = windows(width, layer.kernel, layer.stride, left, right)
            return layer.shape == (rows, columns, channels)
        case Dense(), [shape]:
            return shape == (*layer.shape[:2], layer.in_channels)
        case ((Norm() | LayerNorm() | Softmax() | Activation() | Zeros() | Shuffle()), [shape]):
            return shape == layer.shape
        case Elementwise(), [_, *_]:
            return layer.shape in before
        case Concat(), [(height, width, _), *_]:
            channels = sum(shape[-1] for shape in before)
            return layer.shape == (height, width, channels) and {shape[:2] for shape in before} == {(height, width)}
        case Channels(), [(height, width, channels)]:
            return layer.shape[:2] == (height, width) and channels >= layer.start + layer.shape[-1]
        case Flatten(), [shape]:
            return layer.shape == (1, 1, math.prod(shape))
        case Tokens(), [(height, width, channels)]:
            return layer.shape == (height * width, 1, channels)
        case GlobalPool(), [shape]:
            return layer.shape == (1, 1, shape[-1])
        case Add(), [first, second]:
            return first == second == layer.shape
        case Scale(), [first, second]:
            return first == layer.shape and second == (1, 1, layer.shape[-1])
        case _:
            return _fits_tokens(layer, before)


def _fits_tokens(layer: Layer, before: Sequence[Shape]) -> bool:
    """The layers of transformers."""
    match layer, list(before):
        case PatchEmbed(), [(height, width, channels)]:
            return layer.shape[0] * layer.patch**2 == height * width and channels == layer.in_channels
        case Positions(), [shape]:
            return shape == (layer.shape[0] - layer.class_token, *layer.shape[1:])
        case Take(), [shape]:
            return shape[0] >= layer.start + layer.shape[0] and shape[1:] == layer.shape[1:]
        case Scores(), [first, second]:
            tokens, keys, heads = layer.shape
            width = heads * layer.head_dim
            return first == (tokens, 1, width) and second == (keys, 1, width)
        case Mix(), [first, second]:
            tokens, _, channels = layer.shape
            return first == (tokens, tokens, channels // layer.head_dim) and second == layer.shape
        case RelativeScores(), [first, second]:
            tokens, _, heads = layer.shape
            standing = tokens == layer.side**2 + layer.class_token
            return standing and first == layer.shape and second == (tokens, 1, heads * layer.head_dim)
        case RelativeMix(), [first, second]:
            tokens, _, channels = layer.shape
            standing = tokens == layer.side**2 + layer.class_token
            return standing and first == layer.shape and second == (tokens, tokens, channels // layer.head_dim)
        case Input(), []:
            return True
        case _:
            return False

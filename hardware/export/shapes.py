"""The shape that follows from a layer's inputs, so that layers that don't fit together are refused before they run."""

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

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
    Layer,
    LayerNorm,
    MaxPool,
    Mix,
    Norm,
    PatchEmbed,
    Positions,
    Relative,
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

T = TypeVar("T")


def check_layer(layers: Sequence[Layer], position: int) -> None:
    """Raises unless the layer's attributes make sense and its shape follows from its inputs.

    Layers of a kind not known here pass.

    Raises:
      ValueError: says which layer, and what is wrong with it.
    """
    layer = layers[position]
    shapes = [layers[i].shape for i in layer.inputs]
    where = f"layer {position} ({type(layer).__name__} `{layer.path}`)"
    if isinstance(layer, Conv | Depthwise | AvgPool | MaxPool):
        _check_window(where, layer)
    if isinstance(layer, Conv):
        channels = layer.shape[-1]
        if layer.in_channels % layer.groups or channels % layer.groups:
            raise ValueError(
                f"{where}: `groups` must divide the {layer.in_channels} channels read and the {channels} made, got"
                f" {layer.groups}; did you mean {math.gcd(layer.in_channels, channels, layer.groups)}?"
            )
    if isinstance(layer, Shuffle) and (layer.groups < 1 or layer.shape[-1] % layer.groups):
        raise ValueError(f"{where}: `groups` must divide its {layer.shape[-1]} channels, got {layer.groups}")
    if isinstance(layer, Dense) and (shapes[0][-1] != layer.in_channels or layer.shape[:2] == (1, 1) != shapes[0][:2]):
        raise ValueError(
            f"{where}: a Dense reads a vector (1, 1, {layer.in_channels}), got {shapes[0]}; pool or flatten it first"
        )
    expected = shape_of(layer, shapes)
    if layer.shape != expected or min(layer.shape) < 1:
        raise ValueError(f"{where} has shape {layer.shape}, but its inputs {shapes} give {expected}")


def shape_of(layer: Layer, shapes: Sequence[Shape]) -> Shape | None:
    """The shape that follows from the inputs'; None where they don't fit together, the layer's own where it is free."""
    if not shapes:
        return layer.shape
    first = shapes[0]
    match layer:
        case Conv():
            size = _windowed(layer, first, (layer.kernel, layer.kernel_width or layer.kernel), layer.dilation)
            return (*size, layer.shape[-1]) if first[-1] == layer.in_channels else None
        case Depthwise():
            return *_windowed(layer, first, (layer.kernel, layer.kernel), layer.dilation), first[-1]
        case AvgPool() | MaxPool():
            return *_windowed(layer, first, (layer.kernel, layer.kernel)), first[-1]
        case Dense():
            return *first[:2], layer.shape[-1]
        case GlobalPool():
            return 1, 1, first[-1]
        case Norm() | Activation() | Add() | Zeros():
            return _only(shapes)
        case Scale():
            return first if shapes[1] == (1, 1, first[-1]) else shapes[1]
        case Concat():
            size = _only(shape[:2] for shape in shapes)
            return (*size, sum(shape[-1] for shape in shapes)) if size else None
        case Channels():
            return (*first[:2], layer.shape[-1]) if 0 <= layer.start <= first[-1] - layer.shape[-1] else None
        case Shuffle() | LayerNorm() | Softmax():
            return first
        case Flatten():
            return 1, 1, math.prod(first)
        case Tokens():
            return first[0] * first[1], 1, first[2]
        case PatchEmbed() | Positions() | Take() | Scores() | Mix() | Relative():
            return _of_tokens(layer, first, shapes[-1])
        case _:
            return layer.shape


def _of_tokens(
    layer: PatchEmbed | Positions | Take | Scores | Mix | Relative, one: Shape, other: Shape
) -> Shape | None:
    match layer:
        case PatchEmbed():
            height, width, channels = one
            whole = height % layer.patch == width % layer.patch == 0 and channels == layer.in_channels
            return (height // layer.patch * (width // layer.patch), 1, layer.shape[-1]) if whole else None
        case Positions():
            return one[0] + layer.class_token, *one[1:]
        case Take():
            return (layer.shape[0], *one[1:]) if 0 <= layer.start <= one[0] - layer.shape[0] else None
        case Scores():
            fits = one[1] == other[1] == 1 and one[2] == other[2] and one[2] % layer.head_dim == 0
            return (one[0], other[0], one[2] // layer.head_dim) if fits else None
        case Mix():
            fits = other == (one[1], 1, one[2] * layer.head_dim) and one[0] == one[1]
            return other if fits else None
        case Relative():
            pair, tokens = (one, other) if isinstance(layer, RelativeScores) else (other, one)
            count = layer.side**2 + layer.class_token
            fits = pair[:2] == (count, count) and tokens == (count, 1, pair[2] * layer.head_dim)
            return one if fits else None


def _check_window(where: str, layer: Conv | Depthwise | AvgPool | MaxPool) -> None:
    for name in ("kernel", "kernel_width", "stride", "dilation", "groups"):
        value = getattr(layer, name, None)
        if value is not None and value < 1:
            raise ValueError(f"{where}: `{name}` must be 1 or more, got {value}")
    padding = padding_of(layer)
    if min(padding) < 0 and not isinstance(layer, Conv):
        raise ValueError(f"{where}: `padding` must be 0 or more on each side, got {padding}")
    if isinstance(layer, AvgPool | MaxPool) and max(padding) >= layer.kernel:
        raise ValueError(
            f"{where}: `padding` must be below the window's {layer.kernel}, got {padding}: a window that lies on"
            " padding alone has no value"
        )


def _windowed(
    layer: Conv | Depthwise | AvgPool | MaxPool, shape: Shape, kernel: tuple[int, int], dilation: int = 1
) -> tuple[int, int]:
    above, below, left, right = padding_of(layer)
    return (
        windows(shape[0], kernel[0], layer.stride, above, below, dilation),
        windows(shape[1], kernel[1], layer.stride, left, right, dilation),
    )


def _only(found: Iterable[T]) -> T | None:
    first, *others = found
    return None if any(other != first for other in others) else first

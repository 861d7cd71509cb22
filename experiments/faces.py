"""How a node of a drawing looks: the colour of its kind, and what is written on it."""

from dataclasses import dataclass

from experiments.figures import PALETTE
from experiments.nodes import Node
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
)

WHITE = "#FFFFFF"
KINDS: dict[str, str] = {
    "convolution": PALETTE["blue"],
    "1×1 convolution": PALETTE["sky"],
    "depthwise convolution": PALETTE["orange"],
    "dense": PALETTE["green"],
    "attention": PALETTE["purple"],
    "pooling": PALETTE["yellow"],
    "squeeze-excite": PALETTE["vermillion"],
    "normalisation": PALETTE["grey"],
    "moves or combines": WHITE,
}
"""What the colours mean."""
SYMBOLS: dict[type[Layer], str] = {Add: "+", Scale: "×", Concat: "‖"}
DARK = ("convolution", "dense", "squeeze-excite")
"""Kinds whose colour wants white letters."""
SHORT = {"hard_swish": "h-swish", "hard_sigmoid": "h-sigmoid"}


@dataclass(frozen=True, kw_only=True)
class Face:
    """How a node looks.

    Attributes:
      kind: one of `KINDS`; empty for the image.
      says: what it does, in its upper line.
      also: its lower line, smaller.
      stride: by how much it shrinks the image.
    """

    kind: str
    says: str
    also: str
    stride: int = 1


def face_of(node: Node) -> Face:
    """What is drawn and written for a node."""
    main, channels = node.main, f"{node.shape[-1]}"
    if node.gate:
        squeezed = min(each.shape[-1] for each in node.layers if isinstance(each, Conv | Dense))
        return Face(kind="squeeze-excite", says="SE", also=f"{squeezed}")
    match main:
        case Input():
            return Face(kind="", says="image", also="×".join(map(str, main.shape)))
        case Conv():
            window = f"{main.kernel}×{main.kernel_width or main.kernel}"
            dilated = f" d{main.dilation}" if main.dilation > 1 else ""
            groups = f" g{main.groups}" if main.groups > 1 else ""
            grown = "" if groups or window != "1×1" else _ratio(node.shape[-1], main.in_channels)
            kind = "1×1 convolution" if window == "1×1" else "convolution"
            return Face(kind=kind, says=f"{window}{dilated}{groups}{grown}", also=channels, stride=main.stride)
        case Depthwise():
            dilated = f" d{main.dilation}" if main.dilation > 1 else ""
            says = f"{main.kernel}×{main.kernel}{dilated}"
            return Face(kind="depthwise convolution", says=says, also=channels, stride=main.stride)
        case Dense():
            return Face(kind="dense", says=f"dense{_ratio(node.shape[-1], main.in_channels)}", also=channels)
        case PatchEmbed():
            return Face(kind="convolution", says=f"{main.patch}×{main.patch} patches", also=channels)
        case AvgPool() | MaxPool():
            word = "avg" if isinstance(main, AvgPool) else "max"
            says = f"{word} {main.kernel}×{main.kernel}"
            return Face(kind="pooling", says=says, also=channels, stride=main.stride)
        case GlobalPool():
            return Face(kind="pooling", says="mean", also=channels)
        case Scores():
            return Face(kind="attention", says="q·k", also=f"{node.shape[-1]} heads")
        case Mix():
            return Face(kind="attention", says="·v", also=channels)
        case Relative():
            return Face(kind="attention", says="position", also="")
        case Softmax():
            return Face(kind="attention", says="softmax", also="")
        case Norm() | LayerNorm():
            return Face(kind="normalisation", says="norm", also=channels)
        case Activation():
            return Face(kind="normalisation", says=SHORT.get(main.kind, main.kind), also="")
        case Elementwise():
            return Face(kind="normalisation", says=main.operation, also="")
        case Channels() | Take():
            end = main.start + (node.shape[-1] if isinstance(main, Channels) else node.shape[0])
            what = "channels" if isinstance(main, Channels) else "tokens"
            return Face(kind="moves or combines", says=f"{main.start}–{end - 1}", also=what)
        case Shuffle():
            return Face(kind="moves or combines", says="shuffle", also=f"{main.groups} groups")
        case Flatten() | Tokens() | Zeros() | Positions():
            return Face(kind="moves or combines", says=type(main).__name__.lower(), also=channels)
        case _:
            return Face(kind="moves or combines", says=SYMBOLS.get(type(main), type(main).__name__.lower()), also="")


def _ratio(outs: int, ins: int) -> str:
    """` ×6` where a layer widens so many times, to a half."""
    ratio = 2 * outs / ins
    return f" ×{ratio / 2:g}" if ratio > 2 and ratio == int(ratio) else ""

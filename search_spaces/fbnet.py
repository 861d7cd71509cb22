"""The FBNet space: 22 layers, each one of nine inverted bottlenecks with parameters of their own, or none.

FBNet: Hardware-Aware Efficient ConvNet Design via Differentiable Neural Architecture Search (arXiv:1812.03443).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

from jaxtyping import Int, PRNGKeyArray

from search_spaces.assembly import Fixed, Place, layers, supernet
from search_spaces.blocks.inverted_bottleneck import InvertedBottleneck
from search_spaces.blocks.stretches import Head, Stem, conv_norm
from search_spaces.checks import at_least_one, not_empty, one_of
from search_spaces.layers import Layer, total_macs, total_params
from search_spaces.network import Network
from search_spaces.reading import Cut
from search_spaces.recipe import Builder, Tensor, within
from search_spaces.space import Choice, check_arch, check_choices
from search_spaces.widths import Width

Convention = Literal["mobile_vision", "timm"]

SKIP = "skip"
BLOCKS = {  # kernel, expansion, groups of the pointwise convolutions
    "k3_e1_g2": (3, 1, 2),
    "k5_e1_g2": (5, 1, 2),
    "k3_e1": (3, 1, 1),
    "k5_e1": (5, 1, 1),
    "k3_e3": (3, 3, 1),
    "k5_e3": (5, 3, 1),
    "k3_e6": (3, 6, 1),
    "k5_e6": (5, 6, 1),
}


@dataclass(frozen=True, kw_only=True)
class FbNetStage:
    """Layers of one width; the first of them has the stride.

    Attributes:
      width: output channels; even, as channels may be in two groups.
      layers: how many.
      stride: of the first.
    """

    width: int
    layers: int = 4
    stride: int = 1

    def __post_init__(self) -> None:
        if self.width < 2 or self.width % 2:
            better = max(2, self.width + self.width % 2)
            raise ValueError(f"`width` of a stage must be even, got {self.width}; did you mean {better}?")
        at_least_one(self, "layers", of="a stage")
        one_of(self, "stride", (1, 2), of="a stage")


@dataclass(frozen=True, kw_only=True)
class FbNet:
    """The space: 9^22, about 9.8 * 10^20, networks as published.

    Differs: options of a layer are ordered by their multiply-accumulates at its place, the cheapest first. Where a
    layer changes the shape, `skip` is a 1x1 convolution with norm and ReLU, as mobile-vision has it.

    Attributes:
      image_size: height and width of the images, px.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      stem_channels: of the first convolution; even.
      stages: the searched layers.
      head_channels: of the last convolution, before pooling.
      convention: `mobile_vision` (the authors' code): every convolution has a bias beside its norm, and an expansion
        of 1 has no expanding convolution. `timm`: no biases, and it has.
    """

    image_size: int = 224
    image_channels: int = 3
    classes: int = 1000
    stem_channels: int = 16
    stages: tuple[FbNetStage, ...] = (
        FbNetStage(width=16, layers=1),
        FbNetStage(width=24, stride=2),
        FbNetStage(width=32, stride=2),
        FbNetStage(width=64, stride=2),
        FbNetStage(width=112),
        FbNetStage(width=184, stride=2),
        FbNetStage(width=352, layers=1),
    )
    head_channels: int = 1984
    convention: Convention = "mobile_vision"

    def __post_init__(self) -> None:
        not_empty(self, "stages")
        at_least_one(self, "image_size", "image_channels", "classes", "stem_channels", "head_channels")
        if self.stem_channels % 2:
            raise ValueError(f"`stem_channels` must be even, got {self.stem_channels}; two groups share them")
        one_of(self, "convention", ("mobile_vision", "timm"))
        check_choices(self.choices)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The block of each layer, `layer1.op` and so on."""
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        return tuple(Choice(name=f"layer{i}.op", options=recipe.options) for i, recipe in enumerate(self._searched, 1))

    @cached_property
    def _searched(self) -> tuple["Candidates", ...]:
        return tuple(self._each_layer())

    def _each_layer(self) -> Iterator["Candidates"]:
        ins = self.stem_channels
        for stage in self.stages:
            for i in range(stage.layers):
                stride = stage.stride if i == 0 else 1
                options = ordered(ins, stage.width, stride, self.convention)
                yield Candidates(outs=stage.width, stride=stride, options=options, convention=self.convention)
                ins = stage.width

    @cached_property
    def _places(self) -> tuple[Place, ...]:
        bias = self.convention == "mobile_vision"
        searched = (
            Place(recipe=recipe, choices=(("op", choice.name),))
            for recipe, choice in zip(self._searched, self._choices, strict=True)
        )
        return (
            Place(recipe=Stem(outs=self.stem_channels, stride=2, activation="relu", conv_bias=bias)),
            *searched,
            Place(recipe=Head(width=self.head_channels, classes=self.classes, activation="relu", conv_bias=bias)),
        )

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: every layer has all nine blocks. Wrap in `jax.jit`: eager creation is slow."""
        return supernet(key, self._places, self.image_channels)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        image = (self.image_size, self.image_size, self.image_channels)
        return layers(self._places, image, Cut.of(self.choices, check_arch(self, arch)))


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """One of several blocks, each with parameters of its own. Its choice: `op`.

    Attributes:
      outs: channels behind it.
      stride: of all of them.
      options: names of `BLOCKS`, or `skip`.
      convention: as of the space.
    """

    outs: int
    stride: int
    options: tuple[str, ...]
    convention: Convention

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The chosen block's output."""
        return b.one_of(x, "op", [within(option, self._block(option)) for option in self.options])

    def _block(self, option: str) -> Any:
        bias = self.convention == "mobile_vision"
        if option == SKIP:
            return Skip(outs=self.outs, stride=self.stride, bias=bias)
        kernel, expansion, groups = BLOCKS[option]
        return InvertedBottleneck(
            outs=self.outs,
            kernels=(kernel,),
            expansions=(expansion,),
            stride=self.stride,
            expands=expansion > 1 or self.convention == "timm",
            groups=groups,
            bias=bias,
        )


@dataclass(frozen=True, kw_only=True)
class Skip:
    """Nothing, where the shape stays; elsewhere a 1x1 convolution, norm and ReLU."""

    outs: int
    stride: int
    bias: bool

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The input in the shape of the output."""
        if self.stride == 1 and x.width == Width(self.outs):
            return x
        return conv_norm(b, x, "conv", self.outs, stride=self.stride, activation="relu", bias=self.bias)


@lru_cache(maxsize=1024)
def ordered(ins: int, outs: int, stride: int, convention: Convention) -> tuple[str, ...]:
    """The options of a layer, the cheapest in multiply-accumulates first, and of equals the one of fewer parameters."""

    def cost(option: str) -> tuple[int, int]:
        one = Candidates(outs=outs, stride=stride, options=(option,), convention=convention)
        found = Fixed(places=(Place(recipe=one),), image=(8, 8, ins)).layers()
        return total_macs(found), total_params(found)

    return tuple(sorted((SKIP, *BLOCKS), key=cost))

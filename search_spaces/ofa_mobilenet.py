"""The Once-for-All MobileNetV3 space: elastic depth, kernel, expansion and resolution; kernels share by matrices.

Once-for-All: Train One Network and Specialize it for Efficient Deployment (arXiv:1908.09791), as the authors' package
`ofa` builds it. Differs: every size is a setting, so that small instances suit small images.
`ofa_weights.py` brings weights that PyTorch trained.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxtyping import Int, PRNGKeyArray

from search_spaces.assembly import Place, layers, present, supernet
from search_spaces.blocks.inverted_bottleneck import InvertedBottleneck
from search_spaces.blocks.stretches import Head, Stem
from search_spaces.checks import above_zero, at_least_one, increasing, not_empty, odd_kernels, one_of
from search_spaces.elastic import NONLINEARITIES, make_divisible
from search_spaces.layers import Layer, Nonlinearity
from search_spaces.network import Network
from search_spaces.reading import Cut
from search_spaces.space import Choice, check_arch, check_choices
from search_spaces.static import RESOLUTION
from search_spaces.widths import Width, elastic

WIDTH = "width"


@dataclass(frozen=True, kw_only=True)
class OfaStage:
    """Blocks that share a width; the first of them changes width and stride.

    Attributes:
      width: output channels, before `width_mults`.
      stride: of the first block.
      squeeze_excite: whether its blocks gate their channels.
      activation: `relu` or `hard_swish`.
    """

    width: int
    stride: int = 2
    squeeze_excite: bool = False
    activation: Nonlinearity = "relu"

    def __post_init__(self) -> None:
        at_least_one(self, "width", of="a stage")
        one_of(self, "stride", (1, 2), of="a stage")
        one_of(self, "activation", tuple(NONLINEARITIES))


@dataclass(frozen=True, kw_only=True)
class OfaMobileNet:
    """The space. As published it holds 2.2 * 10^19 networks at each of 25 resolutions.

    Attributes:
      image_size: height and width of the images, px, where the resolution is no choice.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      resolutions: options for the resolution that images are resized to, px; a static choice. Empty for none.
      width_mults: options for what all widths are multiplied by, before they are made divisible by 8; of several, one
        choice, `width`, for the whole network. Weights were published for 1.0 and 1.2, each a supernet of its own.
      stem_channels: of the first convolution.
      first_channels: of the first block, which has no choices.
      stages: what the blocks of each stage are.
      depths: options for the number of blocks of each stage.
      kernels: options for each block's depthwise kernel, odd.
      expansions: options for each block's ratio of expanded to input channels.
      head_channels: of the last convolution before pooling.
      mix_channels: of the convolution behind it.
      epsilon: of batch norm.
    """

    image_size: int = 224
    image_channels: int = 3
    classes: int = 1000
    resolutions: tuple[int, ...] = tuple(range(128, 225, 4))
    width_mults: tuple[float, ...] = (1.0,)
    stem_channels: int = 16
    first_channels: int = 16
    stages: tuple[OfaStage, ...] = (
        OfaStage(width=24),
        OfaStage(width=40, squeeze_excite=True),
        OfaStage(width=80, activation="hard_swish"),
        OfaStage(width=112, stride=1, squeeze_excite=True, activation="hard_swish"),
        OfaStage(width=160, squeeze_excite=True, activation="hard_swish"),
    )
    depths: tuple[int, ...] = (2, 3, 4)
    kernels: tuple[int, ...] = (3, 5, 7)
    expansions: tuple[int, ...] = (3, 4, 6)
    head_channels: int = 960
    mix_channels: int = 1280
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        not_empty(self, "stages")
        sizes = ("image_size", "image_channels", "classes", "stem_channels", "first_channels")
        at_least_one(self, *sizes, "head_channels", "mix_channels")
        above_zero(self, "epsilon")
        if self.resolutions:
            increasing(self, "resolutions")
        increasing(self, "depths", "expansions", "width_mults")
        odd_kernels(self)
        check_choices(self.choices)

    def channels(self, width: int) -> Width:
        """A width as it is built, in a block's own name `outs` of the choice."""
        return elastic(tuple(make_divisible(width * mult) for mult in self.width_mults), "outs")

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The resolution and the width, then per stage its depth and per block its kernel and expansion."""
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        return tuple(self._each_choice())

    def _each_choice(self) -> Iterator[Choice]:
        if self.resolutions:
            yield Choice(name=RESOLUTION, options=self.resolutions, static=True)
        if len(self.width_mults) > 1:
            yield Choice(name=WIDTH, options=self.width_mults)
        for i in range(1, len(self.stages) + 1):
            yield Choice(name=f"stage{i}.depth", options=self.depths)
            for j in range(1, max(self.depths) + 1):
                requires, block = present(f"stage{i}.depth", self.depths, j), f"stage{i}.block{j}"
                yield Choice(name=f"{block}.kernel", options=self.kernels, requires=requires)
                yield Choice(name=f"{block}.expansion", options=self.expansions, requires=requires)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The stem, a block without choices, every block that may be there, and the head."""
        return tuple(self._each_place())

    def _each_place(self) -> Iterator[Place]:
        width = (("outs", WIDTH),) if len(self.width_mults) > 1 else ()
        ins, outs = self.channels(self.stem_channels), self.channels(self.first_channels)
        stem = Stem(outs=ins, stride=2, activation="hard_swish", epsilon=self.epsilon)
        yield Place(recipe=stem, choices=width)
        first = InvertedBottleneck(
            outs=outs, expansions=(1,), residual=ins == outs, expands=False, epsilon=self.epsilon
        )
        yield Place(recipe=first, choices=width)
        for i, stage in enumerate(self.stages, 1):
            for j in range(1, max(self.depths) + 1):
                ins, outs = outs, self.channels(stage.width)
                stride = stage.stride if j == 1 else 1
                recipe = InvertedBottleneck(
                    outs=outs,
                    kernels=self.kernels,
                    expansions=self.expansions,
                    stride=stride,
                    residual=stride == 1 and ins == outs,
                    squeeze_excite=(stage.squeeze_excite,),
                    activation=stage.activation,
                    transformed=True,
                    epsilon=self.epsilon,
                )
                own = tuple((own, f"stage{i}.block{j}.{own}") for own in ("kernel", "expansion"))
                yield Place(recipe=recipe, choices=(*width, *own), when=present(f"stage{i}.depth", self.depths, j))
        head = Head(
            width=self.channels(self.head_channels),
            classes=self.classes,
            activation="hard_swish",
            mix=self.channels(self.mix_channels),
            mix_bias=False,
            epsilon=self.epsilon,
        )
        yield Place(recipe=head, choices=width)

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: parameters for the largest of every option. Wrap in `jax.jit`: eager creation is slow."""
        return supernet(key, self.places, self.image_channels)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        read = Cut.of(self.choices, check_arch(self, arch))
        side = self.resolutions[read.fixed(RESOLUTION)] if self.resolutions else self.image_size
        return layers(self.places, (side, side, self.image_channels), read)

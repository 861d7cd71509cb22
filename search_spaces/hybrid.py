"""A hybrid space: inverted bottlenecks where the image is large, encoder layers on tokens where it has become small.

After NASViT: Neural Architecture Search for Efficient Vision Transformers (ICLR 2022).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxtyping import Int, PRNGKeyArray

from search_spaces.assembly import Place, layers, present, supernet
from search_spaces.blocks.inverted_bottleneck import InvertedBottleneck
from search_spaces.blocks.stretches import Stem
from search_spaces.blocks.token_recipes import EncoderLayer, Readout, chosen, positions
from search_spaces.checks import above_zero, at_least_one, increasing, not_empty, odd_kernels, one_of
from search_spaces.elastic import NONLINEARITIES
from search_spaces.layers import Layer, Nonlinearity
from search_spaces.network import Network
from search_spaces.reading import Cut, Reading
from search_spaces.recipe import Builder, Tensor
from search_spaces.space import Choice, check_arch, check_choices
from search_spaces.static import RESOLUTION
from search_spaces.widths import Width, elastic


@dataclass(frozen=True, kw_only=True)
class ConvStage:
    """Inverted bottlenecks that share a width; the first of them changes width and stride.

    Attributes:
      widths: options for the output channels, increasing.
      depths: options for the number of blocks, increasing.
      expansions: options for each block's ratio of expanded to input channels, increasing.
      stride: of the first block.
      squeeze_excite: whether its blocks gate their channels.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    expansions: tuple[int, ...]
    stride: int = 2
    squeeze_excite: bool = False

    def __post_init__(self) -> None:
        increasing(self, "widths", "depths", "expansions", of="a convolutional stage")
        one_of(self, "stride", (1, 2), of="a stage")


@dataclass(frozen=True, kw_only=True)
class TokenStage:
    """Encoder layers that share a width.

    Attributes:
      widths: options for the channels of a token, increasing.
      depths: options for the number of encoder layers, increasing.
      heads: options for each layer's number of heads, increasing.
      mlp_ratios: options for each layer's ratio of hidden to token channels, increasing.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    mlp_ratios: tuple[float, ...]

    def __post_init__(self) -> None:
        increasing(self, "widths", "depths", "heads", "mlp_ratios", of="a stage of tokens")


@dataclass(frozen=True, kw_only=True)
class Tokenise:
    """The positions of the feature map as tokens of another width, and learned positions. Its own choice: `resolution`.

    Attributes:
      outs: channels of a token.
      sides: of the square of tokens, for each resolution.
    """

    outs: Width
    sides: tuple[int, ...]

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The tokens."""
        x = b.dense(b.tokens(x), "dense", self.outs)
        return positions(b, x, "positions", max(self.sides), self._side)

    def _side(self, read: Reading) -> int:
        return chosen(read, RESOLUTION, self.sides)


@dataclass(frozen=True, kw_only=True)
class Widen:
    """Tokens of another width."""

    outs: Width

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The tokens."""
        return b.dense(x, "dense", self.outs)


@dataclass(frozen=True, kw_only=True)
class Hybrid:
    """The space. The default is NASViT-like.

    References:
      NASViT (ICLR 2022, https://openreview.net/forum?id=Qaw16njk6L).
      Differs: tokens keep the size of the last feature map from stage to stage, so that images never come back of them;
      plain attention with learned positions, resized for each resolution, instead of talking heads, relative biases and
      gates; the number of heads is a choice, and the classifier reads the mean over tokens.

    Attributes:
      image_size: height and width of the images, px, where the resolution is no choice.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      resolutions: options for the resolution that images are resized to, px; a static choice. Empty for none.
      stem_channels: of the first convolution, whose stride is 2.
      conv_stages: what each convolutional stage may be.
      kernels: options for each inverted bottleneck's depthwise kernel, odd.
      activation: of the convolutional stages.
      token_stages: what each stage of encoder layers may be.
      head_dim: channels of a head.
      epsilon: of layer norm.
    """

    image_size: int = 224
    image_channels: int = 3
    classes: int = 1000
    resolutions: tuple[int, ...] = (192, 224, 256, 288)
    stem_channels: int = 16
    conv_stages: tuple[ConvStage, ...] = (
        ConvStage(widths=(16, 24), depths=(1, 2), expansions=(1,), stride=1),
        ConvStage(widths=(24, 32), depths=(3, 4, 5), expansions=(4, 5, 6)),
        ConvStage(widths=(32, 40), depths=(3, 4, 5, 6), expansions=(4, 5, 6), squeeze_excite=True),
        ConvStage(widths=(64, 72), depths=(3, 4), expansions=(4, 5, 6), squeeze_excite=True),
    )
    kernels: tuple[int, ...] = (3, 5)
    activation: Nonlinearity = "hard_swish"
    token_stages: tuple[TokenStage, ...] = (
        TokenStage(widths=(112, 120, 128), depths=(3, 4, 5, 6, 7, 8), heads=(7, 8), mlp_ratios=(2.0, 3.0)),
        TokenStage(widths=(160, 168, 176, 184), depths=(3, 4, 5, 6, 7, 8), heads=(10, 11), mlp_ratios=(2.0, 3.0)),
    )
    head_dim: int = 16
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        at_least_one(self, "image_size", "image_channels", "classes", "stem_channels", "head_dim")
        above_zero(self, "epsilon")
        not_empty(self, "conv_stages")
        not_empty(self, "token_stages")
        if self.resolutions:
            increasing(self, "resolutions", of="the space")
        odd_kernels(self)
        one_of(self, "activation", tuple(NONLINEARITIES))
        check_choices(self.choices)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The resolution; per stage its width and depth; per block its kernel and expansion, or its heads and ratio."""
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        return tuple(self._each_choice())

    def _each_choice(self) -> Iterator[Choice]:
        if self.resolutions:
            yield Choice(name=RESOLUTION, options=self.resolutions, static=True)
        for name, stage in self._stages:
            yield Choice(name=f"{name}.width", options=stage.widths)
            yield Choice(name=f"{name}.depth", options=stage.depths)
            for block in range(1, max(stage.depths) + 1):
                for own, options in self._own(stage).items():
                    requires = present(f"{name}.depth", stage.depths, block)
                    yield Choice(name=f"{name}.block{block}.{own}", options=options, requires=requires)

    @property
    def _stages(self) -> tuple[tuple[str, ConvStage | TokenStage], ...]:
        return tuple((f"stage{i}", stage) for i, stage in enumerate((*self.conv_stages, *self.token_stages), 1))

    def _own(self, stage: ConvStage | TokenStage) -> dict[str, tuple[Any, ...]]:
        """The choices of each block of a stage."""
        if isinstance(stage, TokenStage):
            return {"heads": stage.heads, "mlp_ratio": stage.mlp_ratios}
        return {"kernel": self.kernels, "expansion": stage.expansions}

    @property
    def _sizes(self) -> tuple[int, ...]:
        return self.resolutions or (self.image_size,)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The stem, every block that may be there, what makes tokens and widens them, and the classifier."""
        return tuple(self._each_place())

    def _each_place(self) -> Iterator[Place]:
        yield Place(recipe=Stem(outs=self.stem_channels, stride=2, activation=self.activation))
        sides = tuple(-(-size // 2) for size in self._sizes)
        is_image = True
        for name, stage in self._stages:
            outs, width = elastic(stage.widths, "outs"), ("outs", f"{name}.width")
            if isinstance(stage, ConvStage):
                sides = tuple(-(-side // stage.stride) for side in sides)
            elif is_image:
                resolution = ((RESOLUTION, RESOLUTION),) if self.resolutions else ()
                yield Place(recipe=Tokenise(outs=outs, sides=sides), choices=(width, *resolution))
                is_image = False
            else:
                yield Place(recipe=Widen(outs=outs), choices=(width,))
            for block in range(1, max(stage.depths) + 1):
                own = tuple((own, f"{name}.block{block}.{own}") for own in self._own(stage))
                if isinstance(stage, ConvStage):
                    recipe, choices = self._bottleneck(stage, outs, block), (width, *own)
                else:
                    recipe, choices = self._encoder(stage), own
                yield Place(recipe=recipe, choices=choices, when=present(f"{name}.depth", stage.depths, block))
        yield Place(recipe=Readout(classes=self.classes, epsilon=self.epsilon))

    def _bottleneck(self, stage: ConvStage, outs: Width, block: int) -> InvertedBottleneck:
        return InvertedBottleneck(
            outs=outs,
            kernels=self.kernels,
            expansions=stage.expansions,
            stride=stage.stride if block == 1 else 1,
            residual=block > 1,
            squeeze_excite=(stage.squeeze_excite,),
            activation=self.activation,
            expands=stage.expansions != (1,),
        )

    def _encoder(self, stage: TokenStage) -> EncoderLayer:
        return EncoderLayer(
            heads=stage.heads, mlp_ratios=stage.mlp_ratios, head_dim=self.head_dim, epsilon=self.epsilon
        )

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: parameters for the largest of every option. Wrap in `jax.jit`: eager creation is slow."""
        return supernet(key, self.places, self.image_channels)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        read = Cut.of(self.choices, check_arch(self, arch))
        side = self._sizes[read.fixed(RESOLUTION)]
        return layers(self.places, (side, side, self.image_channels), read)

"""GhostNet: half of the channels of each ghost module are cheap, a depthwise convolution of the other half.

GhostNet: More Features from Cheap Operations (arXiv:1911.11907). Differs: width, depth, expansion and squeeze-excite
are choices around the published numbers; the networks of widths 0.5, 1.0 and 1.3 are points of the space.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from jaxtyping import Int, PRNGKeyArray

from search_spaces.assembly import Place, layers, present, supernet
from search_spaces.blocks.stretches import Head, conv_norm, depthwise_norm, squeeze_excite
from search_spaces.checks import above_zero, at_least_one, increasing, not_empty, one_of
from search_spaces.elastic import make_divisible
from search_spaces.layers import Layer, Nonlinearity
from search_spaces.network import Network
from search_spaces.reading import Cut
from search_spaces.recipe import Builder, Tensor
from search_spaces.space import Choice, check_arch, check_choices
from search_spaces.widths import Width, elastic, joined

EPSILON = 1e-5  # of batch norm, as in the published implementations


def rounded(channels: int | float) -> int:
    """Channels as they are built: multiples of 4, so that half of them is a whole number."""
    return make_divisible(channels, 4)


def ghost(
    b: Builder, x: Tensor, name: str, channels: Width, *, activation: Nonlinearity | None, epsilon: float = EPSILON
) -> Tensor:
    """A ghost module: a 1x1 convolution to half of the channels, and the others from these by a depthwise 3x3.

    Args:
      b: the builder.
      x: its input.
      name: of its parameters.
      channels: after it, even.
      activation: behind both halves.
      epsilon: of batch norm.
    """
    more = {"activation": activation, "epsilon": epsilon}
    h = conv_norm(b, x, f"{name}.primary", channels.mapped(lambda n: n // 2), **more)
    return b.concat(h, depthwise_norm(b, h, f"{name}.cheap", 3, **more))


@dataclass(frozen=True, kw_only=True)
class GhostStem:
    """A strided 3x3 convolution whose channels lie in two halves, as a ghost module's do: the two are added."""

    outs: tuple[int, ...]
    epsilon: float = EPSILON

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The first activations."""
        half = elastic(self.outs, "outs").mapped(lambda n: n // 2)
        return conv_norm(b, x, "conv", joined((half, half)), 3, 2, activation="relu", epsilon=self.epsilon)


@dataclass(frozen=True, kw_only=True)
class GhostBottleneck:
    """A block. Its own choices: `outs`, `expansion`, `squeeze_excite`, where they have several options.

    Attributes:
      outs: options for the channels after the block.
      hiddens: the hidden channels that go with each of them.
      expansions: options for what multiplies the hidden channels.
      kernel: of the depthwise convolutions that a strided block, or one that changes its width, has.
      stride: 1 or 2.
      squeeze_excite: options for whether the hidden channels are gated: (False,), (True,) or (False, True).
      identity: whether the input is added as it is, or convolved.
      epsilon: of batch norm.
    """

    outs: tuple[int, ...]
    hiddens: tuple[int, ...]
    expansions: tuple[float, ...] = (1.0,)
    kernel: int = 3
    stride: int = 1
    squeeze_excite: tuple[bool, ...] = (False,)
    identity: bool = True
    epsilon: float = EPSILON

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The block's output."""
        hidden = elastic(self.hiddens, "outs").times(self.expansions, "expansion", lambda n, e: rounded(n * e))
        h = ghost(b, x, "expand", hidden, activation="relu", epsilon=self.epsilon)
        if self.stride > 1:
            h = depthwise_norm(b, h, "depthwise", self.kernel, self.stride, epsilon=self.epsilon)
        gated = partial(squeeze_excite, name="squeeze_excite", squeezed=hidden.mapped(lambda n: rounded(n / 4)))
        if self.squeeze_excite == (False, True):
            h = b.optional(h, "squeeze_excite", 1, gated)
        elif any(self.squeeze_excite):
            h = gated(b, h)
        h = ghost(b, h, "project", elastic(self.outs, "outs"), activation=None, epsilon=self.epsilon)
        if self.identity:
            return b.add(x, h)
        x = depthwise_norm(b, x, "short_depthwise", self.kernel, self.stride, epsilon=self.epsilon)
        return b.add(conv_norm(b, x, "short", h.width, epsilon=self.epsilon), h)


@dataclass(frozen=True, kw_only=True)
class GhostStage:
    """Blocks that share a width; the first of them changes it.

    Attributes:
      width: output channels, before they are multiplied.
      hiddens: the hidden channels of each block, before they are multiplied.
      depths: options for the number of blocks, increasing up to all; empty where there is no choice.
      expansions: options for what multiplies each block's hidden channels.
      squeeze_excite: options for whether a block gates its hidden channels: (False,), (True,) or (False, True).
      kernel: of depthwise convolutions outside of ghost modules, odd.
      stride: of the first block.
    """

    width: int
    hiddens: tuple[int, ...]
    depths: tuple[int, ...] = ()
    expansions: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25)
    squeeze_excite: tuple[bool, ...] = (False, True)
    kernel: int = 3
    stride: int = 1

    def __post_init__(self) -> None:
        at_least_one(self, "width", of="a stage")
        if not self.hiddens or min(self.hiddens) < 1:
            raise ValueError(f"`hiddens` of a stage must hold channels for each of its blocks, got {self.hiddens}")
        blocks = len(self.hiddens)
        if self.depths and (
            list(self.depths) != sorted(set(self.depths)) or self.depths[0] < 1 or self.depths[-1] != blocks
        ):
            raise ValueError(
                f"`depths` of a stage must increase strictly from 1 or more to its {blocks} blocks, got {self.depths};"
                f" did you mean {tuple(sorted({d for d in self.depths if 0 < d < blocks} | {blocks}))}?"
            )
        increasing(self, "expansions")
        one_of(self, "squeeze_excite", ((False,), (True,), (False, True)), of="a stage")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"`kernel` of a stage must be odd, got {self.kernel}; did you mean {self.kernel | 1}?")
        one_of(self, "stride", (1, 2), of="a stage")


@dataclass(frozen=True, kw_only=True)
class GhostNet:
    """The space.

    Attributes:
      image_size: height and width of the images, px.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      widths: options for what multiplies the channels of each stage and of the head; the stem goes with stage 1.
      stem_channels: of the first convolution, before they are multiplied.
      stages: what each stage may be.
      head_channels: of the last convolution before pooling, before they are multiplied.
      mix_channels: of the layer behind pooling.
      epsilon: of batch norm.
    """

    image_size: int = 224
    image_channels: int = 3
    classes: int = 1000
    widths: tuple[float, ...] = (0.5, 1.0, 1.3)
    stem_channels: int = 16
    stages: tuple[GhostStage, ...] = (
        GhostStage(width=16, hiddens=(16,), expansions=(1.0,)),
        GhostStage(width=24, hiddens=(48, 72), depths=(1, 2), stride=2),
        GhostStage(width=40, hiddens=(72, 120), depths=(1, 2), kernel=5, stride=2),
        GhostStage(width=80, hiddens=(240, 200, 184, 184), depths=(2, 3, 4), stride=2),
        GhostStage(width=112, hiddens=(480, 672), depths=(1, 2)),
        GhostStage(width=160, hiddens=(672, 960, 960, 960, 960), depths=(3, 4, 5), kernel=5, stride=2),
    )
    head_channels: int = 960
    mix_channels: int = 1280
    epsilon: float = EPSILON

    def __post_init__(self) -> None:
        not_empty(self, "stages")
        at_least_one(self, "image_size", "image_channels", "classes", "stem_channels", "head_channels", "mix_channels")
        above_zero(self, "epsilon")
        increasing(self, "widths")
        for channels in (self.stem_channels, *(stage.width for stage in self.stages), self.head_channels):
            _check_distinct("widths", self.widths, channels)
        for stage in self.stages:
            for hidden in stage.hiddens:
                for channels in self.multiplied(hidden):
                    _check_distinct("expansions", stage.expansions, channels)
        check_choices(self.choices)

    def multiplied(self, channels: int) -> tuple[int, ...]:
        """Channels as they are built, for each of `widths`."""
        return tuple(rounded(channels * width) for width in self.widths)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Per stage its width and depth, then per block its expansion and whether it gates; last the head's width."""
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        return tuple(choice for choice in self._each_choice() if len(choice.options) > 1)

    def _each_choice(self) -> Iterator[Choice]:
        for i, stage in enumerate(self.stages, 1):
            yield Choice(name=f"stage{i}.width", options=self.widths)
            yield Choice(name=f"stage{i}.depth", options=_depths(stage))
            for j in range(1, len(stage.hiddens) + 1):
                requires, block = present(f"stage{i}.depth", _depths(stage), j), f"stage{i}.block{j}"
                yield Choice(name=f"{block}.expansion", options=stage.expansions, requires=requires)
                yield Choice(name=f"{block}.squeeze_excite", options=stage.squeeze_excite, requires=requires)
        yield Choice(name="head.width", options=self.widths)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The stem, every block that may be there, and the head."""
        return tuple(self._each_place())

    def _each_place(self) -> Iterator[Place]:
        names, several = {choice.name for choice in self.choices}, len(self.widths) > 1
        bound = (("outs", "stage1.width"),) if several else ()
        yield Place(recipe=GhostStem(outs=self.multiplied(self.stem_channels), epsilon=self.epsilon), choices=bound)
        before = self.stem_channels
        for i, stage in enumerate(self.stages, 1):
            for j, hidden in enumerate(stage.hiddens, 1):
                follows = j > 1 or i == 1 or not several  # the width before it is the same whatever is chosen
                stride = stage.stride if j == 1 else 1
                recipe = GhostBottleneck(
                    outs=self.multiplied(stage.width),
                    hiddens=self.multiplied(hidden),
                    expansions=stage.expansions,
                    kernel=stage.kernel,
                    stride=stride,
                    squeeze_excite=stage.squeeze_excite,
                    identity=stride == 1 and follows and before == stage.width,
                    epsilon=self.epsilon,
                )
                block = f"stage{i}.block{j}"
                own = (("outs", f"stage{i}.width"), *((o, f"{block}.{o}") for o in ("expansion", "squeeze_excite")))
                choices = tuple(pair for pair in own if pair[1] in names)
                yield Place(recipe=recipe, choices=choices, when=present(f"stage{i}.depth", _depths(stage), j))
                before = stage.width
        width, bound = self.multiplied(self.head_channels), (("outs", "head.width"),) if several else ()
        more = {"activation": "relu", "mix": self.mix_channels, "epsilon": self.epsilon}
        yield Place(recipe=Head(width=elastic(width, "outs"), classes=self.classes, **more), choices=bound)

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: parameters for the largest of every option. Wrap in `jax.jit`: eager creation is slow."""
        return supernet(key, self.places, self.image_channels)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        image = (self.image_size, self.image_size, self.image_channels)
        return layers(self.places, image, Cut.of(self.choices, check_arch(self, arch)))


def _depths(stage: GhostStage) -> tuple[int, ...]:
    return stage.depths or (len(stage.hiddens),)


def _check_distinct(name: str, factors: tuple[float, ...], channels: int) -> None:
    built = tuple(rounded(channels * factor) for factor in factors)
    if len(set(built)) < len(built):
        raise ValueError(
            f"`{name}` {factors} of {channels} channels must give different multiples of 4, got {built}; leave some out"
        )

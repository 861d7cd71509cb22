"""The elastic ResNet50-D space of Once-for-All: depth and width of each stage, each block's bottleneck, a deep stem.

Once-for-All (arXiv:1908.09791), as the authors' package `ofa` builds it (`OFAResNets`), on ResNet-D (arXiv:1812.01187).
Differs: widths that are equal after rounding are one option (the stem's 0.65 and 0.8 both give 24 hidden channels),
so that two architectures are two networks; every size is a setting, so that small instances suit small images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxtyping import Int, PRNGKeyArray

from search_spaces.assembly import Place, layers, present, supernet
from search_spaces.blocks.residual import TORCH_EPSILON, Bottleneck, PooledStem, ResidualConv
from search_spaces.blocks.stretches import Classifier, Stem
from search_spaces.checks import above_zero, at_least_one, increasing, not_empty, one_of
from search_spaces.elastic import make_divisible
from search_spaces.layers import Layer
from search_spaces.network import Network
from search_spaces.reading import Cut
from search_spaces.space import Choice, check_arch, check_choices
from search_spaces.static import RESOLUTION
from search_spaces.widths import Width


@dataclass(frozen=True, kw_only=True)
class ResNetStage:
    """Blocks that share a width; the first of them changes width and stride.

    Attributes:
      width: output channels, before they are multiplied.
      blocks: how many there are at least.
      stride: of the first block.
    """

    width: int
    blocks: int
    stride: int = 2

    def __post_init__(self) -> None:
        at_least_one(self, "width", "blocks", of="a stage")
        one_of(self, "stride", (1, 2), of="a stage")


@dataclass(frozen=True, kw_only=True)
class ResNet50D:
    """The space. As published it holds 1.6 * 10^12 networks at each of 8 resolutions.

    Attributes:
      image_size: height and width of the images, px, where the resolution is no choice.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      resolutions: options for the resolution that images are resized to, px; a static choice. Empty for none.
      width_mults: options that multiply the widths of stem and stages, which are then made divisible by 8.
      stem_channels: behind the stem, before they are multiplied; its first convolutions have half as many.
      stages: what each stage is.
      extra_blocks: options for how many blocks a stage has beyond the least.
      expansions: options for each block's ratio of hidden to output channels.
      epsilon: of batch norm.
    """

    image_size: int = 224
    image_channels: int = 3
    classes: int = 1000
    resolutions: tuple[int, ...] = (128, 144, 160, 176, 192, 224, 240, 256)
    width_mults: tuple[float, ...] = (0.65, 0.8, 1.0)
    stem_channels: int = 64
    stages: tuple[ResNetStage, ...] = (
        ResNetStage(width=256, blocks=2, stride=1),
        ResNetStage(width=512, blocks=2),
        ResNetStage(width=1024, blocks=4),
        ResNetStage(width=2048, blocks=2),
    )
    extra_blocks: tuple[int, ...] = (0, 1, 2)
    expansions: tuple[float, ...] = (0.2, 0.25, 0.35)
    epsilon: float = TORCH_EPSILON

    def __post_init__(self) -> None:
        not_empty(self, "stages")
        at_least_one(self, "image_size", "image_channels", "classes", "stem_channels")
        above_zero(self, "epsilon")
        if self.resolutions:
            increasing(self, "resolutions")
        increasing(self, "width_mults", "expansions")
        increasing(self, "extra_blocks", least=0)
        check_choices(self.choices)

    def widths(self, channels: int) -> tuple[int, ...]:
        """The options for a width, increasing; multipliers that give the same are one option."""
        return tuple(sorted({make_divisible(channels * mult) for mult in self.width_mults}))

    @property
    def hidden_stem_widths(self) -> tuple[int, ...]:
        """The options for the stem's first convolutions."""
        return tuple(sorted({make_divisible(width // 2) for width in self.widths(self.stem_channels)}))

    def depths(self, stage: ResNetStage) -> tuple[int, ...]:
        """The options for a stage's number of blocks."""
        return tuple(stage.blocks + extra for extra in self.extra_blocks)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The resolution, the stem's, then per stage its width, its depth and per block its expansion."""
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        return tuple(self._each_choice())

    def _each_choice(self) -> Iterator[Choice]:
        if self.resolutions:
            yield Choice(name=RESOLUTION, options=self.resolutions, static=True)
        yield Choice(name="stem.middle", options=(False, True))
        yield Choice(name="stem.hidden_width", options=self.hidden_stem_widths)
        yield Choice(name="stem.width", options=self.widths(self.stem_channels))
        for i, stage in enumerate(self.stages, 1):
            depths = self.depths(stage)
            yield Choice(name=f"stage{i}.width", options=self.widths(stage.width))
            yield Choice(name=f"stage{i}.depth", options=depths)
            for j in range(1, max(depths) + 1):
                requires = present(f"stage{i}.depth", depths, j)
                yield Choice(name=f"stage{i}.block{j}.expansion", options=self.expansions, requires=requires)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The stem in three places, every block that may be there, and the classifier."""
        return tuple(self._each_place())

    def _each_place(self) -> Iterator[Place]:
        hidden = Width(self.hidden_stem_widths, ("outs",))
        bound = (("outs", "stem.hidden_width"),)
        yield Place(recipe=Stem(outs=hidden, stride=2, activation="relu", epsilon=self.epsilon), choices=bound)
        yield Place(recipe=ResidualConv(outs=hidden, epsilon=self.epsilon), choices=bound, when=("stem.middle", 1))
        outs = Width(self.widths(self.stem_channels), ("outs",))
        yield Place(
            recipe=PooledStem(outs=outs, kernel=3, stride=1, epsilon=self.epsilon), choices=(("outs", "stem.width"),)
        )
        for i, stage in enumerate(self.stages, 1):
            depths = self.depths(stage)
            for j in range(1, max(depths) + 1):
                recipe = Bottleneck(
                    outs=Width(self.widths(stage.width), ("outs",)),
                    expansions=self.expansions,
                    stride=stage.stride if j == 1 else 1,
                    shortcut="pool" if j == 1 else "identity",
                    epsilon=self.epsilon,
                )
                choices = (("outs", f"stage{i}.width"), ("expansion", f"stage{i}.block{j}.expansion"))
                yield Place(recipe=recipe, choices=choices, when=present(f"stage{i}.depth", depths, j))
        yield Place(recipe=Classifier(classes=self.classes))

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: parameters for the largest of every option. Wrap in `jax.jit`: eager creation is slow."""
        return supernet(key, self.places, self.image_channels)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        read = Cut.of(self.choices, check_arch(self, arch))
        side = self.resolutions[read.fixed(RESOLUTION)] if self.resolutions else self.image_size
        return layers(self.places, (side, side, self.image_channels), read)

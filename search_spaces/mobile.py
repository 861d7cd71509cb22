"""MobileNetV3-like space: inverted bottlenecks with elastic kernel, expansion, width and depth.

After MobileNetV3 (arXiv:1905.02244) and Once-for-All (arXiv:1908.09791). Differs: the width of every stage is a choice
of its own, the kernels of a block share their centre without transform matrices, and the sizes suit small images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxtyping import Int, PRNGKeyArray

from search_spaces.assembly import Place, layers, present, supernet
from search_spaces.blocks.inverted_bottleneck import InvertedBottleneck
from search_spaces.blocks.stretches import Head, Stem
from search_spaces.checks import at_least_one, increasing, not_empty, odd_kernels, one_of
from search_spaces.elastic import NONLINEARITIES
from search_spaces.layers import Layer, Nonlinearity
from search_spaces.network import Network
from search_spaces.reading import Cut
from search_spaces.space import Choice, check_arch, check_choices
from search_spaces.widths import Width


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Blocks that share a width; the first of them changes width and stride.

    Attributes:
      widths: options for the output channels, increasing.
      depths: options for the number of blocks, increasing.
      stride: of the first block.
      squeeze_excite: options for whether a block gates its channels: (False,), (True,) or, a choice for every block as
        in MnasNet (arXiv:1807.11626), (False, True).
      activation: `relu` or `hard_swish`.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...] = (1, 2, 3, 4)
    stride: int = 1
    squeeze_excite: tuple[bool, ...] = (False,)
    activation: Nonlinearity = "relu"

    def __post_init__(self) -> None:
        one_of(self, "squeeze_excite", ((False,), (True,), (False, True)), of="a stage")
        increasing(self, "widths", "depths", of="a stage")
        one_of(self, "stride", (1, 2), of="a stage")
        one_of(self, "activation", tuple(NONLINEARITIES))


@dataclass(frozen=True, kw_only=True)
class Mobile:
    """The space. The default suits images of 24 to 40 px: 7.4 * 10^9 networks of 0.12 to 3.8 M MACs at 32 px.

    Attributes:
      image_size: height and width of the images, px.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      stem_channels: of the first convolution.
      stem_stride: of the first convolution.
      stages: what each stage may be.
      kernels: options for each block's depthwise kernel, odd.
      expansions: options for each block's ratio of expanded to input channels.
      head_channels: of the last convolution, before pooling.
    """

    image_size: int = 32
    image_channels: int = 1
    classes: int = 10
    stem_channels: int = 8
    stem_stride: int = 2
    stages: tuple[Stage, ...] = (
        Stage(widths=(8, 12, 20), stride=2),
        Stage(widths=(8, 16, 32), stride=2, squeeze_excite=(False, True), activation="hard_swish"),
    )
    kernels: tuple[int, ...] = (3, 5, 7)
    expansions: tuple[int, ...] = (3, 4, 6)
    head_channels: int = 64

    def __post_init__(self) -> None:
        not_empty(self, "stages")
        at_least_one(self, "image_size", "image_channels", "classes", "stem_channels", "head_channels")
        one_of(self, "stem_stride", (1, 2))
        odd_kernels(self)
        increasing(self, "expansions")
        check_choices(self.choices)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Per stage its width and depth, then per block its kernel, its expansion and whether it gates its channels."""
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        return tuple(self._each_choice())

    def _each_choice(self) -> Iterator[Choice]:
        for i, stage in enumerate(self.stages, 1):
            yield Choice(name=f"stage{i}.width", options=stage.widths)
            yield Choice(name=f"stage{i}.depth", options=stage.depths)
            for j in range(1, max(stage.depths) + 1):
                requires, block = present(f"stage{i}.depth", stage.depths, j), f"stage{i}.block{j}"
                yield Choice(name=f"{block}.kernel", options=self.kernels, requires=requires)
                yield Choice(name=f"{block}.expansion", options=self.expansions, requires=requires)
                if len(stage.squeeze_excite) > 1:
                    yield Choice(name=f"{block}.squeeze_excite", options=stage.squeeze_excite, requires=requires)

    @cached_property
    def _places(self) -> tuple[Place, ...]:
        return tuple(self._each_place())

    def _each_place(self) -> Iterator[Place]:
        yield Place(recipe=Stem(outs=self.stem_channels, stride=self.stem_stride, activation="hard_swish"))
        for i, stage in enumerate(self.stages, 1):
            for j in range(1, max(stage.depths) + 1):
                recipe = InvertedBottleneck(
                    outs=Width(stage.widths, ("outs",)),
                    kernels=self.kernels,
                    expansions=self.expansions,
                    stride=stage.stride if j == 1 else 1,
                    residual=j > 1,
                    squeeze_excite=stage.squeeze_excite,
                    activation=stage.activation,
                )
                own = ("kernel", "expansion", *(("squeeze_excite",) if len(stage.squeeze_excite) > 1 else ()))
                choices = (("outs", f"stage{i}.width"), *((name, f"stage{i}.block{j}.{name}") for name in own))
                yield Place(recipe=recipe, choices=choices, when=present(f"stage{i}.depth", stage.depths, j))
        yield Place(recipe=Head(width=self.head_channels, classes=self.classes, activation="hard_swish"))

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: parameters for the largest of every option. Wrap in `jax.jit`: eager creation is slow."""
        return supernet(key, self._places, self.image_channels)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        image = (self.image_size, self.image_size, self.image_channels)
        return layers(self._places, image, Cut.of(self.choices, check_arch(self, arch)))

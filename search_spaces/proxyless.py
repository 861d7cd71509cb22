"""The ProxylessNAS / MobileNetV2 space: plain inverted bottlenecks of elastic kernel, expansion, depth and width.

ProxylessNAS (arXiv:1812.00332), whose blocks may each be left out; Once-for-All's Proxyless space (arXiv:1908.09791),
whose stages end early; and MobileNetV2 (arXiv:1801.04381), a point of both. Differs: kernels of a block share their
centre, and expansions their first channels, where ProxylessNAS has weights of its own for each operation; a block adds
its input everywhere but at the head of a stage, even where two stages at stride 1 have one width.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxtyping import Int, PRNGKeyArray

from search_spaces.assembly import Place, layers, present, supernet
from search_spaces.blocks.inverted_bottleneck import InvertedBottleneck
from search_spaces.blocks.stretches import Classifier, Head, Stem
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
class ProxylessStage:
    """Blocks that share a width; the first of them changes width and stride.

    Attributes:
      width: output channels, before they are multiplied.
      stride: of the first block.
      depths: options for the number of blocks; the last ones are left out.
      skippable: whether, instead, every block but the first may be left out on its own (ProxylessNAS's zero operation);
        `depths` is then one number.
    """

    width: int
    stride: int = 2
    depths: tuple[int, ...] = (2, 3, 4)
    skippable: bool = False

    def __post_init__(self) -> None:
        at_least_one(self, "width", of="a stage")
        one_of(self, "stride", (1, 2), of="a stage")
        increasing(self, "depths")
        if self.skippable and len(self.depths) > 1:
            raise ValueError(
                f"`depths` of a stage whose blocks are skippable must be one number, got {self.depths}; did you mean"
                f" {self.depths[-1:]}?"
            )

    def when(self, stage: str, block: int) -> tuple[str, int] | None:
        """What the block, from 1, requires to be there."""
        if self.skippable:
            return (f"{stage}.block{block}.present", 1) if block > 1 else None
        return present(f"{stage}.depth", self.depths, block)


@dataclass(frozen=True, kw_only=True)
class Proxyless:
    """The space. The default is Once-for-All's: 2.0 * 10^20 networks at each of 25 resolutions.

    Attributes:
      image_size: height and width of the images, px, where the resolution is no choice.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      resolutions: options for the resolution that images are resized to, px; a static choice. Empty for none.
      width_mults: options for what all widths are multiplied by, before they are made divisible by 8; of several, one
        is chosen for the whole network.
      stem_channels: of the first convolution.
      first_channels: of the first block, which has no choices.
      stages: what the blocks of each stage are.
      kernels: options for each block's depthwise kernel, odd.
      expansions: options for each block's ratio of expanded to input channels.
      head_channels: of the last convolution before pooling; None for a classifier right behind the last block.
      activation: behind every convolution but the projections.
      transformed: whether smaller kernels pass through matrices, as in Once-for-All.
      epsilon: of batch norm.
    """

    image_size: int = 224
    image_channels: int = 3
    classes: int = 1000
    resolutions: tuple[int, ...] = tuple(range(128, 225, 4))
    width_mults: tuple[float, ...] = (1.3,)
    stem_channels: int = 32
    first_channels: int = 16
    stages: tuple[ProxylessStage, ...] = (
        ProxylessStage(width=24),
        ProxylessStage(width=40),
        ProxylessStage(width=80),
        ProxylessStage(width=96, stride=1),
        ProxylessStage(width=192),
        ProxylessStage(width=320, stride=1, depths=(1,)),
    )
    kernels: tuple[int, ...] = (3, 5, 7)
    expansions: tuple[int, ...] = (3, 4, 6)
    head_channels: int | None = 1280
    activation: Nonlinearity = "relu6"
    transformed: bool = True
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        not_empty(self, "stages")
        at_least_one(
            self, "image_size", "image_channels", "classes", "stem_channels", "first_channels", "head_channels"
        )
        above_zero(self, "epsilon")
        one_of(self, "activation", tuple(NONLINEARITIES))
        if self.resolutions:
            increasing(self, "resolutions")
        increasing(self, "width_mults", "expansions")
        odd_kernels(self)
        self._check_widths_differ()
        check_choices(self.choices)

    def _check_widths_differ(self) -> None:
        widths = [self.stem_channels, self.first_channels, *(stage.width for stage in self.stages)]
        widths += [self.head_channels] if self.head_channels else []
        built = [[make_divisible(width * mult) for width in widths] for mult in self.width_mults]
        for low, high, same in zip(
            self.width_mults, self.width_mults[1:], map(list.__eq__, built, built[1:]), strict=False
        ):
            if same:
                raise ValueError(f"`width_mults` {low} and {high} give the same channels; leave one of them out")

    def channels(self, width: int) -> Width:
        """A width as it is built, in a block's own name `outs` of the choice."""
        return elastic(tuple(make_divisible(width * mult) for mult in self.width_mults), "outs")

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Resolution and width; per stage its depth, and per block whether it is there, its kernel and its expansion.

        What has one option is no choice; but a resolution always is one, for images to be resized to it.
        """
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        return tuple(choice for choice in self._each_choice() if choice.static or len(choice.options) > 1)

    def _each_choice(self) -> Iterator[Choice]:
        if self.resolutions:
            yield Choice(name=RESOLUTION, options=self.resolutions, static=True)
        yield Choice(name=WIDTH, options=self.width_mults)
        for i, stage in enumerate(self.stages, 1):
            yield Choice(name=f"stage{i}.depth", options=stage.depths)
            for j in range(1, max(stage.depths) + 1):
                requires, block = stage.when(f"stage{i}", j), f"stage{i}.block{j}"
                if stage.skippable and j > 1:
                    yield Choice(name=f"{block}.present", options=(False, True))
                yield Choice(name=f"{block}.kernel", options=self.kernels, requires=requires)
                yield Choice(name=f"{block}.expansion", options=self.expansions, requires=requires)

    @cached_property
    def _places(self) -> tuple[Place, ...]:
        return tuple(self._each_place())

    def _each_place(self) -> Iterator[Place]:
        more = {"activation": self.activation, "epsilon": self.epsilon}
        named = {choice.name for choice in self.choices}
        width = (("outs", WIDTH),) if WIDTH in named else ()
        yield Place(recipe=Stem(outs=self.channels(self.stem_channels), stride=2, **more), choices=width)
        first = self.channels(self.first_channels)
        recipe = InvertedBottleneck(outs=first, expansions=(1,), expands=False, residual=False, **more)
        yield Place(recipe=recipe, choices=width)
        for i, stage in enumerate(self.stages, 1):
            for j in range(1, max(stage.depths) + 1):
                recipe = InvertedBottleneck(
                    outs=self.channels(stage.width),
                    kernels=self.kernels,
                    expansions=self.expansions,
                    stride=stage.stride if j == 1 else 1,
                    residual=j > 1,
                    transformed=self.transformed,
                    **more,
                )
                block = f"stage{i}.block{j}"
                own = tuple((n, f"{block}.{n}") for n in ("kernel", "expansion") if f"{block}.{n}" in named)
                yield Place(recipe=recipe, choices=(*width, *own), when=stage.when(f"stage{i}", j))
        if self.head_channels is None:
            yield Place(recipe=Classifier(classes=self.classes))
        else:
            head = Head(width=self.channels(self.head_channels), classes=self.classes, **more)
            yield Place(recipe=head, choices=width)

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: parameters for the largest of every option. Wrap in `jax.jit`: eager creation is slow."""
        return supernet(key, self._places, self.image_channels)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        read = Cut.of(self.choices, check_arch(self, arch))
        side = self.resolutions[read.fixed(RESOLUTION)] if self.resolutions else self.image_size
        return layers(self._places, (side, side, self.image_channels), read)

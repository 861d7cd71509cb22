"""MobileNetV3-like space: inverted bottlenecks with elastic kernel, expansion, width and depth.

After MobileNetV3 (arXiv:1905.02244) and Once-for-All (arXiv:1908.09791). Differs: the width of every stage is a choice
of its own, the kernels of a block share their centre without transform matrices, and the sizes suit small images.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxtyping import Int, PRNGKeyArray

from search_spaces.elastic import NONLINEARITIES
from search_spaces.ends import Head, Stem, head_layers, stem_layers
from search_spaces.initialise import Draw, drawn
from search_spaces.inverted_bottleneck import BottleneckPlan, InvertedBottleneck
from search_spaces.layers import Graph, Layer, Nonlinearity
from search_spaces.network import Network, Slot
from search_spaces.reading import Cut
from search_spaces.space import Choice, check_arch, check_choices


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
        if self.squeeze_excite not in ((False,), (True,), (False, True)):
            raise ValueError(
                f"`squeeze_excite` of a stage must be (False,), (True,) or (False, True), got {self.squeeze_excite}"
            )
        for name, values in (("widths", self.widths), ("depths", self.depths)):
            if not values or min(values) < 1 or list(values) != sorted(set(values)):
                better = tuple(sorted({value for value in values if value > 0})) or (1,)
                raise ValueError(
                    f"`{name}` of a stage must be positive and increase strictly, got {values}; did you mean {better}?"
                )
        if self.stride not in (1, 2):
            raise ValueError(f"`stride` of a stage must be 1 or 2, got {self.stride}")
        if self.activation not in NONLINEARITIES:
            raise ValueError(f"`activation` must be one of {tuple(NONLINEARITIES)}, got `{self.activation}`")


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
        if not self.stages:
            raise ValueError("`stages` must hold at least one stage, got none")
        for name in ("image_size", "image_channels", "classes", "stem_channels", "head_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if self.stem_stride not in (1, 2):
            raise ValueError(f"`stem_stride` must be 1 or 2, got {self.stem_stride}")
        for name, odd in (("kernels", True), ("expansions", False)):
            values = getattr(self, name)
            if not values or list(values) != sorted(set(values)) or min(values) < 1:
                raise ValueError(
                    f"`{name}` must be positive and increase strictly, got {values};"
                    f" did you mean {tuple(sorted({v for v in values if v > 0})) or (3,)}?"
                )
            if odd and any(value % 2 == 0 for value in values):
                better = tuple(sorted({value | 1 for value in values}))
                raise ValueError(f"`{name}` must be odd, got {values}; did you mean {better}?")
        check_choices(self.choices)

    @cached_property
    def _places(self) -> tuple["_Place", ...]:
        """Every block that may be there, in order."""
        places: list[_Place] = []
        ins: tuple[int, ...] = (self.stem_channels,)
        width_before: str | None = None
        for i, stage in enumerate(self.stages, 1):
            for j in range(max(stage.depths)):
                first = j == 0
                plan = BottleneckPlan(
                    ins=ins if first else stage.widths,
                    outs=stage.widths,
                    kernels=self.kernels,
                    expansions=self.expansions,
                    stride=stage.stride if first else 1,
                    residual=not first,
                    squeeze_excite=stage.squeeze_excite,
                    activation=stage.activation,
                )
                at_least = next(index for index, depth in enumerate(stage.depths) if depth > j)
                places.append(_Place(plan, i, j + 1, width_before if first else f"stage{i}.width", at_least))
            ins, width_before = stage.widths, f"stage{i}.width"
        return tuple(places)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Per stage its width and depth, then per block its kernel, its expansion and whether it gates its channels."""
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        choices: list[Choice] = []
        for place in self._places:
            stage, plan = self.stages[place.stage - 1], place.plan
            if place.block == 1:
                choices.append(Choice(name=f"stage{place.stage}.width", options=stage.widths))
                choices.append(Choice(name=f"stage{place.stage}.depth", options=stage.depths))
            requires = (f"stage{place.stage}.depth", place.at_least) if place.at_least else None
            choices.append(Choice(name=f"{place.name}.kernel", options=plan.kernels, requires=requires))
            choices.append(Choice(name=f"{place.name}.expansion", options=plan.expansions, requires=requires))
            if len(plan.squeeze_excite) > 1:
                name = f"{place.name}.squeeze_excite"
                choices.append(Choice(name=name, options=plan.squeeze_excite, requires=requires))
        return tuple(choices)

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: parameters for the largest of every option. Wrap in `jax.jit`: eager creation is slow."""
        return drawn(key, self._network)

    def _network(self, draw: Draw) -> Network:
        last = len(self._places) + 1
        width = f"stage{len(self.stages)}.width"
        slots = [
            Slot(inputs=(0,)),
            *(place.slot(i) for i, place in enumerate(self._places, 1)),
            Slot(inputs=(last,), choices=(("ins", width),)),
        ]
        blocks = [
            Stem.init(draw, self.image_channels, self.stem_channels, self.stem_stride, "hard_swish"),
            *(InvertedBottleneck.init(draw, place.plan) for place in self._places),
            Head.init(draw, self.stages[-1].widths, self.head_channels, self.classes, "hard_swish"),
        ]
        return Network(slots, blocks)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        read = Cut.of(self.choices, check_arch(self, arch))
        graph = Graph((self.image_size, self.image_size, self.image_channels))
        x = stem_layers(graph, self.stem_channels, self.stem_stride, "hard_swish", "blocks.0")
        position = 1
        for place in self._places:
            slot = place.slot(position)
            if slot.is_there(read):
                x = place.plan.layers(graph, x, read.bound(slot.choices), f"blocks.{position}")
                position += 1
        head_layers(graph, x, self.head_channels, self.classes, "hard_swish", f"blocks.{position}")
        return tuple(graph.layers)


@dataclass(frozen=True)
class _Place:
    """A block of the space: its plan, and where it stands."""

    plan: BottleneckPlan
    stage: int
    block: int
    width_before: str | None
    at_least: int

    @property
    def name(self) -> str:
        return f"stage{self.stage}.block{self.block}"

    def slot(self, before: int) -> Slot:
        """Behind position `before`."""
        choices = [("outs", f"stage{self.stage}.width")]
        choices += [(own, f"{self.name}.{own}") for own in ("kernel", "expansion")]
        if self.width_before is not None:
            choices.append(("ins", self.width_before))
        if len(self.plan.squeeze_excite) > 1:
            choices.append(("squeeze_excite", f"{self.name}.squeeze_excite"))
        when = (f"stage{self.stage}.depth", self.at_least) if self.at_least else None
        return Slot(inputs=(before,), choices=tuple(choices), when=when)

"""The Once-for-All MobileNetV3 space: elastic depth, kernel, expansion and resolution; kernels share by matrices.

Once-for-All: Train One Network and Specialize it for Efficient Deployment (arXiv:1908.09791), as the authors' package
`ofa` builds it. Differs: every size is a setting, so that small instances suit small images.
`ofa_weights.py` brings weights that PyTorch trained.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from search_spaces.elastic import NONLINEARITIES, Conv, Dense, Norm, make_divisible
from search_spaces.ends import Stem, stem_layers
from search_spaces.initialise import Draw, drawn
from search_spaces.inverted_bottleneck import BottleneckPlan, InvertedBottleneck
from search_spaces.layers import Graph, Layer, Nonlinearity
from search_spaces.network import Network, Slot
from search_spaces.reading import Cut, Reading
from search_spaces.space import Choice, check_arch, check_choices
from search_spaces.static import RESOLUTION


@dataclass(frozen=True, kw_only=True)
class OfaStage:
    """Blocks that share a width; the first of them changes width and stride.

    Attributes:
      width: output channels, before `width_mult`.
      stride: of the first block.
      squeeze_excite: whether its blocks gate their channels.
      activation: `relu` or `hard_swish`.
    """

    width: int
    stride: int = 2
    squeeze_excite: bool = False
    activation: Nonlinearity = "relu"

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"`width` of a stage must be at least 1, got {self.width}")
        if self.stride not in (1, 2):
            raise ValueError(f"`stride` of a stage must be 1 or 2, got {self.stride}")
        if self.activation not in NONLINEARITIES:
            raise ValueError(f"`activation` must be one of {tuple(NONLINEARITIES)}, got `{self.activation}`")


@dataclass(frozen=True, kw_only=True)
class OfaMobileNet:
    """The space. As published it holds 2.2 * 10^19 networks at each of 25 resolutions.

    Attributes:
      image_size: height and width of the images, px, where the resolution is no choice.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      resolutions: options for the resolution that images are resized to, px; a static choice. Empty for none.
      width_mult: multiplies all widths, which are then made divisible by 8; weights were published for 1.0 and 1.2.
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
    width_mult: float = 1.0
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
        if not self.stages:
            raise ValueError("`stages` must hold at least one stage, got none")
        sizes = ("image_size", "image_channels", "classes", "stem_channels", "first_channels")
        for name in (*sizes, "head_channels", "mix_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        for name in ("width_mult", "epsilon"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be above 0, got {getattr(self, name)}")
        for name in ("resolutions", "depths", "kernels", "expansions"):
            values = getattr(self, name)
            if not values and name == "resolutions":
                continue
            if not values or list(values) != sorted(set(values)) or min(values) < 1:
                raise ValueError(
                    f"`{name}` must be positive and increase strictly, got {values};"
                    f" did you mean {tuple(sorted({v for v in values if v > 0})) or (3,)}?"
                )
        if any(kernel % 2 == 0 for kernel in self.kernels):
            better = tuple(sorted({kernel | 1 for kernel in self.kernels}))
            raise ValueError(f"`kernels` must be odd, got {self.kernels}; did you mean {better}?")
        check_choices(self.choices)

    def channels(self, width: int) -> int:
        """A width as it is built."""
        return make_divisible(width * self.width_mult)

    @property
    def ends(self) -> tuple[int, int, int]:
        """Channels of the head: expanded, mixed, and the classes."""
        return self.channels(self.head_channels), self.channels(self.mix_channels), self.classes

    @cached_property
    def places(self) -> tuple["Place", ...]:
        """Every block that may be there, in order; the first has no choices."""
        stem, first = self.channels(self.stem_channels), self.channels(self.first_channels)
        alone = BottleneckPlan(
            ins=(stem,),
            outs=(first,),
            kernels=(3,),
            expansions=(1,),
            stride=1,
            residual=stem == first,
            squeeze_excite=(False,),
            activation="relu",
            expands=False,
            epsilon=self.epsilon,
        )
        places, ins = [Place(plan=alone, stage=0, block=1, at_least=0)], first
        for i, stage in enumerate(self.stages, 1):
            outs = self.channels(stage.width)
            for j in range(max(self.depths)):
                stride = stage.stride if j == 0 else 1
                plan = BottleneckPlan(
                    ins=(ins,),
                    outs=(outs,),
                    kernels=self.kernels,
                    expansions=self.expansions,
                    stride=stride,
                    residual=stride == 1 and ins == outs,
                    squeeze_excite=(stage.squeeze_excite,),
                    activation=stage.activation,
                    transformed=True,
                    epsilon=self.epsilon,
                )
                at_least = next(index for index, depth in enumerate(self.depths) if depth > j)
                places.append(Place(plan=plan, stage=i, block=j + 1, at_least=at_least))
                ins = outs
        return tuple(places)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The resolution, then per stage its depth and per block its kernel and expansion."""
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        return tuple(self._each_choice())

    def _each_choice(self) -> Iterator[Choice]:
        if self.resolutions:
            yield Choice(name=RESOLUTION, options=self.resolutions, static=True)
        for place in self.places[1:]:
            if place.block == 1:
                yield Choice(name=place.depth, options=self.depths)
            requires = (place.depth, place.at_least) if place.at_least else None
            yield Choice(name=f"{place.name}.kernel", options=self.kernels, requires=requires)
            yield Choice(name=f"{place.name}.expansion", options=self.expansions, requires=requires)

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: parameters for the largest of every option. Wrap in `jax.jit`: eager creation is slow."""
        return drawn(key, self._network)

    def _network(self, draw: Draw) -> Network:
        stem = self.channels(self.stem_channels)
        blocks = [
            Stem.init(draw, self.image_channels, stem, 2, "hard_swish", self.epsilon),
            *(InvertedBottleneck.init(draw, place.plan) for place in self.places),
            MixingHead.init(draw, self.places[-1].plan.outs[0], *self.ends, self.epsilon),
        ]
        slots = [
            Slot(inputs=(0,)),
            *(place.slot(i) for i, place in enumerate(self.places, 1)),
            Slot(inputs=(len(self.places) + 1,)),
        ]
        return Network(slots, blocks)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        read = Cut.of(self.choices, check_arch(self, arch))
        side = self.resolutions[read.fixed(RESOLUTION)] if self.resolutions else self.image_size
        graph = Graph((side, side, self.image_channels))
        x = stem_layers(graph, self.channels(self.stem_channels), 2, "hard_swish", "blocks.0", self.epsilon)
        position = 1
        for place in self.places:
            slot = place.slot(position)
            if slot.is_there(read):
                x = place.plan.layers(graph, x, read.bound(slot.choices), f"blocks.{position}")
                position += 1
        path, (head, mix, classes) = f"blocks.{position}", self.ends
        x = graph.norm(graph.conv(x, head, f"{path}.expand"), f"{path}.norm", self.epsilon)
        x = graph.global_pool(graph.activation(x, "hard_swish"))
        x = graph.activation(graph.conv(x, mix, f"{path}.mix"), "hard_swish")
        graph.dense(x, classes, f"{path}.classifier")
        return tuple(graph.layers)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A block of the space: its plan, and where it stands.

    Attributes:
      stage: from 1; 0 for the block before the stages.
      block: its number in the stage, from 1.
      at_least: the index of the stage's depth from which it is there.
    """

    plan: BottleneckPlan
    stage: int
    block: int
    at_least: int

    @property
    def name(self) -> str:
        """As its choices begin."""
        return f"stage{self.stage}.block{self.block}"

    @property
    def depth(self) -> str:
        """The choice of its stage's depth."""
        return f"stage{self.stage}.depth"

    def slot(self, before: int) -> Slot:
        """Behind position `before`."""
        if self.stage == 0:
            return Slot(inputs=(before,))
        choices = tuple((own, f"{self.name}.{own}") for own in ("kernel", "expansion"))
        return Slot(inputs=(before,), choices=choices, when=(self.depth, self.at_least) if self.at_least else None)


class MixingHead(nnx.Module):
    """A last expansion, the mean over positions, a convolution that mixes the means, and a classifier. No choices."""

    def __init__(self, expand: Conv, norm: Norm, mix: Conv, classifier: Dense):
        self.expand, self.norm, self.mix, self.classifier = expand, norm, mix, classifier

    @classmethod
    def init(cls, draw: Draw, ins: int, head: int, mix: int, classes: int, epsilon: float) -> "MixingHead":
        """From `ins` channels to `head`, of their means to `mix`, and to the classes."""
        expand = Conv.init(draw, ins, head)
        return cls(expand, Norm.init(head, epsilon), Conv.init(draw, head, mix), Dense.init(draw, mix, classes))

    def cut(self, read: Reading) -> "MixingHead":
        """Itself."""
        return self

    def cut_stats(self, read: Reading, stats: dict[str, Any]) -> dict[str, Any]:
        """All of them."""
        return stats

    def __call__(
        self, read: Reading, stats: dict[str, Any] | None, x: Float[Array, "..."]
    ) -> tuple[Float[Array, "batch classes"], dict[str, Any]]:
        """Logits."""
        nonlinear = NONLINEARITIES["hard_swish"]
        x, used = self.norm(self.expand(x), (stats or {}).get("norm"))
        x = nonlinear(self.mix(nonlinear(x).mean((1, 2), keepdims=True)))
        return self.classifier(x[:, 0, 0]), {"norm": used}

"""ShuffleNetV2 as Single Path One-Shot searches it: each unit is one of several operations, of elastic middle width.

ShuffleNetV2 (arXiv:1807.11164), Single Path One-Shot (arXiv:1904.00420). Half of the channels pass by each unit and
channels are shuffled between units, so widths between units are fixed, and what is inside of a unit is elastic.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

from jaxtyping import Int, PRNGKeyArray

from search_spaces.assembly import Place, layers, supernet
from search_spaces.blocks.stretches import Head, Stem, conv_norm, depthwise_norm
from search_spaces.checks import above_zero, at_least_one, increasing, not_empty, one_of, some_in_order
from search_spaces.layers import Layer
from search_spaces.network import Network
from search_spaces.reading import Cut
from search_spaces.recipe import Builder, Tensor, within
from search_spaces.space import Choice, check_arch, check_choices
from search_spaces.widths import Width, elastic

Branch = Callable[..., Tensor]
Variant = Literal["megvii", "torchvision"]
EPSILON = 1e-5  # of batch norm, as in both published implementations


def _inverted(b: Builder, x: Tensor, outs: int, mid: Width, stride: int, *, kernel: int, epsilon: float) -> Tensor:
    """1x1, depthwise, 1x1: ShuffleNetV2's own branch."""
    h = conv_norm(b, x, "reduce", mid, activation="relu", epsilon=epsilon)
    h = depthwise_norm(b, h, "depthwise", kernel, stride, epsilon=epsilon)
    return conv_norm(b, h, "expand", outs, activation="relu", epsilon=epsilon)


def _separable(b: Builder, x: Tensor, outs: int, mid: Width, stride: int, *, kernel: int, epsilon: float) -> Tensor:
    """Three depthwise convolutions, each followed by a 1x1: the branch called Xception."""
    for i, (channels, step) in enumerate(((mid, stride), (mid, 1), (outs, 1)), 1):
        x = depthwise_norm(b, x, f"depthwise{i}", kernel, step, epsilon=epsilon)
        x = conv_norm(b, x, f"pointwise{i}", channels, activation="relu", epsilon=epsilon)
    return x


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What a unit does to the half of the channels that don't pass by.

    Attributes:
      branch: the convolutions.
      kernel: of those that are depthwise, and of the other branch of a strided unit.
    """

    branch: Branch
    kernel: int


OPERATIONS: dict[str, Operation] = {
    "shuffle_3x3": Operation(branch=_inverted, kernel=3),
    "shuffle_5x5": Operation(branch=_inverted, kernel=5),
    "shuffle_7x7": Operation(branch=_inverted, kernel=7),
    "xception_3x3": Operation(branch=_separable, kernel=3),
}


@dataclass(frozen=True, kw_only=True)
class ShuffleUnit:
    """A unit. Its own choices: `operation` and `scale`, where they have several options.

    At stride 1, half of the channels pass by and the operation gives as many new ones. At stride 2 both branches start
    from all channels: one is convolved depthwise and by a 1x1, the other is the operation's.

    Attributes:
      outs: channels after the unit.
      mids: options for the channels in the middle of its operation.
      operations: options, names in `OPERATIONS`; each has parameters of its own.
      stride: 1 or 2.
      variant: `megvii` (the authors) deals channels out before each split, and the short branch of a strided unit keeps
        as many as came; `torchvision` deals them out behind each unit, and both branches of a strided one give half.
      epsilon: of batch norm.
    """

    outs: int
    mids: tuple[int, ...]
    operations: tuple[str, ...] = ("shuffle_3x3",)
    stride: int = 1
    variant: Variant = "megvii"
    epsilon: float = EPSILON

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The unit's output."""
        early = self.variant == "megvii"
        if self.stride == 1:
            half = self.outs // 2
            x = b.shuffle(x, half) if early else x  # even channels to the first half, odd ones to the second
            passing, x = b.channels(x, 0, half), b.channels(x, half, half)
            y = b.concat(passing, self._chosen(b, x, partial(self._main, half)))
        else:
            short = x.width.largest if early else self.outs // 2
            y = self._chosen(b, x, partial(self._both, short))
        return y if early else b.shuffle(y, 2)

    def _chosen(self, b: Builder, x: Tensor, stretch: Callable[[Operation, Builder, Tensor], Tensor]) -> Tensor:
        options = [within(name, partial(stretch, OPERATIONS[name])) for name in self.operations]
        return b.one_of(x, "operation", options)

    def _main(self, short: int, operation: Operation, b: Builder, x: Tensor) -> Tensor:
        mid, more = elastic(self.mids, "scale"), {"kernel": operation.kernel, "epsilon": self.epsilon}
        return operation.branch(b, x, self.outs - short, mid, self.stride, **more)

    def _both(self, short: int, operation: Operation, b: Builder, x: Tensor) -> Tensor:
        h = depthwise_norm(b, x, "short_depthwise", operation.kernel, self.stride, epsilon=self.epsilon)
        h = conv_norm(b, h, "short", short, activation="relu", epsilon=self.epsilon)
        return b.concat(h, self._main(short, operation, b, x))


@dataclass(frozen=True, kw_only=True)
class PooledStem:
    """A strided 3x3 convolution, normalised and activated, and a strided 3x3 maximum."""

    outs: int
    epsilon: float = EPSILON

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The first activations."""
        return b.max_pool(conv_norm(b, x, "conv", self.outs, 3, 2, activation="relu", epsilon=self.epsilon), 3, 2)


@dataclass(frozen=True, kw_only=True)
class ShuffleStage:
    """Units that share a width; the first of them changes it, and halves the image.

    Attributes:
      width: output channels, even.
      units: how many.
    """

    width: int
    units: int = 4

    def __post_init__(self) -> None:
        if self.width < 2 or self.width % 2:
            raise ValueError(
                f"`width` of a stage must be even, as half of it passes by, got {self.width};"
                f" did you mean {max(2, self.width + 1)}?"
            )
        at_least_one(self, "units", of="a stage")


@dataclass(frozen=True, kw_only=True)
class ShuffleNetV2:
    """The space. As published it holds 40^20 = 1.1 * 10^32 networks.

    Operations are in the published order. Whether `xception_3x3` is the dearest hangs on the width and on the stride:
    it is strided before its first 1x1 convolution, the others behind it.

    Attributes:
      image_size: height and width of the images, px.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      stem_channels: of the first convolution.
      stem_pool: whether a strided maximum follows it (ShuffleNetV2) or not (Single Path One-Shot).
      stages: what each stage is.
      operations: options for each unit, names in `OPERATIONS`.
      scales: options for the channels in the middle of each unit, in halves of its output.
      head_channels: of the last convolution, before pooling.
      bias: whether the classifier has one.
      variant: how channels are split, see `ShuffleUnit`.
      epsilon: of batch norm.
    """

    image_size: int = 224
    image_channels: int = 3
    classes: int = 1000
    stem_channels: int = 16
    stem_pool: bool = False
    stages: tuple[ShuffleStage, ...] = (
        ShuffleStage(width=64),
        ShuffleStage(width=160),
        ShuffleStage(width=320, units=8),
        ShuffleStage(width=640),
    )
    operations: tuple[str, ...] = tuple(OPERATIONS)
    scales: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
    head_channels: int = 1024
    bias: bool = False
    variant: Variant = "megvii"
    epsilon: float = EPSILON

    def __post_init__(self) -> None:
        not_empty(self, "stages")
        at_least_one(self, "image_size", "image_channels", "classes", "stem_channels", "head_channels")
        above_zero(self, "epsilon")
        one_of(self, "variant", ("megvii", "torchvision"))
        some_in_order(self, "operations", tuple(OPERATIONS))
        self._check_scales()
        width = self.stem_channels
        for i, stage in enumerate(self.stages, 1):
            if self.variant == "megvii" and stage.width <= width:
                raise ValueError(
                    f"`width` of stage {i} must be above the {width} channels that enter it, as these are kept beside"
                    f" new ones, got {stage.width}; widen it or take the `torchvision` variant"
                )
            width = stage.width
        check_choices(self.choices)

    def _check_scales(self) -> None:
        increasing(self, "scales")
        for i, stage in enumerate(self.stages, 1):
            mids = self.mids(stage)
            if mids[0] < 1 or len(set(mids)) < len(mids):
                raise ValueError(
                    f"`scales` {self.scales} of half of stage {i}'s width {stage.width} must give different numbers of"
                    f" channels, got {mids}; leave some out or widen the stage"
                )

    def mids(self, stage: ShuffleStage) -> tuple[int, ...]:
        """The channels in the middle of a stage's units, one for each of `scales`."""
        return tuple(int(stage.width // 2 * scale) for scale in self.scales)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Of each unit its operation and its scale, where there are several."""
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        return tuple(
            Choice(name=f"stage{i}.unit{j}.{name}", options=options, ordered=ordered)
            for i, stage in enumerate(self.stages, 1)
            for j in range(1, stage.units + 1)
            for name, options, ordered in self._elastic
        )

    @property
    def _elastic(self) -> list[tuple[str, tuple[Any, ...], bool]]:
        """What is a choice of each unit: its own name, its options, and whether no option costs less than another."""
        alike = len({OPERATIONS[name].branch for name in self.operations}) == 1
        found = (("operation", self.operations, alike), ("scale", self.scales, True))
        return [each for each in found if len(each[1]) > 1]

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The stem, every unit, and the head."""
        return tuple(self._each_place())

    def _each_place(self) -> Iterator[Place]:
        if self.stem_pool:
            yield Place(recipe=PooledStem(outs=self.stem_channels, epsilon=self.epsilon))
        else:
            yield Place(recipe=Stem(outs=self.stem_channels, stride=2, activation="relu", epsilon=self.epsilon))
        for i, stage in enumerate(self.stages, 1):
            for j in range(1, stage.units + 1):
                recipe = ShuffleUnit(
                    outs=stage.width,
                    mids=self.mids(stage),
                    operations=self.operations,
                    stride=2 if j == 1 else 1,
                    variant=self.variant,
                    epsilon=self.epsilon,
                )
                yield Place(recipe=recipe, choices=tuple((own, f"stage{i}.unit{j}.{own}") for own, *_ in self._elastic))
        more = {"activation": "relu", "bias": self.bias, "epsilon": self.epsilon}
        yield Place(recipe=Head(width=self.head_channels, classes=self.classes, **more))

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: parameters for the largest of every option. Wrap in `jax.jit`: eager creation is slow."""
        return supernet(key, self.places, self.image_channels)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        image = (self.image_size, self.image_size, self.image_channels)
        return layers(self.places, image, Cut.of(self.choices, check_arch(self, arch)))

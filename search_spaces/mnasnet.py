"""The MnasNet space: seven blocks, each with one operation, kernel, gate, skip, width and number of layers.

MnasNet: Platform-Aware Neural Architecture Search for Mobile (arXiv:1807.11626): a factorised hierarchical space, in
which the layers of a block are alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

from jaxtyping import Int, PRNGKeyArray

from search_spaces.assembly import Place, layers, present, supernet
from search_spaces.blocks.inverted_bottleneck import InvertedBottleneck, SqueezeExcite
from search_spaces.blocks.stretches import Head, Stem, conv_norm, squeeze_excite
from search_spaces.checks import above_zero, at_least_one, increasing, not_empty, one_of
from search_spaces.elastic import make_divisible
from search_spaces.layers import Layer
from search_spaces.network import Network
from search_spaces.reading import Cut
from search_spaces.recipe import Builder, Tensor, within
from search_spaces.space import Choice, check_arch, check_choices
from search_spaces.widths import Width, elastic

Operation = Literal["separable", "mb3", "mb6", "conv"]
OPERATIONS: tuple[Operation, ...] = ("separable", "mb3", "mb6", "conv")
"""Depthwise separable, inverted bottlenecks of expansion 3 and 6, and a dense convolution."""

GATE = SqueezeExcite(ratio=0.25, of="input", divisor=1, gate="sigmoid")


@dataclass(frozen=True, kw_only=True)
class MnasStage:
    """A block of the paper: layers that are alike; the first of them changes width and stride.

    Attributes:
      widths: options for the output channels, increasing; before `width_mult`.
      depths: options for the number of layers, increasing.
      stride: of the first layer.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...] = (1, 2)
    stride: int = 1

    def __post_init__(self) -> None:
        increasing(self, "widths", "depths", of="a stage")
        one_of(self, "stride", (1, 2), of="a stage")


@dataclass(frozen=True, kw_only=True)
class MnasNet:
    """The space: 4.1 * 10^16 networks by default; MnasNet-A1 and -B1 are points of it.

    Differs: widths are the paper's 0.75, 1 and 1.25 of MobileNetV2's, made divisible by 8, and those of the published
    networks that are none of these (112, 192). Kernels of an operation share their centre. No pooling skip.

    Attributes:
      image_size: height and width of the images, px.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      width_mult: multiplies all widths but the head's, which are then made divisible by 8.
      stem_channels: of the first convolution.
      stages: what each block may be.
      operations: options for each block's operation.
      kernels: options for each block's kernel, odd.
      head_channels: of the last convolution, before pooling.
    """

    image_size: int = 224
    image_channels: int = 3
    classes: int = 1000
    width_mult: float = 1.0
    stem_channels: int = 32
    stages: tuple[MnasStage, ...] = (
        MnasStage(widths=(16, 24)),
        MnasStage(widths=(16, 24, 32), depths=(1, 2, 3), stride=2),
        MnasStage(widths=(24, 32, 40), depths=(2, 3, 4), stride=2),
        MnasStage(widths=(48, 64, 80), depths=(3, 4, 5), stride=2),
        MnasStage(widths=(72, 96, 112, 120), depths=(2, 3, 4)),
        MnasStage(widths=(120, 160, 192, 200), depths=(2, 3, 4), stride=2),
        MnasStage(widths=(240, 320, 400)),
    )
    operations: tuple[Operation, ...] = OPERATIONS
    kernels: tuple[int, ...] = (3, 5)
    head_channels: int = 1280

    def __post_init__(self) -> None:
        not_empty(self, "stages")
        at_least_one(self, "image_size", "image_channels", "classes", "stem_channels", "head_channels")
        above_zero(self, "width_mult")
        if not self.operations or set(self.operations) - set(OPERATIONS):
            raise ValueError(f"`operations` must be some of {OPERATIONS}, got {self.operations}")
        odd = all(kernel > 0 and kernel % 2 for kernel in self.kernels)
        if not self.kernels or not odd or list(self.kernels) != sorted(set(self.kernels)):
            better = tuple(sorted({kernel | 1 for kernel in self.kernels if kernel > 0})) or (3,)
            raise ValueError(f"`kernels` must be odd and increase, got {self.kernels}; did you mean {better}?")
        check_choices(self.choices)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Per stage its width, depth, operation, kernel, gate and, where it may have several layers, skip."""
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        return tuple(self._each_choice())

    def _each_choice(self) -> Iterator[Choice]:
        for i, stage in enumerate(self.stages, 1):
            yield Choice(name=f"stage{i}.width", options=stage.widths)
            yield Choice(name=f"stage{i}.depth", options=stage.depths)
            yield Choice(name=f"stage{i}.op", options=self.operations, ordered=len(self.operations) == 1)
            yield Choice(name=f"stage{i}.kernel", options=self.kernels)
            yield Choice(name=f"stage{i}.squeeze_excite", options=(False, True))
            if max(stage.depths) > 1:
                requires = present(f"stage{i}.depth", stage.depths, 2)
                yield Choice(name=f"stage{i}.skip", options=(False, True), requires=requires)

    @cached_property
    def _places(self) -> tuple[Place, ...]:
        return tuple(self._each_place())

    def _each_place(self) -> Iterator[Place]:
        def channels(width: int) -> int:
            return make_divisible(width * self.width_mult)

        yield Place(recipe=Stem(outs=channels(self.stem_channels), stride=2, activation="relu"))
        for i, stage in enumerate(self.stages, 1):
            for j in range(1, max(stage.depths) + 1):
                recipe = MnasLayer(
                    outs=elastic(tuple(map(channels, stage.widths)), "outs"),
                    operations=self.operations,
                    kernels=self.kernels,
                    stride=stage.stride if j == 1 else 1,
                    may_skip=j > 1,
                )
                own = ("op", "kernel", "squeeze_excite", *(("skip",) if j > 1 else ()))
                choices = (("outs", f"stage{i}.width"), *((name, f"stage{i}.{name}") for name in own))
                yield Place(recipe=recipe, choices=choices, when=present(f"stage{i}.depth", stage.depths, j))
        yield Place(recipe=Head(width=self.head_channels, classes=self.classes, activation="relu"))

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: every layer has all operations. Wrap in `jax.jit`: eager creation is slow."""
        return supernet(key, self._places, self.image_channels)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        image = (self.image_size, self.image_size, self.image_channels)
        return layers(self._places, image, Cut.of(self.choices, check_arch(self, arch)))


@dataclass(frozen=True, kw_only=True)
class MnasLayer:
    """One layer. Its own choices: `op`, `kernel`, `squeeze_excite`, `outs` and, where it may skip, `skip`.

    Attributes:
      outs: channels behind it.
      operations: options, each with parameters of its own.
      kernels: options for the kernel of all of them.
      stride: of the layer.
      may_skip: whether adding the input to the output is a choice.
    """

    outs: Width
    operations: tuple[Operation, ...]
    kernels: tuple[int, ...]
    stride: int
    may_skip: bool

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The layer's output."""
        y = b.one_of(x, "op", [within(operation, self._operation(operation)) for operation in self.operations])
        return b.optional(y, "skip", 1, lambda b, y: b.add(x, y)) if self.may_skip else y

    def _operation(self, operation: Operation) -> Any:
        if operation == "conv":
            return self._conv
        expansions = {"separable": 1, "mb3": 3, "mb6": 6}
        return InvertedBottleneck(
            outs=self.outs,
            kernels=self.kernels,
            expansions=(expansions[operation],),
            stride=self.stride,
            residual=False,
            squeeze_excite=(False, True),
            gate=GATE,
            expands=operation != "separable",
        )

    def _conv(self, b: Builder, x: Tensor) -> Tensor:
        h = conv_norm(b, x, "conv", self.outs, self.kernels, self.stride, activation="relu")
        return b.optional(h, "squeeze_excite", 1, partial(_gated, x.width.mapped(GATE.squeezed)))


def _gated(squeezed: Width, b: Builder, h: Tensor) -> Tensor:
    return squeeze_excite(b, h, "squeeze_excite", squeezed, gate="sigmoid")

"""SqueezeNet: fire modules squeeze channels, then expand them by 1x1 and 3x3 convolutions side by side.

SqueezeNet (arXiv:1602.07360); what is elastic are the three quantities that its section 5 studies: how many channels a
module expands to, the ratio that it squeezes them to, and the share of them that 3x3 convolutions make. There is no
normalisation.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Int, PRNGKeyArray

from search_spaces.assembly import Place, layers, supernet
from search_spaces.checks import at_least_one, increasing, not_empty
from search_spaces.elastic import Conv
from search_spaces.graph import Graph
from search_spaces.initialise import Draw
from search_spaces.layers import Layer, Padding, ceil_padding, windows
from search_spaces.network import Network
from search_spaces.reading import Cut, Reading
from search_spaces.recipe import Builder, Tensor
from search_spaces.space import Choice, check_arch, check_choices
from search_spaces.widths import Channels, as_width, elastic

POOL, POOL_STRIDE = 3, 2


def biased_conv(
    b: Builder,
    x: Tensor,
    name: str,
    channels: int | Channels,
    kernel: int = 1,
    stride: int = 1,
    *,
    padding: Padding | None = None,
    deviation: float | None = None,
    bias: float = 0.0,
) -> Tensor:
    """A convolution with bias that keeps the size of its input's numbers, however few channels are on.

    Nothing normalises what it gives, so its weights are scaled as if they had been drawn for the channels that are on:
    by the root of how many there may be to how many there are. A network that is cut out has the scaled weights.

    Args:
      b: the builder.
      x: its input.
      name: of its parameters.
      channels: after it.
      kernel: of the convolution.
      stride: of the convolution.
      padding: zeros around the image; None for `kernel // 2` on each side.
      deviation: of new weights; None for He initialisation over the fan-in, as the published networks start.
      bias: new ones.
    """
    outs = as_width(channels)

    def init(draw: Draw, ins: int, outs: int) -> Conv:
        scale = math.sqrt(2 / (kernel * kernel * ins)) if deviation is None else deviation
        return Conv(draw(kernel, kernel, ins, outs) * scale, stride, bias=jnp.full(outs, bias), padding=padding)

    def cut(module: Conv, read: Reading) -> Conv:
        ins = x.width.read(read)
        kept = module.cut(ins, outs.read(read))
        weight = kept.weight[...]
        on = ins.count(weight[0, 0, :, 0].astype(jnp.promote_types(weight.dtype, jnp.float32)))
        kept.weight = nnx.Param((weight * (x.width.largest / on) ** 0.5).astype(weight.dtype))
        return kept

    def run(module: Conv, read: Reading, array: Array) -> Array:
        return module(array)

    def write(graph: Graph, read: Reading, at: int, path: str, outs: int) -> int:
        return graph.conv(at, outs, path, kernel, stride, bias=True, padding=padding)

    return b.layer(x, name, outs, init=init, cut=cut, run=run, write=write, clean=False)


@dataclass(frozen=True, kw_only=True)
class SqueezeStem:
    """A strided convolution without padding, and its activation."""

    outs: int
    kernel: int

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The first activations."""
        return b.act(biased_conv(b, x, "conv", self.outs, self.kernel, 2, padding=(0, 0, 0, 0)), "relu")


@dataclass(frozen=True, kw_only=True)
class FireModule:
    """A fire module. Its own choices: `expand`, `squeeze`, `share`, where they have several options.

    Attributes:
      expands: options for the channels after it.
      squeezes: options for the ratio of the channels in its middle to those.
      shares: options for the share of the channels after it that 3x3 convolutions make.
      pooled: whether the image is halved first, by a maximum in which windows that are partly filled count.
    """

    expands: tuple[int, ...]
    squeezes: tuple[float, ...]
    shares: tuple[float, ...]
    pooled: bool

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The module's output."""
        x = b.max_pool(x, POOL, POOL_STRIDE, "ceil") if self.pooled else x
        outs = elastic(self.expands, "expand")
        x = b.act(biased_conv(b, x, "squeeze", outs.times(self.squeezes, "squeeze", squeezed)), "relu")
        small = outs.times(self.shares, "share", lambda n, share: n - shared(n, share))
        large = outs.times(self.shares, "share", shared)
        h = b.act(biased_conv(b, x, "expand1x1", small), "relu")
        return b.concat(h, b.act(biased_conv(b, x, "expand3x3", large, 3), "relu"))


def squeezed(channels: int, ratio: float) -> int:
    """The channels in the middle of a fire module that expands to so many."""
    return max(1, round(channels * ratio))


def shared(channels: int, share: float) -> int:
    """How many of a fire module's channels 3x3 convolutions make; at least 1, and one less than all."""
    return min(max(1, round(channels * share)), channels - 1)


@dataclass(frozen=True, kw_only=True)
class ConvolvedClassifier:
    """A 1x1 convolution to the classes, its activation, and the mean over positions."""

    classes: int

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """Logits, none of them below 0."""
        # Behind the activation a class below 0 has no gradient. All start above, by a number that softmax doesn't see;
        # the published networks start at 0, and lose some classes where images are small.
        h = biased_conv(b, x, "classifier", self.classes, deviation=0.01, bias=1.0)
        return b.global_pool(b.act(h, "relu"))


@dataclass(frozen=True, kw_only=True)
class Fire:
    """What a fire module may be.

    Attributes:
      channels: after it, before they are multiplied.
      pooled: whether the image is halved before it.
    """

    channels: int
    pooled: bool = False

    def __post_init__(self) -> None:
        if self.channels < 2:
            raise ValueError(f"`channels` of a fire module must be at least 2, got {self.channels}")


CHANNELS = (128, 128, 256, 256, 384, 384, 512, 512)
FIRES = {  # of the published versions, which differ in where they are pooled
    version: tuple(Fire(channels=channels, pooled=i in pooled) for i, channels in enumerate(CHANNELS))
    for version, pooled in (("1.0", (0, 3, 7)), ("1.1", (0, 2, 4)))
}


@dataclass(frozen=True, kw_only=True)
class SqueezeNet:
    """The space. The default is around SqueezeNet 1.1, which needs 2.4 times fewer MACs than 1.0.

    Attributes:
      image_size: height and width of the images, px.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      stem_channels: of the first convolution.
      stem_kernel: of the first convolution, which has a stride of 2 and no padding.
      fires: what each fire module may be.
      expands: options for what multiplies the channels after a module.
      squeezes: options for the ratio of the channels in its middle to those after it; an eighth was published.
      shares: options for the share of the channels after it that 3x3 convolutions make; half was published.
    """

    image_size: int = 224
    image_channels: int = 3
    classes: int = 1000
    stem_channels: int = 64
    stem_kernel: int = 3
    fires: tuple[Fire, ...] = FIRES["1.1"]
    expands: tuple[float, ...] = (0.5, 0.75, 1.0)
    squeezes: tuple[float, ...] = (0.125, 0.25, 0.5)
    shares: tuple[float, ...] = (0.25, 0.5, 0.75)

    def __post_init__(self) -> None:
        not_empty(self, "fires", "fire module")
        at_least_one(self, "image_size", "image_channels", "classes", "stem_channels", "stem_kernel")
        increasing(self, "expands")
        increasing(self, "squeezes", "shares", most=1.0, instead=0.5)
        self._check_channels()
        self._check_image()
        check_choices(self.choices)

    def _check_channels(self) -> None:
        for fire in self.fires:
            counts = self.counts(fire)
            if counts[0] < 2 or len(set(counts)) < len(counts):
                raise ValueError(
                    f"`expands` {self.expands} of {fire.channels} channels must give different numbers of at least 2,"
                    f" got {counts}; leave some out or widen the fire module"
                )
            for name, built in (("squeezes", squeezed), ("shares", shared)):
                found = tuple(built(counts[0], ratio) for ratio in getattr(self, name))
                if len(set(found)) < len(found):
                    raise ValueError(
                        f"`{name}` {getattr(self, name)} of {counts[0]} channels must give different numbers, got"
                        f" {found}; leave some out or widen the fire module"
                    )

    def _check_image(self) -> None:
        side = windows(self.image_size, self.stem_kernel, 2, 0, 0)
        for fire in self.fires:
            if fire.pooled:
                below, right = ceil_padding((side, side, 1), POOL, POOL_STRIDE)[1::2]
                side = windows(side, POOL, POOL_STRIDE, 0, max(below, right))
            if side < 1:
                raise ValueError(
                    f"`image_size` {self.image_size} is too small for the pools of `fires`: nothing is left of the"
                    " image; take larger images or pool less often"
                )

    def counts(self, fire: Fire) -> tuple[int, ...]:
        """The channels after a fire module, one number for each of `expands`."""
        return tuple(round(fire.channels * expand) for expand in self.expands)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Of each fire module its channels, what they are squeezed to and the share of 3x3, where there are several."""
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        return tuple(
            Choice(name=f"fire{i}.{name}", options=options)
            for i in range(1, len(self.fires) + 1)
            for name, options in self._elastic
        )

    @property
    def _elastic(self) -> list[tuple[str, tuple[float, ...]]]:
        """What is a choice of each module."""
        pairs = (("expand", self.expands), ("squeeze", self.squeezes), ("share", self.shares))
        return [(name, options) for name, options in pairs if len(options) > 1]

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The stem, every fire module, and the classifier."""
        return tuple(self._each_place())

    def _each_place(self) -> Iterator[Place]:
        yield Place(recipe=SqueezeStem(outs=self.stem_channels, kernel=self.stem_kernel))
        for i, fire in enumerate(self.fires, 1):
            counts = self.counts(fire)
            recipe = FireModule(expands=counts, squeezes=self.squeezes, shares=self.shares, pooled=fire.pooled)
            yield Place(recipe=recipe, choices=tuple((name, f"fire{i}.{name}") for name, _ in self._elastic))
        yield Place(recipe=ConvolvedClassifier(classes=self.classes))

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: parameters for the largest of every option. Wrap in `jax.jit`: eager creation is slow."""
        return supernet(key, self.places, self.image_channels)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        image = (self.image_size, self.image_size, self.image_channels)
        return layers(self.places, image, Cut.of(self.choices, check_arch(self, arch)))

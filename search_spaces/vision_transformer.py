"""The AutoFormer space: vision transformers elastic in width, depth, heads and the dense layers' ratio.

AutoFormer: Searching Transformers for Visual Recognition (arXiv:2107.00651). Weights are shared as there: a narrower
network is the first so many channels and heads of a wider one, a shallower one its first layers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from jaxtyping import Int, PRNGKeyArray

from search_spaces.encoder import Embedding, EncoderLayer, EncoderPlan, Readout, readout_layers
from search_spaces.initialise import Draw, drawn
from search_spaces.layers import Graph, Layer
from search_spaces.network import Network, Slot
from search_spaces.reading import Cut
from search_spaces.space import Choice, check_arch, check_choices
from search_spaces.static import RESOLUTION

Pool = Literal["mean", "class"]


@dataclass(frozen=True, kw_only=True)
class VisionTransformer:
    """The space. The default is the published supernet-tiny: 1.06 * 10^9 networks of 5.4 to 10.5 M parameters.

    DeiT (arXiv:2012.12877) and ViT (arXiv:2010.11929) are points of it: no relative positions, the class token read.

    References:
      AutoFormer (arXiv:2107.00651).
      Differs: parameters reach as far as the largest options (the authors' supernet is somewhat wider); dense layers
      start with LeCun's variance instead of a deviation of 0.02; no dropout and no stochastic depth; a resolution may
      be a choice, with positions of its own.

    Attributes:
      image_size: height and width of the images, px, where the resolution is no choice.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      resolutions: options for the resolution that images are resized to, px; a static choice. Empty for none.
      patch: side of the squares that become tokens, px; divides each resolution.
      dims: options for the channels of a token, one choice for all layers.
      depths: options for the number of encoder layers.
      heads: options for each layer's number of heads.
      mlp_ratios: options for each layer's ratio of hidden to token channels.
      head_dim: channels of a head.
      class_token: whether a learned token comes before the patches.
      pool: what the classifier reads: the `mean` over patches or the `class` token.
      relative_reach: how far the learned relative positions reach, in patches; None for none.
      epsilon: of layer norm.
    """

    image_size: int = 224
    image_channels: int = 3
    classes: int = 1000
    resolutions: tuple[int, ...] = ()
    patch: int = 16
    dims: tuple[int, ...] = (192, 216, 240)
    depths: tuple[int, ...] = (12, 13, 14)
    heads: tuple[int, ...] = (3, 4)
    mlp_ratios: tuple[float, ...] = (3.5, 4.0)
    head_dim: int = 64
    class_token: bool = True
    pool: Pool = "mean"
    relative_reach: int | None = 14
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("image_size", "image_channels", "classes", "patch", "head_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if self.relative_reach is not None and self.relative_reach < 1:
            raise ValueError(f"`relative_reach` must be at least 1, or None for none, got {self.relative_reach}")
        if not self.epsilon > 0:
            raise ValueError(f"`epsilon` must be above 0, got {self.epsilon}")
        for name in ("resolutions", "dims", "depths", "heads", "mlp_ratios"):
            values = getattr(self, name)
            if not values and name == "resolutions":
                continue
            if not values or list(values) != sorted(set(values)) or min(values) <= 0:
                raise ValueError(
                    f"`{name}` must be positive and increase strictly, got {values};"
                    f" did you mean {tuple(sorted({v for v in values if v > 0})) or (1,)}?"
                )
        for side in self.resolutions or (self.image_size,):
            if side % self.patch:
                nearest = max(self.patch, round(side / self.patch) * self.patch)
                raise ValueError(f"images must be whole patches of {self.patch} px, got {side} px; nearest: {nearest}")
        if min(self.dims) * min(self.mlp_ratios) < 1:
            raise ValueError(f"`mlp_ratios` must leave a hidden channel of {min(self.dims)}, got {self.mlp_ratios}")
        if self.pool == "class" and not self.class_token:
            raise ValueError("`pool` is `class`, but there is no class token; set class_token=True or pool=`mean`")
        check_choices(self.choices)

    @cached_property
    def plan(self) -> EncoderPlan:
        """What each encoder layer may be."""
        return EncoderPlan(
            dims=self.dims,
            heads=self.heads,
            mlp_ratios=self.mlp_ratios,
            head_dim=self.head_dim,
            reach=self.relative_reach,
            class_token=self.class_token,
            epsilon=self.epsilon,
        )

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The resolution, the width, the depth, then per layer its heads and its ratio."""
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        return tuple(self._each_choice())

    def _each_choice(self) -> Iterator[Choice]:
        if self.resolutions:
            yield Choice(name=RESOLUTION, options=self.resolutions, static=True)
        yield Choice(name="dim", options=self.dims)
        yield Choice(name="depth", options=self.depths)
        for layer in range(1, max(self.depths) + 1):
            at_least = self._at_least(layer)
            requires = ("depth", at_least) if at_least else None
            yield Choice(name=f"layer{layer}.heads", options=self.heads, requires=requires)
            yield Choice(name=f"layer{layer}.mlp_ratio", options=self.mlp_ratios, requires=requires)

    def _at_least(self, layer: int) -> int:
        """The index of the depth from which a layer, counted from 1, is there."""
        return next(index for index, depth in enumerate(self.depths) if depth >= layer)

    @cached_property
    def _slots(self) -> tuple[Slot, ...]:
        dim, resolution = ("dim", "dim"), ((RESOLUTION, RESOLUTION),) if self.resolutions else ()
        slots = [Slot(inputs=(0,), choices=(dim, *resolution))]
        for layer in range(1, max(self.depths) + 1):
            choices = (dim, *((own, f"layer{layer}.{own}") for own in ("heads", "mlp_ratio")))
            at_least = self._at_least(layer)
            slots.append(Slot(inputs=(layer,), choices=choices, when=("depth", at_least) if at_least else None))
        return (*slots, Slot(inputs=(len(slots),), choices=(dim,)))

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: parameters for the largest of every option. Wrap in `jax.jit`: eager creation is slow."""
        return drawn(key, self._network)

    def _network(self, draw: Draw) -> Network:
        sides = [size // self.patch for size in self.resolutions or (self.image_size,)]
        blocks = [
            Embedding.init(draw, self.image_channels, self.patch, sides, self.dims, self.class_token),
            *(EncoderLayer.init(draw, self.plan) for _ in range(max(self.depths))),
            Readout.init(draw, self.dims, self.classes, self.pool, self.class_token, self.epsilon),
        ]
        return Network(self._slots, blocks)

    def layers(self, arch: Int[object, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        read = Cut.of(self.choices, check_arch(self, arch))
        size = self.resolutions[read.fixed(RESOLUTION)] if self.resolutions else self.image_size
        graph = Graph((size, size, self.image_channels))
        x = graph.patch_embed(0, self.dims[read.index("dim", self.dims)], "blocks.0.patches", self.patch)
        x = graph.positions(x, "blocks.0.positions.0", self.class_token)
        slots = self._slots[1:-1]
        there = [slot for slot in slots if slot.is_there(read)]
        for position, slot in enumerate(there, 1):
            x = self.plan.layers(graph, x, read.bound(slot.choices), f"blocks.{position}")
        path = f"blocks.{len(there) + 1}"
        readout_layers(graph, x, self.classes, self.pool, self.class_token, path, self.epsilon)
        return tuple(graph.layers)

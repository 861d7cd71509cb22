"""The AutoFormer space: vision transformers elastic in width, depth, heads and the dense layers' ratio.

AutoFormer: Searching Transformers for Visual Recognition (arXiv:2107.00651). Weights are shared as there: a narrower
network is the first so many channels and heads of a wider one, a shallower one its first layers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from jaxtyping import Int, PRNGKeyArray

from search_spaces.assembly import Place, layers, present, supernet
from search_spaces.blocks.token_recipes import PATCH, Embedding, EncoderLayer, Pool, Readout
from search_spaces.checks import above_zero, at_least_one, increasing
from search_spaces.layers import Layer
from search_spaces.network import Network
from search_spaces.reading import Cut
from search_spaces.space import Choice, check_arch, check_choices
from search_spaces.static import RESOLUTION


@dataclass(frozen=True, kw_only=True)
class VisionTransformer:
    """The space. The default is the published supernet-tiny: 1.06 * 10^9 networks of 5.4 to 10.5 M parameters.

    DeiT (arXiv:2012.12877) and ViT (arXiv:2010.11929) are points of it: no relative positions, the class token read.

    References:
      AutoFormer (arXiv:2107.00651).
      Differs: parameters reach as far as the largest options (the authors' supernet is somewhat wider); dense layers
      start with LeCun's variance instead of a deviation of 0.02; no dropout and no stochastic depth. The resolution
      and the size of patches may be choices, as in FlexiViT (arXiv:2212.08013): positions of every grid, and the map
      of every patch, are the learned ones resized.

    Attributes:
      image_size: height and width of the images, px, where the resolution is no choice.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      resolutions: options for the resolution that images are resized to, px; a static choice. Empty for none.
      patch: side of the squares that become tokens, px, where it is no choice; else of those whose map is learned.
      patches: options for the side of the squares, px, the largest first; a static choice. Empty for none. Each divides
        each resolution.
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
    patches: tuple[int, ...] = ()
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
        at_least_one(self, "image_size", "image_channels", "classes", "patch", "head_dim")
        if self.relative_reach is not None and self.relative_reach < 1:
            raise ValueError(f"`relative_reach` must be at least 1, or None for none, got {self.relative_reach}")
        above_zero(self, "epsilon")
        if self.resolutions:
            increasing(self, "resolutions")
        increasing(self, "dims", "depths", "heads", "mlp_ratios")
        if self.patches and (list(self.patches) != sorted(set(self.patches), reverse=True) or min(self.patches) < 1):
            better = tuple(sorted({patch for patch in self.patches if patch > 0}, reverse=True)) or (16,)
            raise ValueError(
                f"`patches` must be positive and decrease strictly, the fewest tokens first, got {self.patches};"
                f" did you mean {better}?"
            )
        for side, patch in product(self._sizes, self._patches):
            if side % patch:
                nearest = max(patch, round(side / patch) * patch)
                raise ValueError(f"images must be whole patches of {patch} px, got {side} px; nearest: {nearest}")
        if min(self.dims) * min(self.mlp_ratios) < 1:
            raise ValueError(f"`mlp_ratios` must leave a hidden channel of {min(self.dims)}, got {self.mlp_ratios}")
        if self.pool == "class" and not self.class_token:
            raise ValueError("`pool` is `class`, but there is no class token; set class_token=True or pool=`mean`")
        check_choices(self.choices)

    @property
    def _sizes(self) -> tuple[int, ...]:
        return self.resolutions or (self.image_size,)

    @property
    def _patches(self) -> tuple[int, ...]:
        return self.patches or (self.patch,)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The resolution, the patches, the width, the depth, then per layer its heads and its ratio."""
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        return tuple(self._each_choice())

    def _each_choice(self) -> Iterator[Choice]:
        if self.resolutions:
            yield Choice(name=RESOLUTION, options=self.resolutions, static=True)
        if self.patches:  # smaller ones make more tokens, but need fewer weights to map them
            yield Choice(name=PATCH, options=self.patches, static=True, ordered=False)
        yield Choice(name="dim", options=self.dims)
        yield Choice(name="depth", options=self.depths)
        for layer in range(1, max(self.depths) + 1):
            requires = present("depth", self.depths, layer)
            yield Choice(name=f"layer{layer}.heads", options=self.heads, requires=requires)
            yield Choice(name=f"layer{layer}.mlp_ratio", options=self.mlp_ratios, requires=requires)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Patches to tokens, every encoder layer that may be there, tokens to logits."""
        return tuple(self._each_place())

    def _each_place(self) -> Iterator[Place]:
        embedding = Embedding(
            dims=self.dims,
            sizes=self._sizes,
            patches=self._patches,
            learned=self.patch,
            class_token=self.class_token,
        )
        shaping = [name for name, options in ((RESOLUTION, self.resolutions), (PATCH, self.patches)) if options]
        yield Place(recipe=embedding, choices=tuple((name, name) for name in (*shaping, "dim")))
        encoder = EncoderLayer(
            heads=self.heads,
            mlp_ratios=self.mlp_ratios,
            head_dim=self.head_dim,
            reach=self.relative_reach,
            class_token=self.class_token,
            epsilon=self.epsilon,
        )
        for layer in range(1, max(self.depths) + 1):
            choices = tuple((own, f"layer{layer}.{own}") for own in ("heads", "mlp_ratio"))
            yield Place(recipe=encoder, choices=choices, when=present("depth", self.depths, layer))
        yield Place(
            recipe=Readout(classes=self.classes, pool=self.pool, class_token=self.class_token, epsilon=self.epsilon)
        )

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: parameters for the largest of every option. Wrap in `jax.jit`: eager creation is slow."""
        return supernet(key, self.places, self.image_channels)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        read = Cut.of(self.choices, check_arch(self, arch))
        side = self._sizes[read.fixed(RESOLUTION)]
        return layers(self.places, (side, side, self.image_channels), read)

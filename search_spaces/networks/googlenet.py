"""GoogLeNet, or Inception v1: blocks of four branches joined (arXiv:1409.4842), without the auxiliary classifiers.

As torchvision has it: batch norm behind every convolution, no biases, no local response normalisation, and 3x3 where
the paper has 5x5. `inception_v1` is the paper's own: 5x5, biases and no norms. Both are without dropout.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from search_spaces.assembly import Fixed, Place
from search_spaces.blocks.stretches import Classifier
from search_spaces.networks.point import Point
from search_spaces.recipe import Builder, Recipe, Tensor

EPSILON = 1e-3

BLOCKS = (  # 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5; behind the pool: and then a pool of that kernel between stages
    (64, 96, 128, 16, 32, 32, None),
    (128, 128, 192, 32, 96, 64, 3),
    (192, 96, 208, 16, 48, 64, None),
    (160, 112, 224, 24, 64, 64, None),
    (128, 128, 256, 24, 64, 64, None),
    (112, 144, 288, 32, 64, 64, None),
    (256, 160, 320, 32, 128, 128, 2),
    (256, 160, 320, 32, 128, 128, None),
    (384, 192, 384, 48, 128, 128, None),
)


def _conv(b: Builder, x: Tensor, name: str, outs: int, kernel: int, stride: int, normed: bool) -> Tensor:
    h = b.conv(x, name, outs, kernel, stride, bias=not normed)
    return b.act(b.norm(h, f"{name}_norm", EPSILON) if normed else h, "relu")


@dataclass(frozen=True, kw_only=True)
class InceptionStem:
    """Three convolutions, a pool behind the first and the last.

    Attributes:
      normed: batch norms instead of biases.
    """

    normed: bool

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """Activations at an eighth of the resolution."""
        x = b.max_pool(_conv(b, x, "conv1", 64, 7, 2, self.normed), 3, 2, "ceil")
        x = _conv(b, x, "conv2", 64, 1, 1, self.normed)
        return b.max_pool(_conv(b, x, "conv3", 192, 3, 1, self.normed), 3, 2, "ceil")


@dataclass(frozen=True, kw_only=True)
class Inception:
    """Four branches of one input, their channels joined.

    Attributes:
      widths: of the 1x1 convolution; of the 3x3 one and what stands before it, this first; of the large one likewise;
        of the convolution behind the pool.
      large: the kernel of the large convolution.
      normed: batch norms instead of biases.
      pool: kernel of the pool at stride 2 behind it all; None for none.
    """

    widths: tuple[int, int, int, int, int, int]
    large: int
    normed: bool
    pool: int | None = None

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The joined branches."""
        single, middle_in, middle, large_in, large, pooled = self.widths

        def conv(x: Tensor, name: str, outs: int, kernel: int = 1) -> Tensor:
            return _conv(b, x, name, outs, kernel, 1, self.normed)

        joined = b.concat(
            conv(x, "single", single),
            conv(conv(x, "middle_reduce", middle_in), "middle", middle, 3),
            conv(conv(x, "large_reduce", large_in), "large", large, self.large),
            conv(b.max_pool(x, 3), "pooled", pooled),
        )
        return joined if self.pool is None else b.max_pool(joined, self.pool, 2, "ceil")


def googlenet(paper: bool = False, image_size: int = 224, classes: int = 1000) -> Point:
    """GoogLeNet as torchvision, or else the paper, has it."""
    where = "arXiv:1409.4842 without local response normalisation" if paper else "torchvision googlenet"
    return Point(
        space=Fixed(places=tuple(_places(paper, classes)), image=(image_size, image_size, 3)),
        source=f"{where}, without auxiliary classifiers",
    )


def _places(paper: bool, classes: int) -> Iterator[Place]:
    recipes: list[Recipe] = [InceptionStem(normed=not paper)]
    for *widths, pool in BLOCKS:
        recipes.append(Inception(widths=tuple(widths), large=5 if paper else 3, normed=not paper, pool=pool))  # pyright: ignore[reportArgumentType]
    for recipe in (*recipes, Classifier(classes=classes)):
        yield Place(recipe=recipe)


NETWORKS: dict[str, Callable[[], Point]] = {"googlenet": googlenet, "inception_v1": partial(googlenet, True)}

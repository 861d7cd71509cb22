"""A space made ready to be checked: a lively supernet, images, some architectures, and what the readings say of each.

What several contracts look at is computed once, when the first of them asks.
"""

import math
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from search_spaces.derived.sampling import sample
from search_spaces.extract import Extracted, extract
from search_spaces.layers import Layer
from search_spaces.reading import Cut, Masked, masked
from search_spaces.space import Space, active, largest, option_counts, smallest
from search_spaces.static import fixed_of, input_size, resize

BATCH = 6


@lru_cache(maxsize=1)
def compiler_options() -> dict[str, Any] | None:
    """What makes XLA compile fast; equality does not hang on how well programs run.

    On CPUs without the new emitters of fusions and LLVM's optimisations. None where the compiler knows no such options.
    """
    options = {
        "xla_cpu_use_fusion_emitters": False,
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
    }
    try:
        jax.jit(lambda x: x + 1, compiler_options=options)(np.float32(0))
    except jax.errors.JaxRuntimeError:
        return None
    return options


def quick(run: Callable[..., Any], **how: Any) -> Any:
    """`jax.jit` for programs that run once or a few times: compiling is most of their time."""
    options = compiler_options() if jax.default_backend() == "cpu" else None
    return jax.jit(run, compiler_options=options, **how)


def lively(space: Space) -> Any:
    """A supernet in which every number matters: with fresh biases of 0, what leaks from channels that are off is 0."""
    rng = np.random.default_rng(0)

    def draw(path: Any, like: Any) -> jax.Array:
        if len(like.shape) > 1:
            return jnp.asarray(rng.normal(0, math.sqrt(2 / math.prod(like.shape[:-1])), like.shape), jnp.float32)
        low, high = (0.5, 1.5) if "scale" in jax.tree_util.keystr(path) else (-0.5, 0.5)
        return jnp.asarray(rng.uniform(low, high, like.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, nnx.eval_shape(lambda: space.supernet(jax.random.key(0))))


def wide(tree: Any) -> Any:
    """All arrays in float64."""
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def one_hot(space: Space, arch: np.ndarray) -> dict[str, np.ndarray]:
    """An architecture as rows of probabilities."""
    pairs = zip(space.choices, arch.tolist(), strict=True)
    return {choice.name: np.eye(len(choice.options))[index] for choice, index in pairs}


class Answer(NamedTuple):
    """What a reading makes of an architecture, in float64.

    Attributes:
      logits: of the images, normalised by their own statistics.
      stats: those.
      gradient: of the random sum of logits by all parameters.
      by_rows: and by the architecture's rows; None where the reading has none.
      given: logits of other images, normalised by `stats`.
    """

    logits: Any
    stats: Any
    gradient: Any
    by_rows: Any
    given: Any


class Case:
    """A space with a supernet, images, some architectures, and what the masked reading says of each.

    Attributes:
      space: the space.
      archs: the smallest, three sampled, the largest; distinct.
    """

    def __init__(self, space: Space):
        """Computes nothing yet."""
        self.space = space
        self._pulled: dict[bytes, Answer] = {}
        self._used: dict[bytes, np.ndarray] = {}

    @cached_property
    def archs(self) -> list[np.ndarray]:
        """The smallest, three sampled, the largest; distinct."""
        if not self.space.choices:
            return [smallest(self.space)]
        drawn = np.asarray(sample(jax.random.key(2), self.space, 3))
        return list(np.unique([smallest(self.space), *drawn, largest(self.space)], axis=0))

    @cached_property
    def rows(self) -> np.ndarray:
        """More architectures, for what costs little."""
        if not self.space.choices:
            return np.stack(self.archs)
        return np.unique(np.asarray(sample(jax.random.key(5), self.space, 12)), axis=0)

    @cached_property
    def some(self) -> list[int]:
        """Positions of two architectures, for what costs much: of the sampled ones, those with most to mask.

        That is, most genes that have an effect and could have a later option: what masks do shows there.
        """
        last = option_counts(self.space) - 1

        def maskable(position: int) -> int:
            arch = self.archs[position]
            return int((active(self.space, arch) & (arch < last)).sum()) if len(arch) else 0

        between = range(1, len(self.archs) - 1) or range(len(self.archs))
        return sorted(sorted(between, key=maskable, reverse=True)[:2])

    @cached_property
    def layers(self) -> list[tuple[Layer, ...]]:
        """Of each architecture."""
        return [self.space.layers(arch) for arch in self.archs]

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images, before they are resized."""
        return self.space.layers(largest(self.space))[0].shape

    @cached_property
    def classes(self) -> int:
        """Logits of an image."""
        return self.layers[-1][-1].shape[-1]

    @cached_property
    def supernet(self) -> Any:
        """With parameters that all matter."""
        return lively(self.space)

    @cached_property
    def _images(self) -> tuple[Any, Any]:
        images, calibration = jax.random.normal(jax.random.key(1), (2, BATCH, *self.shape), jnp.float32)
        return images, calibration

    @property
    def images(self) -> Any:
        """Noise."""
        return self._images[0]

    @property
    def calibration(self) -> Any:
        """More noise, to take batch-norm statistics of."""
        return self._images[1]

    @cached_property
    def cotangent(self) -> np.ndarray:
        """Random weights of the logits."""
        return np.random.default_rng(0).normal(size=(BATCH, self.classes))

    def seen(self, arch: np.ndarray, images: Any) -> Any:
        """The images at the architecture's resolution."""
        with jax.enable_x64(False):  # resizing rounds otherwise where float64 is on
            return resize(images, input_size(self.space, fixed_of(self.space, arch)))

    # The masked reading in float32

    @cached_property
    def _read(self) -> Any:
        return quick(
            lambda fixed, net, arch, images, stats: net(masked(self.space, arch, fixed), images, stats),
            static_argnums=0,
        )

    def masked(self, arch: np.ndarray, images: Any, stats: Any = None) -> tuple[Any, Any]:
        """Logits and statistics."""
        fixed, seen = fixed_of(self.space, arch), self.seen(arch, images)
        return self._read(fixed, self.supernet, jnp.asarray(arch), seen, stats)

    @cached_property
    def stats(self) -> list[Any]:
        """Of each architecture, on the calibration images."""
        return [self.masked(arch, self.calibration)[1] for arch in self.archs]

    @cached_property
    def batch_logits(self) -> list[np.ndarray]:
        """Of each architecture, with the batch's own statistics."""
        return [np.asarray(self.masked(arch, self.images)[0]) for arch in self.archs]

    @cached_property
    def logits(self) -> list[np.ndarray]:
        """Of each architecture, with the calibration images' statistics."""
        pairs = zip(self.archs, self.stats, strict=True)
        return [np.asarray(self.masked(arch, self.images, stats)[0]) for arch, stats in pairs]

    @cached_property
    def extracted(self) -> list[Extracted]:
        """Each architecture's own network."""
        pairs = zip(self.archs, self.stats, strict=True)
        return [extract(self.space, self.supernet, arch, stats) for arch, stats in pairs]

    # In float64

    @cached_property
    def wide_supernet(self) -> Any:
        """In float64."""
        return wide(self.supernet)

    def wide_images(self, arch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The images and the calibration images as the architecture sees them."""
        return wide(self.seen(arch, self.images)), wide(self.seen(arch, self.calibration))

    @cached_property
    def _pull(self) -> Any:
        def answer(fixed: Any, supernet: Any, rows: Any, images: Any, others: Any) -> Answer:
            def run(net: Any, rows: Any) -> Any:
                return net(Masked(rows, fixed), images)

            logits, pull, stats = jax.vjp(run, supernet, rows, has_aux=True)
            gradient, by_rows = pull(jnp.asarray(self.cotangent))
            return Answer(logits, stats, gradient, by_rows, supernet(Masked(rows, fixed), others, stats)[0])

        return quick(answer, static_argnums=0)

    def relaxed(self, arch: np.ndarray, rows: Mapping[str, np.ndarray]) -> Answer:
        """By masks, the answer of an architecture given as probabilities; `arch` gives the static choices only."""
        with jax.enable_x64(True):
            fixed = fixed_of(self.space, arch)
            return wide(self._pull(fixed, self.wide_supernet, wide(dict(rows)), *self.wide_images(arch)))

    def by_mask(self, arch: np.ndarray) -> Answer:
        """By masks, the answer of an architecture."""
        key = arch.tobytes()
        if key not in self._pulled:
            self._pulled[key] = self.relaxed(arch, one_hot(self.space, arch))
        return self._pulled[key]

    def used(self, arch: np.ndarray) -> np.ndarray:
        """Which of the supernet's numbers, one after the other, an architecture's own parameters are made of."""
        key = arch.tobytes()
        if key not in self._used:
            rng = np.random.default_rng(1)
            read = Cut.of(self.space.choices, arch)

            def mixed(net: Any) -> Any:
                return sum((leaf * rng.uniform(1, 2, leaf.shape)).sum() for leaf in jax.tree.leaves(net.cut(read)))

            gradient = quick(jax.grad(mixed))(self.supernet)
            self._used[key] = np.concatenate([np.ravel(leaf) != 0 for leaf in jax.tree.leaves(gradient)])
        return self._used[key]

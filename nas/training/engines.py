"""Two ways to a gradient: masked, which computes all and masks, and sliced, which runs an architecture at true cost.

Both turn a lesson and an architecture into a loss, logits and a gradient in the parameters' structure; what follows
(the mean over a step's rows, clipping, the optimizer, the moving average) is shared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from nas.training.losses import Lesson, Teacher, row_loss
from search_spaces.network import cast, rematerialised
from search_spaces.reading import masked
from search_spaces.sliced import Gradient, Sliced
from search_spaces.space import Space
from search_spaces.static import Fixed, fixed_of, input_size, resize


class Row(NamedTuple):
    """What one architecture got out of a lesson.

    Attributes:
      loss: of this row.
      logits: its answer, float32.
      gradients: of the loss, in the parameters' structure; zero where the architecture uses nothing.
    """

    loss: Float[Any, ""]
    logits: Float[Any, "batch classes"]
    gradients: Any


class Engine(Protocol):
    """Differentiates one known architecture; called from Python."""

    def __call__(self, params: Any, arch: Int[np.ndarray, " choices"], lesson: Lesson, first: Any, share: float) -> Row:
        """The row's loss, logits and gradient.

        Args:
          params: the supernet's parameters.
          arch: the architecture.
          lesson: the batch.
          first: logits of the step's first row; None for the first row itself.
          share: how much of the loss the first row teaches.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Masked:
    """The masked reading: pure functions, to be compiled once for each combination of static choices.

    Attributes:
      space: whose architectures these are.
      graph: the network's structure without its parameters.
      teacher: how much an outside teacher has to say; None without one.
      dtype: computed in.
      remat: activations inside a block are computed again for the gradient.
    """

    space: Space
    graph: Any
    teacher: Teacher | None
    dtype: Any
    remat: bool

    def logits(self, params: Any, arch: Int[Any, " choices"], images: Float[Array, "..."], fixed: Fixed) -> Array:
        """The answer of an architecture, which may be traced."""
        network = nnx.merge(self.graph, params)
        if self.dtype != jnp.float32:
            network, images = cast(network, self.dtype), images.astype(self.dtype)
        read = masked(self.space, arch, fixed)
        read = rematerialised(read) if self.remat else read
        return network(read, resize(images, input_size(self.space, fixed)))[0].astype(jnp.float32)

    def row(
        self,
        params: Any,
        arch: Int[Any, " choices"],
        lesson: Lesson,
        first: Array | None,
        share: float | Float[Array, ""],
        fixed: Fixed,
    ) -> Row:
        """One architecture's loss and gradient."""

        def loss(params: Any) -> tuple[Array, Array]:
            logits = self.logits(params, arch, lesson.images, fixed)
            return row_loss(logits, lesson, logits if first is None else first, share, self.teacher), logits

        (value, logits), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        return Row(value, logits, gradients)

    def mean(
        self, params: Any, archs: Int[Any, "rows choices"], lesson: Lesson, shares: Sequence[float], accumulate: int
    ) -> tuple[Float[Array, ""], Any]:
        """The mean loss and gradient of several architectures of the same static choices, in one program.

        Rows, and the parts of the batch, are scanned: one compile of the network however many there are.
        """
        rows = len(shares)
        if rows == accumulate == 1:
            loss, _, gradients = self.row(params, archs[0], lesson, None, 0.0, ())
            return loss, gradients
        teaches = any(shares)
        zero = jnp.float32(0), jax.tree.map(jnp.zeros_like, params)

        def add(total: Any, part: tuple[Array, Any]) -> Any:
            return jax.tree.map(lambda a, b: a + b / (rows * accumulate), total, part)

        def one_part(total: Any, part: Lesson) -> tuple[Any, None]:
            def one_row(carry: Any, x: Any) -> tuple[Any, None]:
                total, first = carry
                arch, share, is_first = x
                loss, logits, gradients = self.row(params, arch, part, first, share if teaches else 0.0, ())
                return (add(total, (loss, gradients)), jnp.where(is_first, logits, first)), None

            no_logits = jnp.zeros(part.targets.shape, jnp.float32)
            each = (jnp.asarray(archs), jnp.asarray(shares, jnp.float32), jnp.arange(rows) == 0)
            return jax.lax.scan(one_row, (total, no_logits), each)[0][0], None

        if accumulate == 1:
            return one_part(zero, lesson)[0]
        return jax.lax.scan(one_part, zero, parts(lesson, accumulate))[0]


def parts(lesson: Lesson, count: int) -> Lesson:
    """The lesson in so many parts, along a new first axis.

    Each part takes every `count`-th image, so that a batch shared by devices is parted on each of them.
    """
    part = lambda x: jnp.moveaxis(x.reshape(len(x) // count, count, *x.shape[1:]), 1, 0)  # noqa: E731
    return jax.tree.map(part, lesson)


def parted(lesson: Lesson, count: int) -> list[Lesson]:
    """The parts of a lesson, one by one."""
    together = parts(lesson, count)
    return [jax.tree.map(lambda x, i=i: x[i], together) for i in range(count)]


class MaskedEngine:
    """The masked reading, row by row: for rows whose static choices differ, each combination compiled once."""

    def __init__(self, way: Masked, count: Callable[[], None]):
        """Compiles nothing yet.

        Args:
          way: what to compile.
          count: called with each compile.
        """
        self.way, self.count = way, count
        self._row = jax.jit(self._traced, static_argnames=("fixed", "share"))

    def _traced(self, params: Any, arch: Array, lesson: Lesson, first: Any, *, share: float, fixed: Fixed) -> Row:
        self.count()
        return self.way.row(params, arch, lesson, first, share, fixed)

    def __call__(self, params: Any, arch: Int[np.ndarray, " choices"], lesson: Lesson, first: Any, share: float) -> Row:
        """One architecture under the masked reading."""
        return self._row(params, arch, lesson, first, share=share, fixed=fixed_of(self.way.space, arch))


class SlicedEngine:
    """The sliced reading: blocks compiled one by one, each architecture at its true cost.

    Attributes:
      sliced: what runs the blocks and counts their compiles.
    """

    def __init__(self, space: Space, teacher: Teacher | None, dtype: Any):
        """Compiles nothing yet."""
        self.space = space
        self.sliced = Sliced(space, None if dtype == jnp.float32 else dtype)
        self._resize = jax.jit(resize, static_argnums=1)

        def loss(logits: Array, lesson: Lesson, first: Array | None, share: float) -> tuple[Array, Array]:
            single = logits.astype(jnp.float32)
            return row_loss(single, lesson, single if first is None else first, share, teacher), single

        self._loss = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=3)

    def parts(
        self, params: Any, arch: Int[np.ndarray, " choices"], lesson: Lesson
    ) -> tuple[Float[Any, ""], list[Gradient | None]]:
        """The loss of a step's only architecture, and the gradients of what its blocks use: no zeros are made."""
        size = input_size(self.space, fixed_of(self.space, arch))
        logits, _, pull = self.sliced.block_vjp(
            self.sliced.by_blocks(params)[0], arch, self._resize(lesson.images, size)
        )
        (loss, _), cotangent = self._loss(logits, lesson, None, 0.0)
        return loss, pull(cotangent)

    def __call__(self, params: Any, arch: Int[np.ndarray, " choices"], lesson: Lesson, first: Any, share: float) -> Row:
        """One architecture at its own size."""
        size = input_size(self.space, fixed_of(self.space, arch))
        logits, _, pull = self.sliced.vjp(params, arch, self._resize(lesson.images, size))
        (loss, logits), cotangent = self._loss(logits, lesson, first, share)
        return Row(loss, logits, pull(cotangent))

"""One step of training, compiled once for every architecture of a space, on as many devices as the mesh has."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt, UInt8

from nas.data.dataset import Dataset
from nas.training.augment import flipped, mixed, moved, normalise
from nas.training.devices import (
    AXIS,
    check_batch,
    everywhere,
    held_here,
    is_spread,
    mesh_of,
    on_mesh,
    own_part,
    shared,
)
from nas.training.engines import Engine, Masked, MaskedEngine, SlicedEngine, parted
from nas.training.losses import Lesson
from nas.training.optimizer import learning_rates, optimizer_of
from nas.training.settings import Training
from nas.training.sliced_update import SlicedUpdate
from nas.training.state import TrainState
from search_spaces.space import Space, check_arch, option_counts
from search_spaces.static import Fixed, fixed_of

Execution = Literal["masked", "sliced"]


class Trainer:
    """One compiled step for every architecture of a space.

    Attributes:
      traces: how often the masked step has been traced: once, however many architectures it has trained, for each
        combination of static choices and each number of architectures a step.
      steps: of the whole training.
      given_teacher: as it was handed over; `teacher` is the same on the mesh.
      rows: architectures a step on each device (or in all, without `per_device`).
      sliced_update: of sliced steps of one architecture, what the architecture uses and nothing else; None where the
        settings move all parameters in every step, or share a step out.
      execution: how steps are run; `auto` is settled by `nas.training.execution.settle`, until when it is `masked`.
    """

    def __init__(self, space: Space, settings: Training, data: Dataset, teacher: Any = None, *, alone: bool = False):
        """Compiles nothing yet.

        Args:
          space: what is trained.
          settings: how.
          data: on what.
          teacher: a function of normalised images to logits that teaches beside the labels, as `settings.teacher`
            says; a pytree (an extracted network) or a plain function.
          alone: on one device of this process, whatever the settings say of devices: other processes don't take part.

        Raises:
          ValueError: when the settings don't fit the space, the images, the devices or each other.
        """
        settings = replace(settings, mesh=1, per_device=False) if alone else settings
        self.space, self.settings, self.data, self.given_teacher = space, settings, data, teacher
        if (settings.teacher is None) != (teacher is None):
            have, lack = (
                ("a teacher", "`training.teacher`") if teacher is not None else ("`training.teacher`", "no one")
            )
            raise ValueError(f"{have} was given, but {lack} who teaches; set both or neither")
        self.counts = option_counts(space)
        self.has_static = any(choice.static for choice in space.choices)
        if settings.per_device and self.has_static:
            names = ", ".join(f"`{choice.name}`" for choice in space.choices if choice.static)
            raise ValueError(
                f"`training.per_device` needs one shape on all devices, but {names} changes shapes; set"
                " training.per_device=false"
            )
        self.traces = 0
        self.mesh = mesh_of(settings.mesh, alone=alone)
        plain = teacher is not None and jax.tree_util.all_leaves([teacher])
        taught_by = jax.tree_util.Partial(teacher) if plain else teacher
        self.teacher = jax.device_put(taught_by, everywhere(self.mesh))
        self.per_epoch = settings.steps_per_epoch(data.train)
        self.steps = settings.epochs * self.per_epoch
        check_batch(settings.batch, self.mesh.size, settings.accumulate)
        self.part = own_part(self.mesh, settings.batch)
        self.rows, self.shares = settings.rule.rows(space), settings.rule.in_place(space)
        self.execution: Execution = "sliced" if settings.execution == "sliced" else "masked"
        self.optimizer = optimizer_of(settings)
        # The structure of the network without its parameters: no computation.
        self.graph = nnx.split(nnx.eval_shape(lambda: space.supernet(jax.random.key(0))))[0]
        dtype = jnp.bfloat16 if settings.dtype == "bfloat16" else jnp.float32
        self.masked = Masked(space=space, graph=self.graph, teacher=settings.teacher, dtype=dtype, remat=settings.remat)
        self.sliced = SlicedEngine(space, settings.teacher, dtype)
        self.engines: dict[str, Engine] = {"masked": MaskedEngine(self.masked, self._count), "sliced": self.sliced}
        # A moving average, and momentum and decay of what was not sampled, move all parameters in every step.
        one_by_one = settings.keep_unsampled and settings.ema is None and self.mesh.size == settings.accumulate == 1
        self.sliced_update = (
            SlicedUpdate(self.sliced.sliced, settings, self.per_epoch, everywhere(self.mesh)) if one_by_one else None
        )
        self._compile()
        self._rates = lru_cache(maxsize=4)(partial(learning_rates, settings))

    def _compile(self) -> None:
        """What `jit` makes of the pure functions below, and where on the mesh their values lie."""
        same, batch = everywhere(self.mesh), shared(self.mesh)
        into = (same, same, same, batch, batch, same, same)
        # New parameters and the optimizer's new state each depend on the old of both. On CPUs, where a fusion has one
        # output, writing both in place makes XLA copy them first: a program that updates 7.7 M parameters by SGD took
        # 60 ms of one processor so, 25 ms with memory of its own for the results, and 13 ms as the two of `_in_two`.
        on_cpu = self.mesh.devices.flat[0].platform == "cpu"
        donated = () if on_cpu else 0
        self._fused: Callable[[Fixed], Any] = lru_cache(maxsize=None)(
            lambda fixed: jax.jit(
                partial(self._whole_step, fixed=fixed), in_shardings=into, out_shardings=same, donate_argnums=donated
            )
        )
        self._prepare = jax.jit(self._lesson, in_shardings=(same, batch, batch, same), out_shardings=batch)
        # Gradients are not donated: zeros among them are kept by the sliced engine.
        self._finish = self._in_two if on_cpu else jax.jit(self._applied, donate_argnums=0, out_shardings=same)
        self._new_params = jax.jit(self._only_params, out_shardings=same)
        self._new_rest = jax.jit(self._all_but_params, out_shardings=same, donate_argnums=0)
        self._parts = jax.jit(partial(parted, count=self.settings.accumulate))
        self._add = jax.jit(lambda total, new: jax.tree.map(jnp.add, total, new))
        self._draw = jax.jit(self._drawn)

    def _count(self) -> None:
        self.traces += 1

    # States

    def init(self, key: PRNGKeyArray) -> TrainState:
        """New parameters and a fresh optimizer."""
        params = jax.jit(lambda key: nnx.split(self.space.supernet(key))[1])(key)
        return self.restart(params)

    def restart(self, params: Any) -> TrainState:
        """A fresh optimizer for a copy of given parameters."""
        params = jax.tree.map(jnp.array, params)
        ema = None if self.settings.ema is None else jax.tree.map(jnp.array, params)
        key = np.zeros_like(jax.random.key_data(jax.random.key(0)))
        return self.place(
            TrainState(params, self.optimizer.init(params), jnp.int32(0), ema, jnp.float32(0), jnp.asarray(key))
        )

    def place(self, state: TrainState) -> TrainState:
        """The state on every device of the mesh; a new one where it was not there already."""
        if is_spread(self.mesh):  # each process brings the same values
            state = held_here(state)
        return jax.device_put(state, everywhere(self.mesh))

    def weights(self, state: TrainState) -> Any:
        """The parameters to judge and to keep: their moving average where there is one; on one device."""
        params = state.params if state.ema is None else state.ema
        return params if self.mesh.size == 1 else jax.tree.map(jnp.asarray, held_here(params))

    def network(self, params: Any) -> Any:
        """The supernet with these parameters."""
        return nnx.merge(self.graph, params)

    # Before a step

    def learning_rate(self, step: int, steps: int | None = None, peak: float | None = None) -> float:
        """The rate of a step: a linear rise, then as the schedule says."""
        return float(self._rates(steps or self.steps, peak or self.settings.learning_rate)[step])

    def draw(
        self, arch_key: PRNGKeyArray, step_key: PRNGKeyArray, first: int, count: int
    ) -> tuple[Int[np.ndarray, "steps ..."], UInt[np.ndarray, "steps words"]]:
        """The architectures of some steps, and the data of each step's own key.

        Returns:
          `[steps rows choices]`, with `per_device` `[steps devices rows choices]`, and `[steps words]`.
        """
        archs, keys = self._draw(arch_key, step_key, jnp.arange(count) + first)
        return np.asarray(archs), np.asarray(keys)

    def _drawn(self, arch_key: Array, step_key: Array, numbers: Array) -> tuple[Array, Array]:
        rule = self.settings.rule

        def one(number: Array) -> tuple[Array, Array]:
            key = jax.random.fold_in(arch_key, number)
            if self.settings.per_device:
                device = jnp.arange(self.mesh.size)
                keys = jax.vmap(partial(jax.random.fold_in, key))(device)
                archs = jax.vmap(lambda key: rule.archs(key, self.space, number, self.steps))(keys)
            else:
                archs = rule.archs(key, self.space, number, self.steps)
            return archs, jax.random.key_data(jax.random.fold_in(step_key, number))

        return jax.vmap(one)(numbers)

    # A step

    def step(
        self,
        state: TrainState,
        key: PRNGKeyArray | UInt[np.ndarray, " words"],
        arch: Int[Any, "*rows choices"],
        images: UInt8[Any, "batch height width channels"],
        labels: Int[Any, " labels"],
        learning_rate: float,
    ) -> tuple[TrainState, Float[Array, ""]]:
        """Trains the shared parameters by one batch; returns the loss beside the new state.

        Args:
          state: is used up: its memory becomes the new state's.
          key: for augmenting the images; or its data.
          arch: the architecture, or the rows of one step, or with `per_device` the rows of each device.
          images: as stored; they are normalised here. This process's part of the batch.
          labels: class indices.
          learning_rate: of this step.

        Returns:
          The new state and the loss, which is NaN too where the gradient is not finite.

        Raises:
          ValueError: when an architecture is not of the space, or images or labels are not as the data set's.
        """
        self._check(np.asarray(arch), images, labels)
        if not isinstance(key, np.ndarray):
            key = jax.random.key_data(key)
        archs = np.asarray(arch)
        archs = archs[None] if archs.ndim == 1 else archs
        images, labels = on_mesh(self.mesh, images), on_mesh(self.mesh, labels)
        if self.execution == "masked" and (not self.has_static or (len(archs) == 1 and self.settings.accumulate == 1)):
            fixed = fixed_of(self.space, archs[0]) if self.has_static else ()
            return self._fused(fixed)(state, key, archs, images, labels, np.float32(learning_rate), self.teacher)
        return self._by_rows(state, key, archs, images, labels, learning_rate)

    def _check(self, archs: np.ndarray, images: Any, labels: Any) -> None:
        known = np.issubdtype(archs.dtype, np.integer) and archs.shape[-1:] == self.counts.shape
        if not known or (archs < 0).any() or (archs >= self.counts).any():
            for row in archs.reshape(-1, archs.shape[-1]) if archs.ndim else [archs]:
                check_arch(self.space, row)  # says which gene it is
        shape = self.data.train.images.shape[1:]
        if np.shape(images)[1:] != shape or images.dtype != np.uint8:
            raise ValueError(
                f"a step takes images as {self.data.name} stores them, uint8 of shape"
                f" (batch, {', '.join(map(str, shape))}), got {images.dtype} of shape {np.shape(images)}"
            )
        if np.shape(labels) != np.shape(images)[:1]:
            raise ValueError(f"a step takes a label for each of {len(images)} images, got shape {np.shape(labels)}")

    def _shares(self, rows: int) -> tuple[float, ...]:
        # Rows of another number than the rule's are not the rule's: an architecture that is trained alone.
        return self.shares if rows == len(self.shares) else (0.0,) * rows

    def _by_rows(
        self, state: TrainState, key: Any, archs: np.ndarray, images: Any, labels: Any, learning_rate: float
    ) -> tuple[TrainState, Array]:
        """Row by row from Python: sliced, or masked where static choices may differ from row to row."""
        engine, shares = self.engines[self.execution], self._shares(len(archs))
        lesson = self._prepare(key, images, labels, self.teacher)
        if self.execution == "sliced" and len(archs) == 1 and self.sliced_update is not None:
            loss, gradients = self.sliced.parts(state.params, archs[0], lesson)
            return self.sliced_update(state, loss, gradients, np.float32(learning_rate))
        lessons = [lesson] if self.settings.accumulate == 1 else self._parts(lesson)
        total: Any = None
        for part in lessons:
            first = None
            for arch, share in zip(archs, shares, strict=True):
                loss, logits, gradients = engine(state.params, arch, part, first, share)
                first = logits if first is None else first
                total = (loss, gradients) if total is None else self._add(total, (loss, gradients))
        scale = np.float32(1 / (len(lessons) * len(archs)))
        return self._finish(state, scale, total, np.float32(learning_rate))

    def _whole_step(
        self,
        state: TrainState,
        key: Array,
        archs: Array,
        images: Array,
        labels: Array,
        learning_rate: Array,
        teacher: Any,
        *,
        fixed: Fixed,
    ) -> tuple[TrainState, Array]:
        self._count()
        lesson = self._lesson(key, images, labels, teacher)
        accumulate = self.settings.accumulate
        if archs.ndim == 3:
            loss, gradients = self._on_each_device(state.params, archs, lesson)
        elif fixed:
            loss, _, gradients = self.masked.row(state.params, archs[0], lesson, None, 0.0, fixed)
        else:
            shares = self._shares(len(archs))
            loss, gradients = self.masked.mean(state.params, archs, lesson, shares, accumulate)
        return self._updated(state, loss, gradients, learning_rate)

    def _on_each_device(self, params: Any, archs: Array, lesson: Lesson) -> tuple[Array, Any]:
        """The mean over devices, each with its own architectures and its share of the batch, statistics included."""

        def own(params: Any, archs: Array, lesson: Lesson) -> tuple[Array, Any]:
            found = self.masked.mean(params, archs[0], lesson, self._shares(archs.shape[1]), self.settings.accumulate)
            return jax.lax.pmean(found, AXIS)

        return jax.shard_map(
            own,
            mesh=self.mesh,
            in_specs=(PartitionSpec(), PartitionSpec(AXIS), PartitionSpec(AXIS)),
            out_specs=PartitionSpec(),
            check_vma=False,  # gradients are averaged by hand: nothing is to be summed behind our back
        )(params, archs, lesson)

    def _lesson(self, key_data: Array, images: Array, labels: Array, teacher: Any) -> Lesson:
        settings, classes = self.settings, len(self.data.class_names)
        key = jax.random.wrap_key_data(key_data)
        stored = moved(key, images, settings.shift)
        if settings.flip:
            stored = flipped(jax.random.fold_in(key, 1), stored)
        ready = normalise(stored, self.data)
        targets = optax.smooth_labels(jax.nn.one_hot(labels, classes), settings.label_smoothing)
        ready, targets = mixed(jax.random.fold_in(key, 2), ready, targets, settings.mixup, settings.cutmix)
        return Lesson(ready, targets, None if teacher is None else teacher(ready))

    def _applied(
        self, state: TrainState, scale: Array, total: tuple[Array, Any], learning_rate: Array
    ) -> tuple[TrainState, Array]:
        loss, gradients = jax.tree.map(lambda x: scale * x, total)
        return self._updated(state, loss, gradients, learning_rate)

    def _in_two(
        self, state: TrainState, scale: Any, total: tuple[Array, Any], learning_rate: Any
    ) -> tuple[TrainState, Array]:
        params, loss = self._new_params(state, scale, total, learning_rate)
        own = state.optimizer, state.ema
        rest = self._new_rest(own, state._replace(optimizer=None, ema=None), scale, total, learning_rate)
        return rest._replace(params=params), loss

    def _only_params(self, state: TrainState, *given: Any) -> tuple[Any, Array]:
        state, loss = self._applied(state, *given)
        return state.params, loss

    def _all_but_params(self, own: tuple[Any, Any], others: TrainState, *given: Any) -> TrainState:
        optimizer, ema = own
        return self._applied(others._replace(optimizer=optimizer, ema=ema), *given)[0]._replace(params=None)

    def _updated(
        self, state: TrainState, loss: Array, gradients: Any, learning_rate: Array
    ) -> tuple[TrainState, Array]:
        # A gradient that is not finite spoils the parameters though this step's loss is sound: it is named here.
        loss = jnp.where(jnp.isfinite(optax.tree.norm(gradients)), loss, jnp.nan)
        updates, optimizer = self.optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, jax.tree.map(lambda update: -learning_rate * update, updates))
        ema = state.ema
        if self.settings.ema is not None:
            step = state.step.astype(jnp.float32)
            decay = jnp.minimum(self.settings.ema, (1 + step) / (10 + step))
            ema = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, ema, params)
        so_far = jnp.where(state.step % self.per_epoch == 0, 0, state.loss) + loss
        return TrainState(params, optimizer, state.step + 1, ema, so_far, state.key), loss

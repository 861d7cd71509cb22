"""Optimizers and learning rates by optax, and the rule that parameters a step did not sample stay as they are."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

if TYPE_CHECKING:
    from nas.training.settings import Training


def only_sampled(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Leaves entries whose gradient is exactly zero as they are: value, momentum and weight decay.

    In the masked reading that is every parameter the step's architectures do not use. Without this, an optimizer with
    momentum or decay moves shared parameters in steps that never saw them; PyTorch leaves them alone where `grad` is
    None. Differs from that: an entry that was used and got a gradient of exactly zero is left alone too.
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        used = jax.tree.map(lambda gradient: gradient != 0, updates)
        structure = jax.tree.structure(updates)
        updates, new_state = inner.update(updates, state, params)
        updates = jax.tree.map(jnp.where, used, updates, jax.tree.map(jnp.zeros_like, updates))

        def like_params(node: Any) -> bool:
            return jax.tree.structure(node) == structure

        def keep(new: Any, old: Any) -> Any:
            return jax.tree.map(jnp.where, used, new, old) if like_params(new) else new

        return updates, jax.tree.map(keep, new_state, state, is_leaf=like_params)

    return optax.GradientTransformation(inner.init, update)


def optimizer_of(settings: "Training") -> optax.GradientTransformation:
    """What the settings say, but for the learning rate, with which each update is yet to be multiplied.

    References:
      AdamW (arXiv:1711.05101). SGD's weight decay is added to the gradient, as is usual there (L2), and its momentum is
      Nesterov's.
    """
    decay = optax.add_decayed_weights(settings.weight_decay)
    if settings.optimizer == "adamw":
        inner = optax.chain(optax.scale_by_adam(), decay)
    else:
        inner = optax.chain(decay, optax.trace(settings.momentum, nesterov=True))
    return optax.chain(
        optax.clip_by_global_norm(settings.clip_norm), only_sampled(inner) if settings.keep_unsampled else inner
    )


def learning_rates(settings: "Training", steps: int, peak: float) -> Float[np.ndarray, " steps"]:
    """The rate of every step: a linear rise to the peak over the first `warm_up` of them, then the schedule.

    `cosine` and `linear` fall to zero (at the step after the last); `constant` stays.
    """
    rise = max(1, round(settings.warm_up * steps))
    rest = max(1, steps - rise)
    after = {
        "cosine": optax.cosine_decay_schedule(peak, rest),
        "linear": optax.linear_schedule(peak, 0.0, rest),
        "constant": optax.constant_schedule(peak),
    }[settings.schedule]
    # The first step has a part of the peak already: at rate 0 it would be lost.
    before = optax.linear_schedule(peak / rise, peak, rise - 1) if rise > 1 else optax.constant_schedule(peak)
    schedule = optax.join_schedules([before, after], [rise])
    # On the host's own precision the schedule would be a compile a length; here it is one call.
    return np.asarray(jax.vmap(schedule)(jnp.arange(steps)), np.float32)

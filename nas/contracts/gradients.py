"""In float64, to 1e-9: cut and masked agree in logits, statistics and gradients; relaxed architectures are steered."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nas.contracts.case import Answer, Case, quick
from nas.contracts.contract import NotApplicable, require, require_close
from search_spaces.reading import Cut

EXACT = {"absolute": 1e-9, "relative": 1e-9}


def cut_networks_answer_and_learn_as_masked_ones(case: Case) -> None:
    """Cut, an architecture has the logits, statistics and gradients it has under masks: float64, to 1e-9."""
    mend = "let masks and `cut` leave the same channels and taps on, and gate what is off before it is summed over"
    for i in case.some:
        arch = case.archs[i]
        expected, read = case.by_mask(arch), Cut.of(case.space.choices, arch)
        got = _by_cut(case, arch, read)
        require_close("cut logits differ from masked ones", got.logits, expected.logits, mend, **EXACT)
        require_close(
            "with given statistics, cut logits differ from masked ones", got.given, expected.given, mend, **EXACT
        )
        same_leaves(
            "statistics of the cut reading differ from the masked ones, cut",
            got.stats,
            case.supernet.cut_stats(read, expected.stats),
            "let `cut_stats` take the channels that `cut` takes, norm by norm",
        )
        same_leaves("gradients of the cut reading differ from masked ones", got.gradient, expected.gradient, mend)
        _unused_is_left_alone(case, arch, expected.gradient)


def _by_cut(case: Case, arch: np.ndarray, read: Cut) -> Answer:
    def answer(net: Any, images: Any, others: Any) -> Answer:
        logits, pull, stats = jax.vjp(lambda net: net(read, images), net, has_aux=True)
        (gradient,) = pull(jnp.asarray(case.cotangent))
        return Answer(logits, stats, gradient, None, net(read, others, stats)[0])

    with jax.enable_x64(True):
        found = quick(answer)(case.wide_supernet, *case.wide_images(arch))
        return jax.tree.map(lambda x: np.asarray(x, np.float64), found)


def _unused_is_left_alone(case: Case, arch: np.ndarray, gradient: Any) -> None:
    """What an architecture's parameters aren't made of has no gradient under masks."""
    used = case.used(arch)
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)])
    leaked = np.abs(flat[~used])
    require(
        (leaked == 0).all(),
        f"{int((leaked > 0).sum())} numbers that the cut network doesn't hold have masked gradients of up to"
        f" {float(leaked.max(initial=0)):.2g}",
        "gate channels that are off behind every norm and bias: they must be exactly 0",
    )


def same_leaves(what: str, got: Any, expected: Any, mend: str, **tolerance: float) -> None:
    """Raises unless two trees have as many arrays, equal one by one (to 1e-9 where not told otherwise)."""
    ours, theirs = jax.tree.leaves(got), jax.tree.leaves(expected)
    require(len(ours) == len(theirs), f"{what} in number: {len(ours)} arrays, not {len(theirs)}", mend)
    for a, b in zip(ours, theirs, strict=True):
        require_close(what, a, b, mend, **(tolerance or EXACT))


def relaxed_architectures_have_gradients_for_every_choice(case: Case) -> None:
    """Probabilities in the place of indices run through the same masks, and every option's probability matters."""
    if not case.space.choices:
        raise NotApplicable("it has no choices")
    rng = np.random.default_rng(0)
    rows = {choice.name: rng.dirichlet(np.ones(len(choice.options))) for choice in case.space.choices}
    answer = case.relaxed(case.archs[-1], rows)
    ask = "have the block ask the reading for the choice (`axis`, `taps`, `optional`, `mixture`), whatever it decides"
    require(np.isfinite(answer.logits).all(), "logits of a relaxed architecture are not finite", ask)
    for choice in case.space.choices:
        gradient = answer.by_rows[choice.name]
        require(np.isfinite(gradient).all(), f"the gradient by `{choice.name}` is not finite", ask)
        # What counts is how the options differ: adding one number to a whole row prefers none of them.
        steered = choice.static or len(choice.options) == 1 or float(np.ptp(gradient)) > 1e-6
        require(steered, f"no option of `{choice.name}` is preferred to another: its gradient is the same for all", ask)
    for i in case.some:
        require_close(
            "as one-hot probabilities in float64, logits differ from those of the indices",
            case.by_mask(case.archs[i]).logits,
            case.batch_logits[i],
            "compute masks from the rows of probabilities only",
        )

"""Sliced execution gives what masks give, in float64 to 1e-9, and compiles each distinct block once."""

import jax
import jax.numpy as jnp
import numpy as np

from nas.contracts.case import Case, compiler_options
from nas.contracts.contract import require, require_close
from nas.contracts.gradients import EXACT, same_leaves
from search_spaces.reading import Cut
from search_spaces.sliced import Sliced, distinct_blocks
from search_spaces.static import grouped

MEND = "let each block depend on its reading and its inputs only, and `cut` what the reading uses of its parameters"


def sliced_networks_answer_and_learn_as_masked_ones(case: Case) -> None:
    """Block by block, an architecture has the logits, statistics and gradients it has under masks: float64, to 1e-9.

    And blocks are compiled once: going over the architectures again compiles nothing, however they came.
    """
    archs = [case.archs[i] for i in case.some]
    with jax.enable_x64(True):
        sliced = Sliced(case.space, compiler_options=compiler_options())
        for arch in archs:
            images, others = map(jnp.asarray, case.wide_images(arch))
            expected = case.by_mask(arch)
            logits, stats, pull = sliced.vjp(case.wide_supernet, arch, images)
            require_close("sliced logits differ from masked ones", logits, expected.logits, MEND, **EXACT)
            gradient = pull(jnp.asarray(case.cotangent))
            require(
                jax.tree.structure(gradient) == jax.tree.structure(case.wide_supernet),
                "sliced gradients have another structure than the supernet",
                "let `supernet` return a `Network` of blocks in slots",
            )
            same_leaves("sliced gradients differ from masked ones", gradient, expected.gradient, MEND)
            kept = case.supernet.cut_stats(Cut.of(case.space.choices, arch), expected.stats)
            same_leaves("sliced statistics differ from the masked ones, cut", stats, kept, MEND)
            given = sliced.forward(case.wide_supernet, arch, others, stats)[0]
            require_close(
                "given statistics, sliced logits differ from masked ones", given, expected.given, MEND, **EXACT
            )
        whole = case.archs[-1]
        alone = sliced.forward(case.wide_supernet, whole, jnp.asarray(case.wide_images(whole)[0]))[0]
        expected = case.by_mask(whole).logits
        require_close("forward only, sliced logits differ from masked ones", alone, expected, MEND, **EXACT)
        compiled = dict(sliced.compiles)
        _compiled_once(case, np.stack(archs), compiled["gradient"])
        for arch in archs:
            sliced.vjp(case.wide_supernet, arch, jnp.asarray(case.wide_images(arch)[0]))
        require(
            sliced.compiles == compiled,
            f"going over the architectures again compiled {sliced.compiles['gradient'] - compiled['gradient']} blocks",
            "keep a block's fields hashable and equal where blocks are: they are its key among compiled programs",
        )


def _compiled_once(case: Case, archs: np.ndarray, compiled: int) -> None:
    bound = sum(
        distinct_blocks(case.space, case.space.layers(archs[rows[0]])[0].shape, fixed)
        for fixed, rows in grouped(case.space, archs)
    )
    require(
        0 < compiled <= bound,
        f"{compiled} blocks were compiled, but there are {bound} distinct ones at the most",
        "bind only the choices that shape a block in its slot, and keep its fields hashable",
    )

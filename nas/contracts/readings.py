"""The promise the project stands on: masked, extracted, exported and vectorised networks answer alike."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hardware.runtimes.onnx_runtime import OnnxRuntime
from nas.contracts.case import BATCH, Case, quick
from nas.contracts.contract import NotApplicable, require, require_close
from search_spaces.extract import weights
from search_spaces.layers import Input, Layer, Zeros
from search_spaces.reading import masked
from search_spaces.space import active, canonical, option_counts, smallest
from search_spaces.static import Fixed, grouped


def the_supernet_answers(case: Case) -> None:
    """Masked, every architecture gives finite logits of the shape that its layers say."""
    for logits in (*case.batch_logits, *case.logits):
        require(
            logits.shape == (BATCH, case.classes),
            f"logits have shape {logits.shape}, but the last of `layers` says {case.classes} for each image",
            "let the last layer's shape be (1, 1, classes), and the last block return [batch, classes]",
        )
        require(
            np.isfinite(logits).all(),
            "logits are not finite",
            "normalise before activations grow, or guard what divides",
        )


def a_key_decides_the_parameters(case: Case) -> None:
    """One key gives the same parameters each time, and another key others, unless all are constant from the start."""
    mend = "draw parameters from the key that `supernet(key)` is given, and from nothing else"

    def new(number: int) -> list[np.ndarray]:  # a function of its own, so that it is traced each time
        made = quick(lambda key: jax.tree.leaves(case.space.supernet(key)))(jax.random.key(number))
        return [np.asarray(leaf) for leaf in made]

    first, again, other = new(0), new(0), new(1)
    require(all(map(np.array_equal, first, again)), "one key gives other parameters when it is asked again", mend)
    constant = all(leaf.size == 0 or np.ptp(leaf) == 0 for leaf in first)
    require(constant or not all(map(np.array_equal, first, other)), "two keys give the same parameters", mend)


def logits_tell_architectures_and_images_apart(case: Case) -> None:
    """Else equality would be kept by a network that answers nothing."""
    for i, (layers, one) in enumerate(zip(case.layers, case.logits, strict=True)):
        differs = float(np.ptp(one, axis=0).max())
        if sees_the_image(layers):
            require(
                differs > 0.05,
                f"logits of different images differ by {differs:.2g} at the most (at least: 0.05)",
                "see that the blocks pass their input on, and that the head reads the last of them",
            )
        else:  # zeros cut every way from the image
            require(
                differs == 0,
                f"logits differ by {differs:.2g} from image to image, but in `layers` zeros cut every way",
                "write `Zeros` only where the network multiplies by 0",
            )
        for other in case.logits[:i]:
            apart = float(np.abs(one - other).max())
            require(
                apart > 1e-3,
                f"logits of two architectures differ by {apart:.2g} at the most (more than: 0.001)",
                "bind each choice in the slot of the block that it shapes, and have the block ask the reading for it",
            )


def sees_the_image(layers: tuple[Layer, ...]) -> bool:
    """Whether a way leads from the image to the last layer that no zeros cut."""
    seen: list[bool] = []
    for layer in layers:
        seen.append(isinstance(layer, Input) or (not isinstance(layer, Zeros) and any(seen[i] for i in layer.inputs)))
    return seen[-1]


def genes_without_effect_change_nothing(case: Case) -> None:
    """A gene that `requires` puts to sleep changes neither layers nor logits, and canonical form sets it to 0."""
    space, counts = case.space, option_counts(case.space)
    if not space.choices:
        raise NotApplicable("it has no choices")
    for choice, awake in zip(space.choices, active(space, smallest(space)), strict=True):
        require(
            choice.requires is None or not awake,
            f"`{choice.name}` requires `{(choice.requires or ('',))[0]}` at index 0, which always holds",
            "say from which later index on it has an effect, or leave `requires` out",
        )
    for i, arch in enumerate(case.archs):
        other = np.where(active(space, arch), arch, counts - 1).astype(np.int32)
        require(np.array_equal(canonical(space, other), arch), "canonical form is not restored", "see `requires`")
        asleep_names = ", ".join(f"`{c.name}`" for c, a, b in zip(space.choices, arch, other, strict=True) if a != b)
        mend = "leave those choices' blocks out where what they require is not chosen (`Slot.when`), or drop `requires`"
        require(space.layers(other) == case.layers[i], f"{asleep_names} should have no effect, but change layers", mend)
        apart = np.abs(np.asarray(case.masked(other, case.images)[0]) - case.batch_logits[i]).max()
        require(apart == 0, f"{asleep_names} should have no effect, but change logits by {apart:.2g}", mend)


def extracted_networks_answer_as_masked_ones(case: Case) -> None:
    """A network cut out of the supernet gives the logits that the supernet gives under masks, to 1e-4."""
    alone = quick(lambda network, images: network(images))
    for arch, extracted, logits in zip(case.archs, case.extracted, case.logits, strict=True):
        require_close(
            "extracted logits differ from masked ones",
            alone(extracted, case.seen(arch, case.images)),
            logits,
            "gate every channel that is off before it is summed over (a bias or norm wakes it), and cut the same"
            " channels of each parameter as the masks leave on",
        )


def exported_networks_answer_as_masked_ones(case: Case) -> None:
    """The ONNX file of `layers` and cut weights gives the logits that the supernet gives under masks, to 1e-4."""
    runtime = OnnxRuntime()
    for i, arch in enumerate(case.archs):
        images = np.asarray(case.seen(arch, case.images))
        artifact = runtime.prepare(case.layers[i], weights(case.extracted[i]))
        require_close(
            "exported logits differ from masked ones",
            runtime.run(artifact, images),
            case.logits[i],
            "write in `layers` what the network computes: kinds, strides, paddings, epsilons and the order of layers",
        )


def a_population_runs_at_once(case: Case) -> None:
    """`vmap` over architectures of one resolution gives each one's logits, with each batch's own statistics."""
    for fixed, rows in grouped(case.space, np.stack(case.archs)):
        archs = np.stack([case.archs[row] for row in rows])
        images = case.seen(archs[0], case.images)

        def logits(net: Any, arch: jax.Array, fixed: Fixed = fixed, images: Any = images) -> jax.Array:
            return net(masked(case.space, arch, fixed), images)[0]

        require_close(
            "logits under `vmap` differ from those one by one",
            quick(jax.vmap(logits, (None, 0)))(case.supernet, jnp.asarray(archs)),
            np.stack([case.batch_logits[row] for row in rows]),
            "let no block keep what an earlier call left behind, nor read shapes off the architecture",
        )

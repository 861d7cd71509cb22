"""What a named network is beside its table of layers: the real one's counts, one training step, and its export."""

import inspect
import math
from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from hardware.runtimes.onnx_runtime import OnnxRuntime
from nas.contracts.case import quick
from search_spaces.assembly import Fixed
from search_spaces.extract import Extracted, weights
from search_spaces.layers import Shape, total_macs, total_params
from search_spaces.networks import NAMED, Point
from search_spaces.reading import Cut, Whole
from search_spaces.space import check_arch
from search_spaces.static import RESOLUTION
from search_spaces.trace.whole import trace

SIDE, CLASSES, BATCH = 64, 10, 8
LEARNED = 0.02  # of Polyak's step, the loss over the squared gradient: about so much of the loss is gone after it


def real_counts(point: Point) -> tuple[int, int]:
    """Parameters that the real network holds, and MACs for an image that it computes; nothing is computed for it."""
    image = point.layers()[0].shape
    network = jax.eval_shape(_made(point), jax.random.key(0))
    stats = jax.eval_shape(_statistics, network, jax.ShapeDtypeStruct((1, *image), jnp.float32))
    held = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(network))
    return held, total_macs(trace(Extracted(network, stats), image))


def _made(point: Point) -> Any:
    read = Cut.of(point.space.choices, check_arch(point.space, np.array(point.arch, np.int32)))
    return lambda key: point.space.supernet(key).cut(read)


def _statistics(network: Any, images: Float[Array, "batch height width channels"]) -> Any:
    return network(Whole(), images)[1]


def small(name: str) -> Point:
    """A named network for few classes and small images, where its definition allows; else as it was published."""
    make = NAMED[name]
    known = inspect.signature(make).parameters
    wanted = {"image_size": SIDE, "classes": CLASSES}
    point = make(**{key: min(value, known[key].default) for key, value in wanted.items() if key in known})
    space, (height, width, channels) = point.space, point.layers()[0].shape
    if min(height, width) <= SIDE:
        return point
    names = {field.name for field in fields(space)}  # pyright: ignore[reportArgumentType]
    if isinstance(space, Fixed):
        smaller = replace(space, image=(SIDE, SIDE, channels))
    elif "image_size" in names and all(choice.name != RESOLUTION for choice in space.choices):
        smaller = replace(space, image_size=SIDE)  # pyright: ignore[reportArgumentType, reportCallIssue]
    else:
        return point
    reduced = replace(point, space=smaller)
    # Parameters that hang on the image's size (a linear layer of all positions, a patch grid) keep it from shrinking.
    return reduced if total_params(reduced.layers()) == total_params(point.layers()) else point


@dataclass(frozen=True, kw_only=True)
class Step:
    """What came of one step.

    Attributes:
      image: height, width and channels of the images.
      loss: before the step.
      loss_after: of the same images.
      differs: largest difference between the trained network's logits and its exported one's, where the largest is 1.
    """

    image: Shape
    loss: float
    loss_after: float
    differs: float


def step_and_export(name: str) -> Step:
    """Makes a named network, small if it can be, trains it by one step on noise and compares it with its ONNX file.

    Classes are learned by cross-entropy; what answers as many numbers as its image has learns to give it back.
    """
    point = small(name)
    layers = point.layers()
    image = layers[0].shape
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(BATCH, *image)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, layers[-1].shape[-1], BATCH))
    restores = layers[-1].shape[-1] == math.prod(image)

    def loss_of(network: Any) -> tuple[Array, Any]:
        logits, stats = network(Whole(), images)
        if restores:
            return jnp.square(logits - images.reshape(BATCH, -1)).mean(), (logits, stats)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), (logits, stats)

    def stepped(network: Any) -> tuple[Array, Array, Any, Any]:
        (loss, (logits, stats)), gradient = jax.value_and_grad(loss_of, has_aux=True)(network)
        rate = LEARNED * loss / optax.tree.norm(gradient, squared=True)
        return loss, logits, stats, jax.tree.map(lambda p, g: p - rate * g, network, gradient)

    step = quick(stepped)
    loss, _, _, network = step(quick(_made(point))(jax.random.key(0)))
    # What the next step would begin with; the statistics are these images' own, so that the exported network, which
    # keeps them, must give these logits for the same images. All compiled once.
    loss_after, logits, stats, _ = step(network)
    runtime = OnnxRuntime()
    artifact = runtime.prepare(layers, weights(Extracted(network, stats)))
    exported = runtime.run(artifact, np.asarray(images))
    exported = exported.reshape(logits.shape)  # a network that ends in a pool gives images of one position
    differs = float(np.abs(exported - logits).max() / np.abs(logits).max())
    return Step(image=image, loss=float(loss), loss_after=float(loss_after), differs=differs)

"""What happens to a batch on the device before the network sees it: moved, mirrored, normalised, mixed."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from nas.data.dataset import Dataset

Stored = UInt8[Array, "batch height width channels"]
Images = Float[Array, "batch height width channels"]
Targets = Float[Array, "batch classes"]


def normalise(images: UInt8[Any, "batch height width channels"], data: Dataset) -> Images:
    """Scales stored images to [0, 1] and by the training images' mean and deviation."""
    mean, std = jnp.asarray(data.mean, jnp.float32), jnp.asarray(data.std, jnp.float32)
    return (jnp.asarray(images, jnp.float32) / 255 - mean) / std


def moved(key: PRNGKeyArray, images: UInt8[Any, "batch height width channels"], shift: int) -> Stored:
    """Each image moved by up to `shift` pixels in both directions, its edge repeated: a random crop."""
    images = jnp.asarray(images)
    if shift == 0:
        return images
    padded = jnp.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
    corners = jax.random.randint(key, (len(images), 2), 0, 2 * shift + 1)
    crop = lambda image, corner: jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:])  # noqa: E731
    return jax.vmap(crop)(padded, corners)


def flipped(key: PRNGKeyArray, images: UInt8[Any, "batch height width channels"]) -> Stored:
    """Each image mirrored left to right with probability one half."""
    images = jnp.asarray(images)
    mirror = jax.random.bernoulli(key, 0.5, (len(images), 1, 1, 1))
    return jnp.where(mirror, images[:, :, ::-1], images)


def mixed_up(key: PRNGKeyArray, images: Images, targets: Targets, alpha: float) -> tuple[Images, Targets]:
    """Every image and its target mixed with the next one's, all in one proportion drawn from Beta(alpha, alpha).

    References:
      mixup (arXiv:1710.09412). Differs: the partner is the next image of the batch, whose order is random already.
    """
    part = jax.random.beta(key, alpha, alpha)
    mix = lambda x: part * x + (1 - part) * jnp.roll(x, 1, 0)  # noqa: E731
    return mix(images), mix(targets)


def cut_mixed(key: PRNGKeyArray, images: Images, targets: Targets, alpha: float) -> tuple[Images, Targets]:
    """A rectangle of every image replaced by the next one's, and the targets mixed by what area that left.

    References:
      CutMix (arXiv:1905.04899). Differs: the partner is the next image of the batch, whose order is random already.
    """
    part_key, place_key = jax.random.split(key)
    height, width = images.shape[1:3]
    cut = jnp.sqrt(1 - jax.random.beta(part_key, alpha, alpha))
    centre = jax.random.uniform(place_key, (2,))

    def inside(size: int, centre: Array) -> Array:
        low = jnp.clip(jnp.floor(size * (centre - cut / 2)), 0, size)
        high = jnp.clip(jnp.floor(size * (centre + cut / 2)), 0, size)
        return (jnp.arange(size) >= low) & (jnp.arange(size) < high)

    box = inside(height, centre[0])[:, None] & inside(width, centre[1])
    part = 1 - box.mean()  # the rectangle may reach over the edge
    images = jnp.where(box[None, :, :, None], jnp.roll(images, 1, 0), images)
    return images, part * targets + (1 - part) * jnp.roll(targets, 1, 0)


def mixed(key: PRNGKeyArray, images: Images, targets: Targets, mixup: float, cutmix: float) -> tuple[Images, Targets]:
    """Mixup or CutMix, whichever has an `alpha` above 0; one of them by lot for each batch where both have."""
    if not (mixup or cutmix):
        return images, targets
    which_key, mix_key = jax.random.split(key)
    if not cutmix:
        return mixed_up(mix_key, images, targets, mixup)
    if not mixup:
        return cut_mixed(mix_key, images, targets, cutmix)
    heads = jax.random.bernoulli(which_key)
    both = zip(mixed_up(mix_key, images, targets, mixup), cut_mixed(mix_key, images, targets, cutmix), strict=True)
    new_images, new_targets = (jnp.where(heads, a, b) for a, b in both)
    return new_images, new_targets

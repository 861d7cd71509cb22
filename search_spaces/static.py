"""Static choices: options that change shapes (an image's resolution, a patch grid), so that each costs a compile.

Their indices are never traced: they go round as a hashable tuple beside the architecture, and populations are grouped
by them. The choice called `resolution` is the side of the images in px; they are resized before a network sees them.
"""

from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from search_spaces.space import Space, smallest

Fixed = tuple[tuple[str, int], ...]  # name and index of each static choice

RESOLUTION = "resolution"


def is_known(arch: Any) -> bool:
    """Whether an architecture holds numbers, rather than what `jit` traces."""
    return not isinstance(arch, Tracer)


def fixed_of(space: Space, arch: Int[Any, " choices"]) -> Fixed:
    """The indices of an architecture's static choices: what one compile is for."""
    return tuple((choice.name, int(arch[i])) for i, choice in enumerate(space.choices) if choice.static)


def grouped(space: Space, archs: Int[Any, "pop choices"]) -> list[tuple[Fixed, list[int]]]:
    """The rows of a population by their static choices, so that each group runs in one compile, in order of meeting."""
    groups: dict[Fixed, list[int]] = {}
    for row, arch in enumerate(np.asarray(archs)):
        groups.setdefault(fixed_of(space, arch), []).append(row)
    return list(groups.items())


def input_size(space: Space, fixed: Fixed) -> int | None:
    """The side of the images, px, that the static choices ask for; None where it is no choice."""
    for choice in space.choices:
        if choice.static and choice.name == RESOLUTION:
            return choice.options[dict(fixed)[RESOLUTION]]
    return None


@lru_cache(maxsize=64)
def image_shape(space: Space, fixed: Fixed) -> tuple[int, int, int]:
    """Height, width and channels of the images that networks with these static choices take."""
    arch, names = smallest(space), [choice.name for choice in space.choices]
    for name, index in fixed:
        arch[names.index(name)] = index
    return space.layers(arch)[0].shape


def check_images(space: Space, fixed: Fixed, images: Any) -> None:
    """Refuses images that are not of the size that networks with these static choices take.

    Raises:
      ValueError: names the shape and the rule. A convolution would run on many a wrong size without a word.
    """
    shape = image_shape(space, fixed)
    if np.ndim(images) != 4 or np.shape(images)[1:] != shape:
        resized = " (`resize` in search_spaces/static.py makes them so)" if input_size(space, fixed) else ""
        raise ValueError(
            f"images must have shape (batch, {', '.join(map(str, shape))}) for this space{resized},"
            f" got {np.shape(images)}; set the space's image_size and image_channels to theirs"
        )


def resize(
    images: Float[Array, "batch height width channels"], size: int | None
) -> Float[Array, "batch size size channels"]:
    """The images at another resolution (bilinear, smoothed when it shrinks); as they are where they fit already."""
    if size is None or images.shape[1:3] == (size, size):
        return images
    return jax.image.resize(images, (images.shape[0], size, size, images.shape[3]), "bilinear")

"""The images that integers' ranges are taken from."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from search_spaces.layers import Layer


def calibration_of(
    layers: Sequence[Layer], images: Float[np.ndarray, "images height width channels"] | None
) -> Float[np.ndarray, "images height width channels"]:
    """The images in float32.

    Raises:
      ValueError: when there are none, or they are not those that the network reads.
    """
    if images is None or not len(images):
        raise ValueError("int8 takes its ranges from images: give `calibration`, images normalised as in training")
    if images.shape[1:] != layers[0].shape:
        raise ValueError(
            f"`calibration` must be images of {layers[0].shape}, as the network reads, got {images.shape[1:]}"
        )
    if not np.isfinite(images).all():
        raise ValueError("`calibration` holds numbers that are not finite; ranges cannot be taken from them")
    return np.ascontiguousarray(images, np.float32)

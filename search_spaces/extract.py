"""Extraction: one architecture's network cut out of the supernet, alone and with no choice left in it."""

from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from search_spaces.reading import Cut, Whole
from search_spaces.space import Space, check_arch


class Extracted(nnx.Module):
    """A standalone network: cut parameters and the batch-norm statistics it was calibrated with.

    Attributes:
      network: the cut network; fine-tune it by calling it with `Whole()` and no statistics.
      stats: as the network's call returns them.
    """

    def __init__(self, network: nnx.Module, stats: Any):
        self.network = network
        self.stats = nnx.data(stats)

    def __call__(self, images: Float[Array, "batch height width channels"]) -> Float[Array, "batch classes"]:
        """Logits of normalised images."""
        return self.network(Whole(), images, self.stats)[0]  # pyright: ignore[reportCallIssue]


def extract(space: Space, supernet: Any, arch: Int[Any, " choices"], stats: Any) -> Extracted:
    """Cuts one architecture out of the supernet.

    Args:
      space: the space of the supernet.
      supernet: shared parameters.
      arch: the architecture.
      stats: batch-norm statistics of that architecture under the masked reading (see `nas/calibration.py`).

    Raises:
      ValueError: when the architecture is not of this space.
    """
    read = Cut.of(space.choices, check_arch(space, arch))
    # On numpy arrays a cut is a view; on JAX arrays each new shape would be compiled.
    supernet, stats = jax.device_get((supernet, stats))
    return Extracted(supernet.cut(read), supernet.cut_stats(read, stats))


def weights(extracted: Extracted) -> dict[str, np.ndarray]:
    """Parameters and statistics by dotted path: `<path of the layer>.<weight, bias, scale, mean or var>`."""
    leaves = jax.tree_util.tree_leaves_with_path((extracted.network, extracted.stats))
    return {
        ".".join(
            str(getattr(entry, "name", getattr(entry, "key", getattr(entry, "idx", "")))) for entry in path[1:]
        ).removesuffix(".value"): np.asarray(leaf)
        for path, leaf in leaves
    }

"""Extraction: one architecture's network cut out of the supernet, alone and with no choice left in it."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from search_spaces.reading import Cut, Whole, masked
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
      stats: batch-norm statistics of that architecture under the masked reading (as `nas/judge.py` gives them).

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
    return {_name(path): np.ascontiguousarray(leaf) for path, leaf in leaves}


def with_weights(space: Space, arch: Int[Any, " choices"], tensors: Mapping[str, np.ndarray]) -> Extracted:
    """The extracted network of an architecture, with weights as `weights` gives them.

    Raises:
      ValueError: when the architecture is not of this space, or a weight is missing, left over or of another shape.
    """
    read = Cut.of(space.choices, check_arch(space, arch))

    def blank() -> Any:
        supernet = space.supernet(jax.random.key(0))
        images = jnp.zeros((1, *space.layers(arch)[0].shape))
        return supernet.cut(read), supernet.cut_stats(read, supernet(masked(space, arch), images)[1])

    shapes = nnx.eval_shape(blank)
    leaves, structure = jax.tree_util.tree_flatten_with_path(shapes)
    names = [_name(path) for path, _ in leaves]
    if wrong := sorted(set(names) ^ set(tensors)):
        state = "missing" if wrong[0] in names else "not of this architecture"
        raise ValueError(f"weight `{wrong[0]}` is {state}; were the weights saved with this architecture?")
    for name, (_, leaf) in zip(names, leaves, strict=True):
        if tensors[name].shape != leaf.shape:
            raise ValueError(f"weight `{name}` must have shape {leaf.shape}, got {tensors[name].shape}")
    network, stats = jax.tree_util.tree_unflatten(structure, [tensors[name] for name in names])
    return Extracted(network, stats)


def _name(path: Any) -> str:
    # The first entry tells network from statistics, which are a list by blocks; flax puts `.value` behind a parameter.
    entries = [str(getattr(e, "name", getattr(e, "key", getattr(e, "idx", "")))) for e in path]
    return ".".join(["blocks"] * (entries[0] == "1") + entries[1:]).removesuffix(".value")

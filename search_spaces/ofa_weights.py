"""Brings the weights of a Once-for-All MobileNetV3 supernet that PyTorch trained (package `ofa`) to ours.

They come as its state dict, saved as safetensors or npz: nothing is unpickled here
(`experiments/benchmarks/peers/ofa.py` makes safetensors of a `.pth`).
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError
from safetensors.numpy import load_file

from search_spaces.network import Network
from search_spaces.ofa_mobilenet import OfaMobileNet
from search_spaces.reading import masked
from search_spaces.space import largest

# Our layers in theirs. An elastic layer of `ofa` wraps one of PyTorch's; the first block has none.
STEM = {"conv": "first_conv.conv", "norm": "first_conv.bn"}
HEAD = {
    "conv": "final_expand_layer.conv",
    "norm": "final_expand_layer.bn",
    "mix": "feature_mix_layer.conv",
    "classifier": "classifier.linear",
}
FIRST_BLOCK = {
    "depthwise": "depth_conv.conv",
    "depthwise_norm": "depth_conv.bn",
    "project": "point_linear.conv",
    "project_norm": "point_linear.bn",
}
ELASTIC_BLOCK = {
    "expand": "inverted_bottleneck.conv.conv",
    "expand_norm": "inverted_bottleneck.bn.bn",
    "depthwise": "depth_conv.conv.conv",
    "depthwise_norm": "depth_conv.bn.bn",
    "squeeze_excite.reduce": "depth_conv.se.fc.reduce",
    "squeeze_excite.expand": "depth_conv.se.fc.expand",
    "project": "point_linear.conv.conv",
    "project_norm": "point_linear.bn.bn",
}
NUMBERS = {"weight": "weight", "bias": "bias", "scale": "weight", "mean": "running_mean", "var": "running_var"}

COUNTER = "num_batches_tracked"  # of PyTorch's batch norm; no part of the function


def read_state(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a state dict saved as `.safetensors` or `.npz`, by entry.

    Raises:
      ValueError: when the file is of another kind, damaged, or holds objects.
      OSError: when it cannot be read.
    """
    try:
        match path.suffix:
            case ".safetensors":
                return load_file(path)
            case ".npz":
                with np.load(path, allow_pickle=False) as arrays:
                    return dict(arrays)
    except (SafetensorError, zipfile.BadZipFile, ValueError, EOFError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"`{path}` is damaged or holds more than plain arrays ({reason}); save it again") from error
    raise ValueError(
        f"weights must be a state dict saved as .safetensors or .npz, got `{path}`; for a .pth there is"
        " `pth_to_safetensors` in experiments/benchmarks/peers/ofa.py"
    )


def entries(space: OfaMobileNet) -> dict[str, tuple[int, ...]]:
    """What a state dict of this space holds: the shape of each entry, as PyTorch has it."""
    leaves = jax.tree_util.tree_leaves_with_path(_blank(space)[1])
    return {name: _their_shape(name, leaf.shape) for path, leaf in leaves for name in [_entry(space, path)]}


def convert(space: OfaMobileNet, state: Mapping[str, Any]) -> tuple[Network, list[Any]]:
    """The supernet with the weights of a state dict, kernel-transform matrices included, and its running statistics.

    `ofa` slices the statistics for a sub-network. They suit the sub-networks that were trained last; for others both
    `ofa` and our judge take new ones.

    Args:
      space: as trained: with the same widths, largest depth, kernels, largest expansion and classes.
      state: arrays by entry, as `read_state` gives them. Counters of batches are ignored, and the older name
        `mobile_inverted_conv` is understood.

    Returns:
      The supernet, and the statistics for `supernet(reading, images, statistics)`.

    Raises:
      ValueError: when an entry is missing, left over, of another shape, or holds no finite numbers; names it.
    """
    given = {name.replace(".mobile_inverted_conv.", ".conv."): value for name, value in state.items()}
    slots, blank = _blank(space)
    leaves, structure = jax.tree_util.tree_flatten_with_path(blank)
    shapes = {_entry(space, path): leaf.shape for path, leaf in leaves}
    fits = "are `stages`, `depths`, `kernels` and `width_mults` of the space those of the weights?"
    for name, ours in shapes.items():
        shape = _their_shape(name, ours)
        if name not in given:
            raise ValueError(f"entry `{name}` of the state dict is missing; {fits}")
        if np.shape(given[name]) != shape:
            way_out = "set `classes` to its first size" if name.startswith("classifier.") else fits
            got = np.shape(given[name])
            raise ValueError(f"entry `{name}` of the state dict must have shape {shape}, got {got}; {way_out}")
        if not np.isfinite(given[name]).all():
            raise ValueError(f"entry `{name}` of the state dict holds NaN or infinity; take an earlier checkpoint")
    left = sorted(name for name in set(given) - set(shapes) if not name.endswith(COUNTER))
    if left:
        raise ValueError(f"entry `{left[0]}` of the state dict is not of this space; {fits}")
    arrays = [_ours(name, given[name], ours) for name, ours in shapes.items()]
    blocks, stats = jax.tree_util.tree_unflatten(structure, arrays)
    return Network(slots, blocks), stats


def _blank(space: OfaMobileNet) -> tuple[Any, tuple[list[Any], list[Any]]]:
    """The slots, and the shapes of the blocks' parameters and of their statistics."""
    arch = largest(space)
    image = space.layers(arch)[0].shape

    def build() -> tuple[Network, list[Any]]:
        network = space.supernet(jax.random.key(0))
        return network, network(masked(space, arch), jnp.zeros((1, *image)))[1]

    network, stats = nnx.eval_shape(build)
    return network.slots, (list(network.blocks), stats)


def _entry(space: OfaMobileNet, path: Any) -> str:
    """The entry that a leaf of `_blank`'s second half comes from."""
    _, slot, inner = jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value").split(".", 2)
    position = int(slot) - 1
    if inner.startswith("depthwise.transforms."):
        larger, smaller = space.kernels[::-1][int(inner[-1]) :][:2]
        return f"blocks.{position}.conv.depth_conv.conv.{larger}to{smaller}_matrix"
    layer, _, numbers = inner.rpartition(".")
    if position == -1:
        theirs = STEM[layer]
    elif position == len(space.places) - 2:  # the stem stands before the blocks, the head behind them
        theirs = HEAD[layer]
    else:
        theirs = f"blocks.{position}.conv.{(ELASTIC_BLOCK if position else FIRST_BLOCK)[layer]}"
    return f"{theirs}.{NUMBERS[numbers]}"


def _their_shape(name: str, ours: tuple[int, ...]) -> tuple[int, ...]:
    """PyTorch has the outputs first and the kernel last; some dense layers of means are 1x1 convolutions there."""
    is_conv = (".se." in name or name.startswith("feature_mix")) and len(ours) == 2
    return (*ours[::-1], 1, 1) if is_conv else ours[::-1]


def _ours(name: str, theirs: Any, shape: tuple[int, ...]) -> jax.Array:
    value = np.asarray(theirs, np.float32)
    if not name.endswith("_matrix"):  # both multiply a column of taps from the left
        value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
    return jnp.asarray(value.reshape(shape))

"""The PyTorch peer: Once-for-All's own MobileNetV3 supernet, from the PyPI package `ofa`.

`make peers` installs it. Which sub-network runs is a mode set on the object, as the users of `ofa` do.
"""

import importlib.util
import re
import sys
import zlib
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

NEEDED = ("torch", "torchvision", "ofa")
KERNELS, EXPANSIONS, DEPTHS = (3, 5, 7), (3, 4, 6), (2, 3, 4)

_kept: list[Any] = []  # operators are there as long as the library that defines them is


def missing() -> str | None:
    """What is not installed and how to install it, in one line; None where all is there."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed; run `make peers`" if absent else None


def load() -> Any:
    """The class `OFAMobileNetV3`.

    `ofa` imports torchvision for its data loaders. That of PyPI is built for CUDA: beside a CPU build of torch its
    operators don't load, and its import fails where it describes them. Their names are then defined here, empty, as an
    `ofa` network calls none of them.

    Raises:
      ImportError: when torch, torchvision or ofa is not installed; says how to install them.
    """
    if (reason := missing()) is not None:
        raise ImportError(reason)
    _define_operators()
    return import_module("ofa.imagenet_classification.elastic_nn.networks").OFAMobileNetV3


def _define_operators() -> None:
    spec = importlib.util.find_spec("torchvision")
    if _kept or "torchvision" in sys.modules or spec is None or spec.origin is None:
        return
    torch, folder = import_module("torch"), Path(spec.origin).parent
    for built in folder.glob("_C.*"):
        try:
            torch.ops.load_library(str(built))
        except OSError:
            continue  # built for another torch
        return
    described = (folder / "_meta_registrations.py").read_text()
    library = torch.library.Library("torchvision", "DEF")
    for name in sorted(set(re.findall(r'(?:register_meta\("|"torchvision::)(\w+)"', described))):
        library.define(f"{name}() -> ()")
    _kept.append(library)


def supernet(
    *, classes: int = 1000, width_mult: float = 1.0, state: Mapping[str, np.ndarray] | None = None, seed: int = 0
) -> Any:
    """The supernet of kernels 3, 5, 7, expansions 3, 4, 6 and depths 2, 3, 4, without dropout.

    Dropout would make its answers in training mode random; `ofa` has 0.1 before the classifier.

    Args:
      classes: outputs of the classifier.
      width_mult: multiplies the width of every stage.
      state: its state dict as arrays; None leaves the initial values that `seed` gives.
      seed: of torch, for the initial values.

    Raises:
      ImportError: when the peers are not installed.
      ValueError: when `state` misses an entry or has one too many.
    """
    build, torch = load(), import_module("torch")
    torch.manual_seed(seed)
    network = build(
        n_classes=classes,
        dropout_rate=0,
        width_mult=width_mult,
        ks_list=list(KERNELS),
        expand_ratio_list=list(EXPANSIONS),
        depth_list=list(DEPTHS),
    )
    if state is not None:
        # Its own `load_state_dict` takes any subset of the names without a word.
        tensors = {name: torch.tensor(value) for name, value in state.items()}
        left = torch.nn.Module.load_state_dict(network, tensors, strict=False)
        absent = [name for name in left.missing_keys if not name.endswith("num_batches_tracked")]
        if absent or left.unexpected_keys:
            raise ValueError(f"not this supernet's state: entries missing {absent}, left over {left.unexpected_keys}")
    return network


def state_of(network: Any) -> dict[str, np.ndarray]:
    """The state dict as arrays."""
    return {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}


def random_state(shapes: Mapping[str, Sequence[int]], seed: int, gain: float = 2.0) -> dict[str, np.ndarray]:
    """Arrays for a state dict in which every number matters, from numpy alone: the same on every machine.

    Batch-norm statistics and scales lie away from 0 and 1, biases away from 0, and transform matrices far from the
    identity, though they keep a kernel's size.

    Args:
      shapes: of the entries, by name.
      seed: together with an entry's name it gives its numbers.
      gain: how much variance a convolution passes on. Random statistics normalise nothing, so that deep sub-networks
        need less of it than shallow ones for answers of order 1.
    """
    drawn: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        if name.endswith("_matrix"):
            value = rng.normal(0, shape[1] ** -0.5, shape)
        elif len(shape) > 1:
            value = rng.normal(0, (gain / np.prod(shape[1:])) ** 0.5, shape)
        elif name.endswith(("running_var", "bn.weight")):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.uniform(-0.3, 0.3, shape)
        drawn[name] = value.astype(np.float32)
    return drawn


def activate(network: Any, *, kernels: Sequence[int], expansions: Sequence[int], depths: Sequence[int]) -> None:
    """Sets which sub-network runs: a kernel and an expansion for each of the 20 blocks, a depth for each stage."""
    network.set_active_subnet(ks=list(kernels), e=list(expansions), d=list(depths))


def logits_of(network: Any, images: np.ndarray, *, train: bool = False) -> np.ndarray:
    """Answers of the active sub-network to NHWC images; `train` normalises by the batch's own statistics.

    In training mode `ofa` also moves the running statistics of the channels that ran.
    """
    torch = import_module("torch")
    network.train(train)
    with torch.no_grad():
        return network(torch.tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))).numpy()


def pth_to_safetensors(source: Path, target: Path) -> None:
    """Writes the arrays of a PyTorch checkpoint as safetensors: no pickle enters the product.

    Raises:
      ValueError: when the file holds anything but tensors in plain containers, or no state dict.
    """
    torch = import_module("torch")
    from pickle import UnpicklingError

    from safetensors.numpy import save_file

    try:
        held = torch.load(source, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"`{source}` is no PyTorch file of plain weights ({reason}); save its state dict") from error
    if isinstance(held, dict) and isinstance(held.get("state_dict"), dict):  # as the published checkpoints of ofa
        held = held["state_dict"]
    if not isinstance(held, dict) or not held or not all(isinstance(value, torch.Tensor) for value in held.values()):
        raise ValueError(f"`{source}` holds no state dict, a mapping of names to tensors; save that alone")
    save_file({str(name): np.ascontiguousarray(value.numpy()) for name, value in held.items()}, target)

"""`edgenas convert ofa`: a supernet that PyTorch trained becomes the folder of a run, whose supernet can be searched.

edgenas convert ofa <weights> <folder> [settings], then edgenas supernet.from=<folder>
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import jax.numpy as jnp
from flax import nnx
from omegaconf import OmegaConf

from experiments.build import build
from experiments.environment import environment
from experiments.files import locked, write_json
from experiments.resume import remember
from experiments.settings import check_settings
from nas.checkpoint import Checkpoints
from nas.training import Trainer
from search_spaces.ofa_mobilenet import OfaMobileNet
from search_spaces.ofa_weights import convert, read_state

USAGE = (
    "edgenas convert ofa <weights: a state dict as .safetensors or .npz> <new folder> [settings, e.g."
    " search_space.width_mults=[1.2] data=image_folder data.root=...]"
)

SETTING = re.compile(r"[\w.+~@]+=")


def convert_command(arguments: Sequence[str]) -> Path:
    """Makes the folder and returns it.

    The space is `ofa_mobilenet`, shaped by the settings; classes, and so the classifier, are those of the data. It is
    the folder of a run that has been trained to its end: `supernet.from=<folder>` searches it.

    Args:
      arguments: what stands behind `convert`.

    Raises:
      ValueError: when words are missing, a setting is wrong, the weights don't fit the space, or the folder is in use.
      OSError: when a file cannot be read or written.
    """
    # `data=digits` in the place of a file is a setting too early; `./lr=1/weights.npz` is a path
    if len(arguments) < 3 or arguments[0] != "ofa" or any(SETTING.match(word) for word in arguments[1:3]):
        raise ValueError(f"say {USAGE}; got `{' '.join(['convert', *arguments])}`")
    weights, folder, overrides = Path(arguments[1]), Path(arguments[2]), list(arguments[3:])
    if not any(each.startswith("search_space=") for each in overrides):
        overrides.insert(0, "search_space=ofa_mobilenet")
    settings = _settings(overrides)
    state = read_state(weights)
    plugins = settings["plugins"]
    source = build(settings["data"], plugins)
    shape = {name: getattr(source, name) for name in ("image_size", "image_channels", "classes")}
    space = build(settings["search_space"], plugins, **shape)
    if not isinstance(space, OfaMobileNet):
        raise ValueError(f"weights of `ofa` are for search_space=ofa_mobilenet, got a {type(space).__name__}")
    network, _ = convert(space, state)  # statistics are taken anew for every architecture that is judged
    trainer = Trainer(space, build(settings["training"], plugins), source.load())
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"`{folder}` is in use; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder), Checkpoints(folder / "checkpoints") as checkpoints:
        remember(folder, settings, overrides)
        origin = {"converted_from": str(weights), "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
        write_json(folder / "environment.json", {"space": "ofa_mobilenet", **environment(), **origin})
        write_json(folder / "losses.json", [])
        checkpoints.save(trainer.restart(nnx.split(network)[1])._replace(step=jnp.int32(trainer.steps)))
    print(f"{weights}: {len(state)} entries fit; search the supernet with edgenas supernet.from={folder}")
    return folder


def _settings(overrides: Sequence[str]) -> dict[str, Any]:
    """Those of a run over this space."""
    with hydra.initialize_config_module("experiments.configs", version_base="1.3"):
        tree = hydra.compose("edgenas", list(overrides))
    settings: dict[str, Any] = OmegaConf.to_container(tree, resolve=True)  # pyright: ignore[reportAssignmentType]
    check_settings(settings)
    return settings

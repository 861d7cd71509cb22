"""The options of a group of settings: `experiments/configs/<group>/<option>.yaml`, composed as the main job does."""

from pathlib import Path
from typing import Any

import hydra
from omegaconf import OmegaConf

CONFIGS = Path(__file__).parent / "configs"


def names(group: str) -> list[str]:
    """The options of a group, without those of plug-ins."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def tree(group: str, name: str) -> dict[str, Any]:
    """The settings of one option, with what it takes from other groups; `build` makes the object."""
    with hydra.initialize_config_module("experiments.configs", version_base="1.3"):
        composed = hydra.compose(f"{group}/{name}")[group]
    return OmegaConf.to_container(composed, resolve=True)  # pyright: ignore[reportReturnType]

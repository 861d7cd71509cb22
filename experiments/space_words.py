"""A space as it is typed: `search_space=<option>`, its settings with that section before them or bare, and its data.

`check` and `describe` read the same words.
"""

from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from experiments.options import names
from experiments.plugins import named, with_search_path

SECTION = "search_space"
OF_SECTIONS = (f"{SECTION}=", f"{SECTION}.", "data=", "data.", "plugins=", "hydra.")
"""How words begin that are Hydra's; all others are settings of the space."""


def options() -> list[str]:
    """The spaces that `search_space=` names, without those of plug-ins."""
    return names(SECTION)


def composed(words: Sequence[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The settings of a space that is an option, and the plug-ins that it may be of.

    Args:
      words: of the sections `search_space`, `data` and `plugins`, as Hydra takes them; others set what their bare names
        say of the space.

    Returns:
      All settings of the main job, with the space's own in the section `search_space`.

    Raises:
      ValueError: when a plug-in cannot be imported, or a setting is given twice.
    """
    of_sections = [word for word in words if word.lstrip("+~").startswith(OF_SECTIONS)]
    with hydra.initialize_config_module("experiments.configs", version_base="1.3"):
        tree = hydra.compose("edgenas", with_search_path(of_sections))
    settings: dict[str, Any] = OmegaConf.to_container(tree, resolve=True)  # pyright: ignore[reportAssignmentType]
    prefixed = [word for word in of_sections if word.lstrip("+~").startswith(f"{SECTION}.")]
    bare = [word for word in words if word not in of_sections]
    values([*prefixed, *bare])  # refuses what is given in both ways
    settings[SECTION] = {**settings[SECTION], **values(bare)}
    return settings, named(of_sections)


def values(words: Sequence[str]) -> dict[str, Any]:
    """Settings of a space by their bare names, read as Hydra reads them.

    Raises:
      ValueError: when one is given twice.
    """
    found: dict[str, Any] = {}
    for override in OverridesParser.create().parse_overrides(list(words)):
        name = override.key_or_group.removeprefix(f"{SECTION}.")
        if name in found:
            raise ValueError(f"`{name}` is set twice; leave one of them out")
        found[name] = OmegaConf.to_container(OmegaConf.create({"value": override.value()}))["value"]  # pyright: ignore
    return found

"""The settings of all targets at once, of ours and of plug-ins, without the seconds that composing each would take."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from omegaconf import OmegaConf

from experiments.options import CONFIGS
from experiments.plugins import configs_of, import_plugin, with_search_path

GROUP = "target"
PART = re.compile(r"/(?P<group>\w+)@(?P<key>\w+)")
"""As `/device@device: raspberry_pi_4` among the defaults of a target: an option of a group, and where it goes."""


FLOAT = "tag:yaml.org,2002:float"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # pyright: ignore[reportGeneralTypeIssues]
    """YAML as OmegaConf reads it (`1e9` is a number too), by the parser in C where there is one: ten times as fast."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag != FLOAT]
    for first, pairs in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    FLOAT,
    re.compile(
        r"[-+]?(?:\d[\d_]*\.[\d_]*(?:[eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.\d[\d_]*(?:[eE][-+]?\d+)?|\.inf|\.nan)$"
    ),
    list("-+0123456789."),
)


def target_files(plugins: Sequence[str] = ()) -> dict[str, Path]:
    """The file of each target, by name; ours come before those of plug-ins, as where Hydra looks for them.

    Raises:
      ValueError: when a plug-in cannot be imported.
    """
    found: dict[str, Path] = {}
    for folder in _folders(plugins):
        for path in sorted((folder / GROUP).glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def option_tree(group: str, name: str, plugins: Sequence[str] = ()) -> dict[str, Any]:
    """The settings of one option of a group, with what it takes from others; `build` makes the object.

    Files that only take whole options from other groups are read directly, which gives what Hydra gives; it composes
    all others.

    Args:
      group: e.g. `target`, `device`.
      name: of the option.
      plugins: packages that it, or its parts, may come from.
    """
    try:
        return _read(group, name, _folders(plugins))
    except _NotPlain:
        arguments = with_search_path([f"plugins=[{','.join(plugins)}]"] if plugins else [])
        with hydra.initialize_config_module("experiments.configs", version_base="1.3"):
            composed = hydra.compose("edgenas", [f"+{group}@asked={name}", *arguments])
        return OmegaConf.to_container(composed["asked"], resolve=True)  # pyright: ignore[reportReturnType]


def header(path: Path) -> list[str]:
    """What the comments at the head of a settings file say, a line each."""
    lines = path.read_text().splitlines()
    count = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line.removeprefix("#").removeprefix(" ") for line in lines[:count]]


class _NotPlain(Exception):
    """A file that says more than its own values and whole options of other groups."""


def _folders(plugins: Sequence[str]) -> list[Path]:
    return [CONFIGS, *(folder for name in plugins if (folder := configs_of(import_plugin(name))) is not None)]


def _read(group: str, name: str, folders: Sequence[Path]) -> dict[str, Any]:
    path = next((each for folder in folders if (each := folder / group / f"{name}.yaml").is_file()), None)
    text = path.read_text() if path is not None else "${"
    if "${" in text:
        raise _NotPlain
    try:
        content = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"`{path}` is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise _NotPlain
    defaults = content.pop("defaults", [])
    own = "_self_"
    tree: dict[str, Any] = {}
    for entry in defaults if own in defaults else [*defaults, own]:
        if entry == own:
            tree = _merged(tree, content)
            continue
        key, option = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else ("", None)
        if not (part := PART.fullmatch(key)) or not isinstance(option, str):
            raise _NotPlain
        tree = _merged(tree, {part["key"]: _read(part["group"], option, folders)})
    return tree


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(base[key], over[key])
        for key in base.keys() & over.keys()
        if isinstance(base[key], dict) and isinstance(over[key], dict)
    }
    return {**base, **over, **both}

"""Packages of the user's: imported before anything is composed, so that their own YAML files are options too."""

import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from nas.blame import place

SEARCH_PATH = "hydra.searchpath"
CONFIGS = "configs"
"""The folder of a plug-in whose `<group>/<option>.yaml` become options."""


def with_search_path(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the folders of settings that the plug-ins among them bring.

    Args:
      arguments: as Hydra takes them; those with `plugins=[...]` are imported.

    Raises:
      ValueError: when a plug-in cannot be imported, in one line.
    """
    folders = [found for name in named(arguments) if (found := configs_of(import_plugin(name))) is not None]
    if not folders:
        return list(arguments)
    given = _last(arguments, SEARCH_PATH)
    own = map(str, given) if isinstance(given, list) else ()
    paths = ", ".join(f'"{path}"' for path in [*own, *(f"file://{folder}" for folder in folders)])
    others = [each for each in arguments if not each.startswith(f"{SEARCH_PATH}=")]
    return [*others, f"{SEARCH_PATH}=[{paths}]"]


def named(arguments: Sequence[str]) -> tuple[str, ...]:
    """The packages that `plugins=[...]` names; an entry that is no name is refused where settings are checked.

    Raises:
      ValueError: when it is given something else than a list.
    """
    value = _last(arguments, "plugins")
    if value is None or isinstance(value, str | int | float | dict):
        raise ValueError(f"`plugins` must be a list, as plugins=[{value if isinstance(value, str) else 'my_package'}]")
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()


def _last(arguments: Sequence[str], key: str) -> object:
    """The value that a setting was given, the last time counts; an empty list where it wasn't, or can't be read."""
    given = [each for each in arguments if each.lstrip("+").partition("=")[0] == key]
    if not given:
        return []
    try:
        return OverridesParser.create().parse_override(given[-1]).value()
    except HydraException:  # Hydra itself will say what is wrong with it
        return []


def import_plugin(name: str) -> ModuleType:
    """A user's module, from the Python path or the current folder.

    Raises:
      ValueError: when it isn't there, or raises: one line with the place.
    """
    here = os.getcwd()  # noqa: PTH109 - as it stands on the path
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # last: nothing that happens to lie here takes another package's place
        importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            hint = _nearest_module(name, error.name)
            raise ValueError(f"`{name}` cannot be imported: there is no `{error.name}`{hint}") from error
        raise ValueError(f"`{name}` cannot be imported: {error} ({place(error)})") from error
    except (Exception, SystemExit) as error:  # whatever the author's code raises
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"`{name}` cannot be imported: {said} ({place(error)})") from error


def _nearest_module(name: str, missing: str) -> str:
    parent = missing.rpartition(".")[0]
    spec = importlib.util.find_spec(parent) if parent else None
    folders = list(spec.submodule_search_locations or []) if spec else [os.getcwd()]  # noqa: PTH109
    found = {
        path.stem
        for folder in folders
        for path in Path(folder).iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    close = difflib.get_close_matches(missing.rpartition(".")[2], sorted(found - {"__init__"}), 1, 0.5)
    if close:
        return f"; did you mean `{parent + '.' if parent else ''}{close[0]}`?"
    return "" if parent else " here or on the Python path; go where it lies, or set PYTHONPATH"


def configs_of(module: ModuleType) -> Path | None:
    """The folder of settings that a package brings, if any."""
    for folder in getattr(module, "__path__", ()):
        if (path := Path(folder).absolute() / CONFIGS).is_dir():
            return path
    return None

"""Turns a configuration tree into objects: the only place where `_target_` becomes a class.

Lists become tuples. Only classes of our own packages and of the user's `plugins=[...]` are built.
"""

import difflib
import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

PACKAGES = ("search_spaces", "predictors", "hardware", "nas", "experiments")


def build(tree: Any, plugins: Sequence[str] = (), **given: Any) -> Any:
    """Builds the object a tree describes.

    Args:
      tree: plain dicts, lists and values; a dict with `_target_` is an object, its other keys the constructor's.
      plugins: top-level packages, beyond our own, that a `_target_` may come from.
      given: further constructor arguments of the outermost object, that the tree does not hold.

    Raises:
      ValueError: when a `_target_` is not allowed or does not exist, or a key is not an argument of it.
    """
    if isinstance(tree, Mapping):
        values = {key: build(value, plugins) for key, value in tree.items() if key != "_target_"}
        if "_target_" not in tree:
            return values
        return _construct(tree["_target_"], {**values, **given}, plugins)
    if isinstance(tree, list | tuple):
        return tuple(build(value, plugins) for value in tree)
    return tree


def locate(target: str, plugins: Sequence[str] = ()) -> Any:
    """The class or function that a `_target_` names.

    Raises:
      ValueError: when its package is not allowed, or it is not there.
    """
    package = target.split(".", 1)[0]
    if package not in (*PACKAGES, *plugins):
        raise ValueError(
            f"`{target}` is of package `{package}`, which is not one of ours; trust it with plugins=[{package}]"
        )
    module_name, _, name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"`{target}` cannot be imported: {error}") from error
    if not hasattr(module, name):
        public = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise ValueError(f"`{module_name}` has no `{name}`{_nearest(name, public)}")
    return getattr(module, name)


def _construct(target: str, values: dict[str, Any], plugins: Sequence[str]) -> Any:
    cls = locate(target, plugins)
    arguments = list(inspect.signature(cls).parameters)
    for name in values:
        if name not in arguments:
            raise ValueError(f"`{target}` has no setting `{name}`{_nearest(name, arguments)}")
    try:
        inspect.signature(cls).bind(**values)
    except TypeError as error:
        raise ValueError(f"`{target}`: {error}") from error
    return cls(**values)


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean `{close[0]}`?" if close else f"; it has {', '.join(f'`{n}`' for n in names)}"


def describe(settings: Any) -> Any:
    """The tree that `build` turns back into these settings: frozen dataclasses and plain values."""
    if hasattr(settings, "__dataclass_fields__"):
        cls = type(settings)
        fields = {name: describe(getattr(settings, name)) for name in settings.__dataclass_fields__}
        return {"_target_": f"{cls.__module__}.{cls.__qualname__}", **fields}
    if isinstance(settings, tuple | list):
        return [describe(value) for value in settings]
    return settings

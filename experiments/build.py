"""Turns a configuration tree into objects: the only place where `_target_` becomes a class.

Lists become tuples, and what the constructor's annotations rule out is refused. Only settings (dataclasses) of our own
packages and classes of the user's `plugins=[...]` are built.
"""

import dataclasses
import difflib
import inspect
import math
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from experiments.plugins import import_plugin

PACKAGES = ("search_spaces", "predictors", "hardware", "nas", "experiments")


def build(tree: Any, plugins: Sequence[str] = (), **given: Any) -> Any:
    """Builds the object a tree describes.

    Args:
      tree: plain dicts, lists and values; a dict with `_target_` is an object, its other keys the constructor's.
      plugins: top-level packages, beyond our own, that a `_target_` may come from.
      given: further constructor arguments of the outermost object, that the tree does not hold.

    Raises:
      ValueError: when a `_target_` is not allowed or does not exist, a key is not an argument of it, or a value not
        of the argument's type.
    """
    if isinstance(tree, Mapping):
        values = {key: build(value, plugins) for key, value in tree.items() if key != "_target_"}
        if "_target_" not in tree:
            return values
        return _construct(tree["_target_"], {**values, **given}, plugins)
    if isinstance(tree, list | tuple):
        return tuple(build(value, plugins) for value in tree)
    return tree


def locate(target: Any, plugins: Sequence[str] = ()) -> Any:
    """The class that a `_target_` names.

    Raises:
      ValueError: when its package is not allowed, it is not there, or it is not a class made there.
    """
    module_name, _, name = target.rpartition(".") if isinstance(target, str) else ("", "", "")
    if not module_name or not name:
        raise ValueError(f"`_target_` must name a class, like `search_spaces.mobile.Mobile`, got `{target}`")
    allowed = (*PACKAGES, *plugins)
    package = target.partition(".")[0]
    if package not in allowed:
        raise ValueError(
            f"`{target}` is of package `{package}`, which is not one of ours; trust it with plugins=[{package}]"
        )
    module = import_plugin(module_name)
    found = getattr(module, name, None)
    public = [
        key for key, value in vars(module).items() if _is_settings(value, plugins) and value.__module__ == module_name
    ]
    if found is None:
        raise ValueError(f"`{module_name}` has no `{name}`{nearest(name, public)}")
    if not _is_settings(found, plugins):
        raise ValueError(f"`{target}` describes no settings{nearest(name, public)}")
    return found


def _is_settings(value: Any, plugins: Sequence[str]) -> bool:
    """Whether it may be built: a plugin's class or a dataclass of ours, and not what a module of ours only imports."""
    package = getattr(value, "__module__", "").partition(".")[0]
    return inspect.isclass(value) and (package in plugins or (package in PACKAGES and dataclasses.is_dataclass(value)))


def _construct(target: Any, values: dict[str, Any], plugins: Sequence[str]) -> Any:
    cls = locate(target, plugins)
    arguments = list(inspect.signature(cls).parameters)
    for name in values:
        if name not in arguments:
            raise ValueError(f"`{target}` has no setting `{name}`{nearest(name, arguments)}")
    try:
        inspect.signature(cls).bind(**values)
    except TypeError as error:
        raise ValueError(f"`{target}`: {error}") from error
    hints = get_type_hints(cls if hasattr(cls, "__dataclass_fields__") else cls.__init__)
    for name, value in values.items():
        hint = hints.get(name, Any)
        check_type(f"`{target}`: `{name}`", value, hint)
        if type(value) is int and float in (hint, *get_args(hint)) and int not in get_args(hint):
            values[name] = float(value)
    return cls(**values)


def check_type(what: str, value: Any, hint: Any) -> None:
    """Refuses a value that an annotation rules out; annotations that no settings file can speak of allow everything.

    Args:
      what: begins the message.
      value: after `build`: tuples for lists.
      hint: numbers, text, `Literal`, `tuple[X, ...]`, `Mapping[str, X]`, classes, and unions of these.

    Raises:
      ValueError: in one line, naming the value and what is wanted.
    """
    if not _fits(value, hint):
        shown = f"`{value}`" if isinstance(value, str) else repr(value)
        raise ValueError(f"{what} must be {_wanted(hint)}, got {shown}")


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple and inner[1:] == (...,):
        return isinstance(value, tuple) and all(_fits(each, inner[0]) for each in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_fits(each, inner[1]) for each in value.values())
    if hint in (int, float) and isinstance(value, bool):
        return False
    if hint is float:
        return isinstance(value, int | float) and math.isfinite(value)
    if hint is Path:
        return isinstance(value, str | Path)
    if isinstance(hint, type) and origin is None:
        return _is_instance(value, hint)
    return True


def _is_instance(value: Any, cls: type) -> bool:
    try:
        return isinstance(value, cls)
    except TypeError:  # a protocol that cannot be asked about at run time
        return True


WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    Path: "a path",
}


def _wanted(hint: Any) -> str:
    """An annotation in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_wanted(each) for each in inner))
    if origin is Literal:
        return f"one of {', '.join(f'`{each}`' for each in inner)}"
    if origin is tuple:
        return f"a list, each {_wanted(inner[0])}"
    if origin is Mapping:
        return f"a mapping of names, each to {_wanted(inner[1])}"
    return WORDS.get(hint, f"a `{getattr(hint, '__name__', hint)}`")


def nearest(name: str, names: Sequence[str], section: str = "") -> str:
    """The end of a message about an unknown name: the nearest one that there is, or else all."""
    close = difflib.get_close_matches(name, names, 1, 0.5)
    if close or not names:
        return f"; did you mean `{section}{close[0]}`?" if close else ""
    return f"; there are {', '.join(f'`{section}{each}`' for each in sorted(names))}"


def describe(settings: Any) -> Any:
    """The tree that `build` turns back into these settings: frozen dataclasses and plain values."""
    if hasattr(settings, "__dataclass_fields__"):
        cls = type(settings)
        fields = {name: describe(getattr(settings, name)) for name in settings.__dataclass_fields__}
        return {"_target_": f"{cls.__module__}.{cls.__qualname__}", **fields}
    if isinstance(settings, tuple | list):
        return [describe(value) for value in settings]
    if isinstance(settings, Mapping):
        return {name: describe(value) for name, value in settings.items()}
    return str(settings) if isinstance(settings, Path) else settings

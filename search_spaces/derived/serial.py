"""An architecture as text: JSON that says its options by name and refuses another space, and a short stable hash."""

import difflib
import hashlib
import json
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from jaxtyping import Int

from search_spaces.space import Choice, Space, active, canonical, check_arch, options

FORMAT = "edgenas architecture"
VERSION = 1
FIELDS = ("format", "version", "space", "fingerprint", "options", "genes")


def fingerprint(space: Space) -> str:
    """16 hexadecimal digits that stand for the space's choices: their names, options and order, and what wakes them.

    The same in every process and on every machine. Spaces that differ in other settings only (an image size, the number
    of classes) share it: their architectures mean the same.
    """
    said = [[c.name, [_plain(o) for o in c.options], c.requires and list(c.requires), c.static] for c in space.choices]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def short_hash(space: Space, arch: Int[Any, " choices"] | Sequence[int]) -> str:
    """10 hexadecimal digits of a network, the same for rows that are equal once canonical, on every machine.

    Raises:
      ValueError: when the architecture is not of this space.
    """
    row = canonical(space, check_arch(space, arch)).tolist()
    return hashlib.sha256(json.dumps([fingerprint(space), row]).encode()).hexdigest()[:10]


def to_json(space: Space, arch: Int[Any, " choices"] | Sequence[int]) -> str:
    """The network as JSON: its options by their choices' names, and what `from_json` needs to refuse what doesn't fit.

    Raises:
      ValueError: when the architecture is not of this space.
    """
    row = canonical(space, check_arch(space, arch))
    said = {
        "format": FORMAT,
        "version": VERSION,
        "space": type(space).__name__,
        "fingerprint": fingerprint(space),
        "options": {name: _plain(option) for name, option in options(space, row).items()},
        "genes": row.tolist(),
    }
    return json.dumps(said, allow_nan=False)


def from_json(space: Space, text: Any) -> Int[np.ndarray, " choices"]:
    """The canonical row that `to_json` wrote. Options are read by name; `genes` may be left out, or must agree.

    Args:
      space: whose architecture it should be.
      text: what `to_json` wrote, as text or bytes, or whatever a user took for it.

    Raises:
      ValueError: in one line, when it is not JSON, of another format, version or space, or when a choice that has an
        effect is missing, another one is there, or an option is none of its choice's.
    """
    said = _read(text)
    if said.get("format") != FORMAT:
        raise ValueError(f"`format` must be `{FORMAT}`, got {_shown(said.get('format'))}; write it with `to_json`")
    version = said.get("version")
    if version != VERSION or isinstance(version, bool):
        raise ValueError(f"`version` must be {VERSION}, the one this edgenas reads, got {_shown(version)}")
    for field in said:
        if field not in FIELDS:
            raise ValueError(f"an architecture has no field `{field}`; did you mean `{_near(field, FIELDS)}`?")
    own = type(space).__name__
    if said.get("space") != own:
        raise ValueError(
            f"the architecture is of the space {_shown(said.get('space'))}, not `{own}`: read it with its own"
        )
    if said.get("fingerprint") != fingerprint(space):
        raise ValueError(
            f"the architecture is of a `{own}` with other choices (fingerprint {_shown(said.get('fingerprint'))}, not"
            f" `{fingerprint(space)}`); give the space the settings it was written with"
        )
    row = _row(space, said.get("options"))
    if "genes" in said and (type(said["genes"]) is not list or said["genes"] != row.tolist()):
        raise ValueError(
            f"`genes` and `options` disagree: the options are {row.tolist()}; leave `genes` out or mend it"
        )
    return row


def _read(text: Any) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (TypeError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(
            f"an architecture is read from JSON, and this is none ({error}); write it with `to_json`"
        ) from None
    if not isinstance(said, dict):
        raise ValueError(f"an architecture is a JSON object, got {_shown(said)}; write it with `to_json`")
    return said


def _row(space: Space, given: Any) -> np.ndarray:
    if not isinstance(given, dict):
        raise ValueError(f"`options` must be an object of choices and their options, got {_shown(given)}")
    names = [choice.name for choice in space.choices]
    for name in given:
        if name not in names:
            raise ValueError(f"this space has no choice `{name}`; did you mean `{_near(name, names)}`?")
    row = np.zeros(len(names), np.int32)
    for i, choice in enumerate(space.choices):  # what requires a choice comes after it: so far, `active` is right
        awake = bool(active(space, row)[i])
        if awake and choice.name not in given:
            raise ValueError(f"`options` lacks `{choice.name}`; it has {_listed(choice)}")
        if not awake and choice.name in given:
            name, index = choice.requires or ("", 0)
            above = space.choices[names.index(name)]
            raise ValueError(
                f"`{choice.name}` has no effect here: it requires `{name}` to be {_shown(_plain(above.options[index]))}"
                " or a later option; leave it out"
            )
        if awake:
            row[i] = _index(choice, given[choice.name])
    return row


def _index(choice: Choice, given: Any) -> int:
    for i, option in enumerate(choice.options):
        plain = _plain(option)
        if plain == given and isinstance(plain, bool) == isinstance(given, bool):  # True is no 1 here
            return i
    shown = {json.dumps(_plain(option)): option for option in choice.options}
    if isinstance(given, int | float) and all(isinstance(o, Real) for o in choice.options):
        nearest = min(choice.options, key=lambda option: abs(option - given))
        hint = json.dumps(_plain(nearest))
    else:
        hint = _near(json.dumps(given), list(shown))
    raise ValueError(f"`{choice.name}` has {_listed(choice)}, got {_shown(given)}; did you mean {hint}?")


def _plain(option: Any) -> Any:
    """An option as JSON has it: numbers, text, truth values and lists; anything else as Python writes it."""
    match option:
        case bool() | np.bool_():
            return bool(option)
        case Integral():
            return int(option)
        case Real():
            return float(option)
        case str():
            return option
        case tuple():
            return [_plain(part) for part in option]
        case _:
            return repr(option)


def _near(name: str, names: Sequence[str]) -> str:
    return difflib.get_close_matches(name, names, 1, 0.0)[0]


def _listed(choice: Choice) -> str:
    return "the options " + ", ".join(json.dumps(_plain(option)) for option in choice.options)


def _shown(value: Any) -> str:
    """A value as JSON, no longer than a line."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

"""Networks and settings as canonical JSON: one text for what is equal, whose SHA-256 stands for it in a key."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hardware.export.shapes import check_layer
from search_spaces import layers as known
from search_spaces.layers import Layer

_WITH_DEFAULTS = ("inputs", "stride", "class_token")  # written even at their defaults, as in the first stores
_LAYERS: Mapping[str, type[Layer]] = {
    name: each for name, each in vars(known).items() if isinstance(each, type) and issubclass(each, Layer)
}


def layers_json(layers: Sequence[Layer]) -> str:
    """The layers as canonical JSON.

    Parameter paths are left out: what a network costs does not hang on what its weights are called. An attribute that
    came after the first stores is written only where it is not at its default, so that their rows are found again.
    """
    return canonical_json([{"layer": type(layer).__name__, **_counting(layer)} for layer in layers])


def layers_from_json(text: str) -> tuple[Layer, ...]:
    """The layers that `layers_json` wrote; their paths are empty.

    Raises:
      ValueError: in one line, when it is no such text, or the layers don't fit together.
    """
    try:
        said = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"layers are read from JSON, and this is none ({error})") from None
    if not isinstance(said, list) or not said or not all(isinstance(each, dict) for each in said):
        raise ValueError(f"layers are a JSON list of objects, got {text[:60]}")
    layers = tuple(_layer(position, each) for position, each in enumerate(said))
    for position, layer in enumerate(layers):
        if not all(0 <= source < position for source in layer.inputs):
            raise ValueError(f"layer {position}: `inputs` must be positions before its own, got {layer.inputs}")
        try:
            check_layer(layers, position)
        except (ArithmeticError, LookupError) as error:  # a patch of 0 px; an input that is missing
            raise ValueError(f"layer {position} ({type(layer).__name__}) makes no sense: {error}") from None
    return layers


def network_key(layers: Sequence[Layer]) -> str:
    """SHA-256 of the layers written as canonical JSON."""
    return digest(layers_json(layers))


def protocol_key(settings: Mapping[str, Any]) -> str:
    """SHA-256 of a protocol's settings written as canonical JSON."""
    return digest(canonical_json(dict(settings)))


def canonical_json(value: Any) -> str:
    """JSON without blanks, its keys sorted.

    Raises:
      ValueError: when there is a NaN or an infinity in it, which JSON has not.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _counting(layer: Layer) -> dict[str, Any]:
    """The fields that make a layer another one."""
    values = {field: getattr(layer, field.name) for field in dataclasses.fields(layer) if field.name != "path"}
    return {
        field.name: value for field, value in values.items() if field.name in _WITH_DEFAULTS or value != field.default
    }


def _layer(position: int, said: dict[str, Any]) -> Layer:
    kind = _LAYERS.get(str(said.get("layer")))
    if kind is None:
        raise ValueError(f"layer {position}: there is no layer `{said.get('layer')}`; is the file of a newer edgenas?")
    hints, values = _hints(kind), {name: _plain(value) for name, value in said.items() if name != "layer"}
    for name, value in values.items():
        if name not in hints or not _is(value, hints[name]):
            raise ValueError(f"layer {position} ({kind.__name__}): `{name}` cannot be {json.dumps(value)[:60]}")
    for each in dataclasses.fields(kind):
        if each.name not in values and each.default is dataclasses.MISSING:
            raise ValueError(f"layer {position} ({kind.__name__}) lacks `{each.name}`")
    return kind(**values)


@cache
def _hints(kind: type[Layer]) -> dict[str, Any]:
    return get_type_hints(kind)


def _plain(value: Any) -> Any:
    return tuple(_plain(each) for each in value) if isinstance(value, list) else value


def _is(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, as far as the fields of layers need types."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in inner
    if origin is UnionType:
        return any(_is(value, each) for each in inner)
    if origin is tuple:
        kinds = inner[:1] * len(value) if isinstance(value, tuple) and inner[1:] == (...,) else inner
        return (
            isinstance(value, tuple)
            and len(value) == len(kinds)
            and all(_is(each, kind) for each, kind in zip(value, kinds, strict=True))
        )
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint in (bool, NoneType) or not isinstance(value, bool))

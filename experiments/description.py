"""What is said of a network and of the space it is a point of: as lines for people, and as plain values for JSON."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardware.costs.memory import flash_bytes, peak_bytes
from hardware.costs.precision import Precision
from search_spaces.derived.bounds import bounds
from search_spaces.derived.serial import short_hash
from search_spaces.layers import (
    AvgPool,
    Conv,
    Depthwise,
    Layer,
    MaxPool,
    PatchEmbed,
    macs,
    params,
    total_macs,
    total_params,
)
from search_spaces.networks import Point
from search_spaces.space import Choice, Space, largest, options, size, smallest

PRECISIONS: Mapping[str, Precision] = {"float32": "fp32", "int8": "int8"}
COLUMNS = ("inputs", "shape", "path", "in_channels", "kernel", "kernel_width", "stride", "groups", "epsilon")
"""Fields of a layer that have columns of their own, or are of no interest in print."""
LONGEST = 60


@dataclass(frozen=True, kw_only=True)
class Description:
    """A network, and where it comes from.

    Attributes:
      title: what it is called.
      source: where it was published, or the class of its space.
      layers: its graph.
      space: that it is a point of; None for a network without choices.
      arch: its row.
      whole: whether the space was asked for too.
    """

    title: str
    source: str
    layers: tuple[Layer, ...]
    space: Space | None
    arch: tuple[int, ...]
    whole: bool = False


def layers_of(point: Point) -> tuple[Layer, ...]:
    """A point's graph."""
    return point.space.layers(np.array(point.arch, np.int32))


def summary(point: Point) -> dict[str, Any]:
    """Of a named network: its input, parameters, MACs and source."""
    layers = layers_of(point)
    counts = {"params": total_params(layers), "macs": total_macs(layers)}
    return {"input": list(layers[0].shape), **counts, "source": point.source}


def said(description: Description, *, layers: bool) -> dict[str, Any]:
    """All of it as plain values. Counts are exact; what is modelled says so."""
    memory: dict[str, Any] = {"kind": "modelled"}
    for name, cost in (("peak_bytes", peak_bytes), ("flash_bytes", flash_bytes)):
        try:
            memory[name] = {name: cost(description.layers, precision) for name, precision in PRECISIONS.items()}
        except ValueError as error:  # a layer that no kernel is known for
            memory[name], memory["reason"] = None, str(error)
    found: dict[str, Any] = {
        "name": description.title,
        "source": description.source,
        "input": list(description.layers[0].shape),
        "params": total_params(description.layers),
        "macs": total_macs(description.layers),
        "memory": memory,
    }
    if description.space is not None:
        found |= {
            "arch": list(description.arch),
            "hash": short_hash(description.space, description.arch),
            "options": {name: _plain(option) for name, option in options(description.space, description.arch).items()},
        }
        if description.whole:
            found["space"] = _space(description.space)
    if layers:
        found["layers"] = [_layer(i, layer) for i, layer in enumerate(description.layers)]
    return found


def show(description: Description, *, layers: bool) -> None:
    """Prints it: the space if it was asked for, the layers, and the totals last."""
    content = said(description, layers=False)
    if "space" in content:
        _show_space(description, content["space"])
    if layers:
        _print_table(
            ("", "layer", "path", "from", "output", "kernel", "stride", "groups", "", "parameters", "MACs"),
            [_line(i, layer) for i, layer in enumerate(description.layers)],
            right=(0, 9, 10),
        )
        print()
    print(f"{description.title}: {description.source}")
    lines = [
        ("input", "×".join(map(str, content["input"]))),
        ("parameters", f"{content['params']:,}"),
        ("MACs", f"{content['macs']:,}"),
        ("peak memory", _memory(content["memory"], "peak_bytes")),
        ("flash", _memory(content["memory"], "flash_bytes")),
    ]
    if "hash" in content:
        lines += [("architecture", f"{','.join(map(str, content['arch']))}  hash {content['hash']}")]
    for name, text in lines:
        print(f"  {name:<13} {text}")


def show_all(networks: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints a line for each named network."""
    rows = [
        (name, "×".join(map(str, each["input"])), f"{each['params']:,}", f"{each['macs']:,}", _cut(each["source"]))
        for name, each in networks.items()
    ]
    _print_table(("network", "input", "parameters", "MACs", "source"), rows, right=(2, 3))


def _space(space: Space) -> dict[str, Any]:
    """A space's choices, exact size, and how low and high its counts go."""
    return {
        "networks": size(space),
        "choices": [_choice(choice) for choice in space.choices],
        "bounds": {
            name: _bounds(space, name, total) for name, total in (("params", total_params), ("macs", total_macs))
        },
    }


def _choice(choice: Choice) -> dict[str, Any]:
    return {
        "name": choice.name,
        "options": [_plain(option) for option in choice.options],
        "requires": None if choice.requires is None else list(choice.requires),
        "static": choice.static,
    }


def _bounds(space: Space, name: str, total: Any) -> dict[str, Any]:
    """Exact where the cost adds up over the choices; else those of the first and of the last options, which say so."""
    try:
        found = bounds(space, name)
    except ValueError:
        low, high = (int(total(space.layers(end(space)))) for end in (smallest, largest))
        return {"lowest": low, "highest": high, "exact": False}
    return {"lowest": int(found.lowest.value), "highest": int(found.highest.value), "exact": found.exact}


def _show_space(description: Description, space: Mapping[str, Any]) -> None:
    options_of = {choice["name"]: choice["options"] for choice in space["choices"]}
    rows = []
    for choice in space["choices"]:
        needs = ""
        if choice["requires"] is not None:
            name, index = choice["requires"]
            needs = f"{name} from {options_of[name][index]}"
        values = _cut(" ".join(map(str, choice["options"])))
        rows.append((choice["name"], values, needs, "static" if choice["static"] else ""))
    if rows:
        _print_table(("choice", "options", "has an effect with", ""), rows)
        print()
    count = space["networks"]
    print(f"{description.source}: {count:,} network{'s' if count != 1 else ''}")
    for name, word in (("params", "parameters"), ("macs", "MACs")):
        each = space["bounds"][name]
        how = "" if each["exact"] else "  (of all first and all last options)"
        print(f"  {word:<13} {each['lowest']:,} to {each['highest']:,}{how}")
    print()


def _layer(index: int, layer: Layer) -> dict[str, Any]:
    fields = {each.name: getattr(layer, each.name) for each in dataclasses.fields(layer)}
    return {"index": index, "layer": type(layer).__name__, **fields, "params": params(layer), "macs": macs(layer)}


def _line(index: int, layer: Layer) -> tuple[str, ...]:
    """A layer's line in the table; `from` is left empty where it reads the layer above it."""
    sources = "" if layer.inputs == (index - 1,) else " ".join(map(str, layer.inputs))
    kernel = stride = groups = ""
    if isinstance(layer, Conv | Depthwise | AvgPool | MaxPool):
        rows = layer.kernel
        columns = layer.kernel_width or rows if isinstance(layer, Conv) else rows
        kernel, stride = f"{rows}×{columns}", str(layer.stride)
    if isinstance(layer, PatchEmbed):
        kernel, stride = f"{layer.patch}×{layer.patch}", str(layer.patch)
    if isinstance(layer, Conv | Depthwise):
        groups = str(layer.groups if isinstance(layer, Conv) else layer.shape[-1])
    shape = "×".join(map(str, layer.shape))
    counts = [f"{count:,}" if count else "" for count in (params(layer), macs(layer))]
    kind = type(layer).__name__
    return (str(index), kind, layer.path, sources, shape, kernel, stride, groups, _more(layer), *counts)


def _more(layer: Layer) -> str:
    """What else is special about a layer: fields without a column that are not at their defaults."""
    words = []
    for each in dataclasses.fields(layer):
        value = getattr(layer, each.name)
        if each.name in COLUMNS or each.name == "patch" or value == each.default:
            continue
        if each.name in ("kind", "operation"):
            words.append(str(value))
        elif isinstance(value, bool):
            words.append(each.name.replace("_", " ") if value else f"no {each.name.replace('_', ' ')}")
        else:
            words.append(f"{each.name.replace('_', ' ')} {value}".replace(", ", ","))
    return ", ".join(words)


def _memory(memory: Mapping[str, Any], name: str) -> str:
    if memory[name] is None:
        return f"not modelled: {memory['reason']}"
    return ", ".join(f"{_bytes(value)} {precision}" for precision, value in memory[name].items()) + " (modelled)"


def _bytes(value: int) -> str:
    return f"{value / 1024:,.1f} KiB" if value < 10 * 1024**2 else f"{value / 1024**2:,.1f} MiB"


def _plain(option: Any) -> Any:
    """An option as JSON has it."""
    if isinstance(option, tuple | list):
        return [_plain(each) for each in option]
    return option if isinstance(option, str | int | float | bool | None) else str(option)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Columns under their heads, those of numbers to the right; a column with nothing in it is left out."""
    kept = [i for i in range(len(head)) if any(row[i] for row in rows)]
    widths = {i: max(len(head[i]), *(len(row[i]) for row in rows)) for i in kept}
    for row in (head, *rows):
        cells = [row[i].rjust(widths[i]) if i in right else row[i].ljust(widths[i]) for i in kept]
        print("  ".join(cells).rstrip())

"""`edgenas describe`: what a network or a space is, in print, as JSON and as a drawing; nothing is trained or run."""

import difflib
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.build import build, locate, nearest
from experiments.description import Description, layers_of, said, show, show_all, summary
from experiments.diagram import draw_layers
from experiments.figures import to_png, to_svg
from experiments.files import write
from experiments.space_words import SECTION, composed, options
from search_spaces.derived.enumeration import enumerate_all
from search_spaces.derived.serial import FORMAT, from_json, short_hash
from search_spaces.networks import NAMED, Point
from search_spaces.space import Space, canonical, check_arch, largest, size, smallest

USAGE = """\
edgenas describe                      every named network, with its parameters and MACs
edgenas describe <name>               one of them: its layers, parameters, MACs and memory
edgenas describe search_space=<option> [setting=value ...]
                                      a space: its choices, exact size and bounds, and one of its networks

  setting=value     of the space, as kernels=[3,5] or search_space.kernels=[3,5]; plugins=[<package>] where it is of one
  arch=<...>        of a space: smallest (the default), largest, genes as 0,2,1, a JSON file, or the hash of a network
  image_size=<px>, image_channels=<n>, classes=<n>
                    of a space; with data=<option> those of the data set, else the space's own
  --no-layers       leaves the layers out
  --svg <file>, --png <file>
                    a drawing of the network
  --json            one JSON object as the last line"""

SHAPE = ("image_size", "image_channels", "classes")
SEARCHED = 100_000
"""A hash is looked for among all networks of a space of at most so many."""


@dataclass(kw_only=True)
class _Request:
    """What was asked for."""

    name: str = ""
    arch: str = ""
    shape: dict[str, int] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    layers: bool = True
    as_json: bool = False
    help: bool = False


def describe_command(arguments: Sequence[str]) -> None:
    """Prints, and draws if asked to.

    Args:
      arguments: what stands behind `describe`; `--help` says what may.

    Raises:
      ValueError: when a name, a setting or an architecture is unknown.
      OSError: when a file cannot be read or written.
    """
    request = _request(arguments)
    if request.help:
        print(USAGE)
        return
    if not request.name and not request.overrides:
        everything = {name: summary(make()) for name, make in NAMED.items()}
        show_all(everything)
        if request.as_json:
            print(json.dumps({"networks": [{"name": name, **each} for name, each in everything.items()]}))
        return
    found = _named(request) if request.name else _of_space(request)
    if request.files:
        figure = draw_layers(found.layers, found.title)
        drawn = {"png": to_png(figure), "svg": f"{to_svg(figure, 'network')}\n"}
        for kind, path in request.files.items():
            _write(path, drawn[kind])
    show(found, layers=request.layers)
    for path in request.files.values():
        print(f"drawn in {path}")
    if request.as_json:
        print(json.dumps(said(found, layers=request.layers), allow_nan=False))


def _write(path: Path, content: str | bytes) -> None:
    """Writes a file; where that fails, the error names it, not the temporary one beside it."""
    try:
        write(path, content)
    except OSError as error:
        if error.strerror:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _request(arguments: Sequence[str]) -> _Request:
    request = _Request()
    words = list(arguments)
    while words:
        word = words.pop(0)
        flag, assigned, value = word.partition("=")
        match flag:
            case "--svg" | "--png":
                if not assigned and (not words or words[0].startswith("-")):
                    raise ValueError(f"`{flag}` needs the name of a file: {flag} network.{flag[2:]}")
                request.files[flag[2:]] = Path(value if assigned else words.pop(0))
            case "--json" | "--layers" | "--no-layers" | "--help" | "-h" if not assigned:
                request.as_json |= flag == "--json"
                request.layers = flag == "--layers" or (flag != "--no-layers" and request.layers)
                request.help |= flag in ("--help", "-h")
            case _ if flag.startswith("-"):
                known = ("--json", "--layers", "--no-layers", "--svg", "--png", "--help")
                raise ValueError(f"`describe` has no flag `{word}`{nearest(flag, known)}")
            case "arch" if assigned:
                request.arch = value
            case _ if assigned and flag in SHAPE:
                if not value.isdigit() or int(value) < 1:
                    raise ValueError(f"`{flag}` must be a whole number of at least 1, got `{value}`")
                request.shape[flag] = int(value)
            case _ if assigned:
                request.overrides.append(word)
            case _ if request.name:
                raise ValueError(f"`describe` takes one network at a time, got `{request.name}` and `{word}`")
            case _:
                request.name = word
    rest = [*request.overrides, *request.shape, *(["arch"] if request.arch else [])]
    if request.name and rest:
        raise ValueError(
            f"`{request.name}` is one network: leave `{rest[0]}` out, or name a space with search_space=<option>"
        )
    of_space = any(word.startswith("search_space") for word in request.overrides)
    if not request.name and not of_space and (rest := [*rest, *(f"--{kind}" for kind in request.files)]):
        raise ValueError(f"`{rest[0]}` is of a network or a space: name one, or say search_space=<option>")
    return request


def _named(request: _Request) -> Description:
    """A network by its name."""
    if request.name not in NAMED:
        raise ValueError(f"no network is called `{request.name}`{_hint(request.name)}")
    point: Point = NAMED[request.name]()
    space = point.space if point.space.choices else None
    return Description(title=request.name, source=point.source, layers=layers_of(point), space=space, arch=point.arch)


def _hint(name: str) -> str:
    if name in options():
        return f", but a space is: say search_space={name}"
    close = difflib.get_close_matches(name, [*NAMED, *options()], 1, 0.6)
    if not close:
        return "; `edgenas describe` lists all"
    return f"; did you mean `{close[0] if close[0] in NAMED else f'{SECTION}={close[0]}'}`?"


def _of_space(request: _Request) -> Description:
    """A space and one of its networks."""
    settings, plugins = composed(request.overrides)
    section = settings[SECTION]
    arguments = inspect.signature(locate(section["_target_"], plugins)).parameters
    of_data = any(re.match(r"data[.=]", word) for word in request.overrides)
    wanted = {
        name for name in SHAPE if name in arguments and (of_data or arguments[name].default is inspect.Parameter.empty)
    }
    shape: dict[str, int] = {}
    if wanted - request.shape.keys():
        source = build(settings["data"], plugins)
        shape = {name: getattr(source, name) for name in wanted}
    space: Space = build(section, plugins, **{**shape, **request.shape})
    name = next(
        (word.partition("=")[2] for word in request.overrides if word.startswith("search_space=")),
        section["_target_"].rpartition(".")[2],
    )
    arch = tuple(canonical(space, _architecture(space, request.arch or "smallest")).tolist())
    cls = type(space)
    return Description(
        title=f"{name} {short_hash(space, arch)}" if arch else name,
        source=f"{cls.__module__}.{cls.__qualname__}",
        layers=space.layers(check_arch(space, arch)),
        space=space,
        arch=arch,
        whole=True,
    )


def _architecture(space: Space, text: str) -> Any:
    """The row that `arch=` names."""
    ends: Mapping[str, Callable[[Space], Any]] = {"smallest": smallest, "largest": largest}
    if text in ends:
        return ends[text](space)
    if re.fullmatch(r"\[?\s*\d+(\s*,\s*\d+)*\s*,?\s*\]?", text) and (not Path(text).is_file()) and not _is_hash(text):
        return check_arch(space, [int(gene) for gene in re.findall(r"\d+", text)])
    if _is_hash(text):
        return _by_hash(space, text)
    if not text.endswith(".json") and not Path(text).is_file():
        raise ValueError(
            f"`arch={text}` is no architecture: say smallest, largest, genes as 0,2,1, a JSON file, or a network's hash"
        )
    return _from_file(space, Path(text))


def _is_hash(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{10}", text) is not None


def _by_hash(space: Space, text: str) -> Any:
    networks = size(space)
    if networks > SEARCHED:
        raise ValueError(
            f"a hash is looked for in spaces of at most {SEARCHED:,} networks, and this one has {networks:,};"
            " give the genes or a JSON file"
        )
    for rows in enumerate_all(space):
        for row in rows:
            if short_hash(space, row) == text:
                return row
    raise ValueError(f"no network of this space has the hash `{text}`; was it made with other settings of the space?")


def _from_file(space: Space, path: Path) -> Any:
    """The row in a file: as `derived/serial.py` writes it, as a finished run's `architecture.json`, or a list."""
    text = path.read_text()
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"`{path}` is no JSON ({error}); name another file") from error
    try:
        if isinstance(content, dict) and content.get("format") == FORMAT:
            return from_json(space, text)
        genes = content.get("arch") if isinstance(content, dict) else content
        if not isinstance(genes, list) or any(type(gene) is not int for gene in genes):
            raise ValueError("it has no list of genes")
        return check_arch(space, genes)
    except ValueError as error:
        raise ValueError(f"`{path}` is no architecture of this space: {error}") from error

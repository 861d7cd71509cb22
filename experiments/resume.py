"""Going on with a run, and searching with another run's supernet: which settings come from where."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict

from experiments.files import read_json, write, write_json

OVERRIDES, CONFIG = "overrides.json", "config.yaml"
NOT_KEPT = ("resume", "compile_cache", "distributed")
"""Settings that say how to run, not what: a run may go on with others."""

SUPERNET = ("data", "search_space", "training")
"""Sections that define a trained supernet."""


def prepare_arguments(arguments: Sequence[str]) -> list[str]:
    """Hydra's arguments for what the user typed: `resume=<folder>` runs there, with that run's own settings.

    Raises:
      ValueError: when the folder is not a run's, or other settings are given than it was started with.
    """
    values = {a.partition("=")[0]: a.partition("=")[2] for a in arguments if "=" in a}
    folder = values.get("resume", "").strip("'\"")
    if not folder or folder == "null":
        return list(arguments)
    if any(a in ("-m", "--multirun") for a in arguments):
        raise ValueError("resume=<folder> goes on with one run; name one run of the sweep and leave -m out")
    stored: list[str] = read_json(Path(folder) / OVERRIDES)
    if not isinstance(stored, list) or not all(isinstance(override, str) for override in stored):
        raise ValueError(f"`{Path(folder) / OVERRIDES}` is damaged (no list of settings); start a new run")
    given = [a for a in arguments if not a.startswith("resume=")]
    for override in given:
        if not override.startswith(("-", "hydra.", "distributed.")) and override not in stored:
            started = " ".join(stored) or "no settings"
            raise ValueError(
                f"`{override}` is not what `{folder}` was started with ({started}); leave it out, or start a new run"
            )
    flags = [a for a in given if a.startswith(("-", "distributed."))]
    return [*flags, *stored, f"resume='{folder}'", f"hydra.run.dir='{folder}'"]


def adopt(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The settings with those that define the supernet taken from the run named by `supernet.from`, if any.

    Raises:
      ValueError: when that is not a run, or a setting was given that its supernet was not trained with.
    """
    source = OmegaConf.select(config, "supernet.from")
    if source is None:
        return config
    path = Path(str(source)) / CONFIG
    if not path.exists():
        raise ValueError(f"supernet.from={source} is not the folder of a run: `{path}` is missing")
    try:
        trained = OmegaConf.load(path)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"`{path}` is damaged ({error}); name another run") from error
    if not isinstance(trained, DictConfig) or any(section not in trained for section in SUPERNET):
        raise ValueError(f"`{path}` is damaged (no settings of a run); name another run")
    given = {o.partition("=")[0].lstrip("+~").split("@")[0].split(".")[0] for o in overrides}
    for section in SUPERNET:
        if section in given and config[section] != trained[section]:
            raise ValueError(
                f"`{section}` differs from what the supernet of `{source}` was trained with;"
                " leave it out, or train a new one"
            )
    adopted = config.copy()
    root = OmegaConf.select(trained, "supernet.from") or str(Path(str(source)).absolute())
    with open_dict(adopted):
        adopted.supernet["from"] = root  # that run's own supernet may be another's
        for section in SUPERNET:  # in whole: merged, another option's settings would stay behind
            adopted[section] = trained[section]
    return adopted


def remember(folder: Path, config: dict[str, Any], overrides: Sequence[str]) -> None:
    """Stores the resolved settings and what was typed; a resumed run must find them equal.

    Raises:
      ValueError: when the folder was started with other settings, as after an update that changed a default.
    """
    path = folder / CONFIG
    kept = {name: value for name, value in config.items() if name not in NOT_KEPT}
    text = OmegaConf.to_yaml(OmegaConf.create(kept))
    if path.exists():
        stored = path.read_text()
        if stored != text:
            line = next(
                (b for a, b in zip(stored.splitlines(), text.splitlines(), strict=False) if a != b), "its length"
            )
            raise ValueError(
                f"`{path}` differs from the settings this would run with, first in `{line.strip()}` (edgenas may have"
                " been updated since); start a new run instead"
            )
        return
    write_json(folder / OVERRIDES, [o for o in overrides if not o.startswith("resume=")])
    write(path, text)

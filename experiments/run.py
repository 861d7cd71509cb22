"""The console script `edgenas`: a thin dispatcher around Hydra that turns what users can cause into one clear line."""

import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.resume import prepare_arguments

DEBUG = "EDGENAS_DEBUG"
EXPECTED = (ValueError, OSError, FloatingPointError, HydraException, OmegaConfBaseException)
"""What settings, files and devices can cause; anything else is a fault of ours and keeps its traceback."""

_failed: list[str] = []


@hydra.main(version_base="1.3", config_path="configs", config_name="edgenas")
def _job(config: DictConfig) -> None:
    from experiments.job import run  # JAX and all the rest: not needed for --help or a mistyped option

    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    try:
        run(config, folder, list(settings.overrides.task))
    except EXPECTED as error:  # kept from Hydra, which prints more than a line; and the rest of a sweep goes on
        if os.environ.get(DEBUG):
            raise
        _failed.append(f"{folder}: {_one_line(error)}" if settings.mode == RunMode.MULTIRUN else _one_line(error))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the main job; exits with 0, with 2 after a line that says what to change, with 130 when interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # so that errors arrive here
    try:
        sys.argv = ["edgenas", *prepare_arguments(given)]
        _failed.clear()
        _job()
        for line in _failed:
            print(f"edgenas: error: {line}", file=sys.stderr)
        if _failed:
            sys.exit(2)
    except KeyboardInterrupt:
        print("\nedgenas: stopped; go on with edgenas resume=<the run's folder>", file=sys.stderr)
        sys.exit(130)
    except EXPECTED as error:
        if os.environ.get(DEBUG):
            raise
        print(f"edgenas: error: {_one_line(error)}", file=sys.stderr)
        sys.exit(2)


def _one_line(error: Exception) -> str:
    """The error in one line: the value, the rule, the way out, the nearest name."""
    if isinstance(error, MissingConfigException) and error.options is not None and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"`{group}` has no option `{name}`{_nearest(name, error.options)}"
    if isinstance(error, ConfigCompositionException) and "Could not override '" in str(error):
        name = str(error).split("Could not override '")[1].split("'")[0]
        return f"there is no setting `{name}`{_nearest(name, _settings())}"
    return " ".join(str(error).split()) or type(error).__name__


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, 1, 0.5)
    return f"; did you mean `{close[0]}`?" if close else f"; there are {', '.join(f'`{n}`' for n in sorted(names))}"


def _settings() -> list[str]:
    """Every setting's dotted name."""
    with hydra.initialize_config_module("experiments.configs", version_base="1.3"):
        tree = hydra.compose("edgenas")

    def names(node: DictConfig, prefix: str) -> list[str]:
        found: list[str] = []
        for key in node:
            name = f"{prefix}{key}"
            found.append(name)
            if OmegaConf.is_dict(node._get_node(key)):
                found += names(node._get_node(key), f"{name}.")  # pyright: ignore[reportArgumentType]
        return found

    return names(tree, "")


if __name__ == "__main__":
    main()

"""The console script `edgenas`: a thin dispatcher around Hydra that turns what users can cause into one clear line."""

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.build import nearest
from experiments.files import LOCK, write
from experiments.plugins import named, with_search_path
from experiments.resume import prepare_arguments
from experiments.sweep import ERROR, failures, made_above

DEBUG = "EDGENAS_DEBUG"
EXPECTED = (ValueError, OSError, FloatingPointError, HydraException, OmegaConfBaseException)
"""What settings, files and devices can cause; anything else is a fault of ours and keeps its traceback."""

BEFORE_WORK = {LOCK, "overrides.json", "config.yaml", "environment.json", "seconds.json"}
"""Files that a run writes before it does any work."""

VERBS = {
    "check": "experiments.check.check_command",
    "convert": "experiments.convert.convert_command",
    "describe": "experiments.describe.describe_command",
    "measurements": "experiments.measurements.measurements_command",
    "profile": "experiments.profile.profile_command",
    "targets": "experiments.targets.targets_command",
}
"""What `edgenas <verb> ...` calls, with the words behind the verb; without a verb, the main job runs."""

CHOSEN = {"convert": ["search_space=ofa_mobilenet"]}
"""What a verb sets by itself, unless told otherwise: names are looked for there."""

_failed: list[str] = []


@hydra.main(version_base="1.3", config_path="configs", config_name="edgenas")
def _job(config: DictConfig) -> None:
    from experiments.job import run  # JAX and all the rest: not needed for --help or a mistyped option

    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    new = not folder.exists() or not any(folder.iterdir())
    choices = {group: option for group, option in settings.runtime.choices.items() if not group.startswith("hydra/")}
    try:
        run(config, folder, list(settings.overrides.task), choices)
    except EXPECTED as error:  # kept from Hydra, which prints more than a line; and the rest of a sweep goes on
        if os.environ.get(DEBUG):
            raise
        line = _one_line(error, settings.overrides.task)
        if settings.mode == RunMode.MULTIRUN:  # a launcher may run jobs elsewhere: the sweep finds their failures here
            write(folder / ERROR, f"{line}\n")
        else:
            _failed.append(line)
            if new and not line.startswith("another process"):
                _forget(folder)


def _forget(folder: Path) -> None:
    """Removes the folder of a run that was refused before it did any work, and those that were made to hold it."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= BEFORE_WORK:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        with suppress(OSError):  # what another run has put something into stays
            for parent in made_above(folder):
                parent.rmdir()


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the main job, or what the first word says; exits with 0, with 2 after a line that says what to change.

    With 130 when interrupted; and a verb may have a code of its own.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # so that errors arrive here
    code = 0
    try:
        if given and given[0][:1].isalpha() and "=" not in given[0]:
            _call(given[0], given[1:])
            return
        sys.argv = ["edgenas", *with_search_path(prepare_arguments(given))]
        _failed.clear()
        _job()
        for line in [*_failed, *failures()]:
            print(f"edgenas: error: {line}", file=sys.stderr)
            code = 2
        if code:
            sys.exit(code)
    except KeyboardInterrupt:
        print("\nedgenas: stopped; go on with edgenas resume=<the run's folder>", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever read our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except EXPECTED as error:
        if os.environ.get(DEBUG):
            raise
        known = [*CHOSEN.get("".join(given[:1]), []), *given]
        print(f"edgenas: error: {_one_line(error, known)}", file=sys.stderr)
        sys.exit(2)


def _call(verb: str, words: Sequence[str]) -> None:
    if verb not in VERBS:
        close = nearest(verb, list(VERBS))
        raise ValueError(f"there is no verb `{verb}`, and a setting is written {verb}=<value>{close}")
    module, _, function = VERBS[verb].rpartition(".")
    getattr(importlib.import_module(module), function)(words)  # imports are slow, and only this one is needed


def _one_line(error: BaseException, given: Sequence[str]) -> str:
    """The error in one line: the value, the rule, the way out, the nearest name."""
    if isinstance(error, MissingConfigException) and error.options is not None and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"`{group}` has no option `{name}`{nearest(name, error.options)}"
    if isinstance(error, ConfigCompositionException) and "Could not override '" in str(error):
        name = str(error).split("Could not override '")[1].split("'")[0]
        return f"there is no setting `{name}`{_nearest_setting(name, given)}"
    if isinstance(error, OSError) and error.filename:
        return f"`{error.filename}` cannot be used ({error.strerror}); name another file or folder"
    if not str(error) and error.__cause__ is not None:
        return _one_line(error.__cause__, given)
    return " ".join(str(error).split()) or type(error).__name__


def _nearest_setting(name: str, given: Sequence[str]) -> str:
    """What stands in the section that a name is meant to be in, as the groups were chosen."""
    groups = {path.name for path in (Path(__file__).parent / "configs").iterdir() if path.is_dir()}
    chosen = [each for each in given if each.partition("=")[0] in groups and "," not in each]
    plugins = [f"plugins=[{','.join(found)}]"] if (found := named(given)) else []
    with hydra.initialize_config_module("experiments.configs", version_base="1.3"):
        tree = hydra.compose("edgenas", with_search_path([*chosen, *plugins]))
    section, _, key = name.rpartition(".")
    node = OmegaConf.select(tree, section) if section else tree
    if OmegaConf.is_dict(node):
        return nearest(key, [str(each) for each in node if each != "_target_"], f"{section}." if section else "")
    # The section itself is mistyped: it is among those that have such a setting, or else any.
    sections = {str(each): tree._get_node(each) for each in tree}
    having = [f"{each}.{key}" for each, inner in sections.items() if OmegaConf.is_dict(inner) and key in inner]  # pyright: ignore[reportOperatorIssue]
    return nearest(name, having or list(sections))


if __name__ == "__main__":
    main()

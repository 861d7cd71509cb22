"""The tutorial's files, taken from its page into a package elsewhere, are checked, searched and gone on with."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml

from search_spaces.layers import Nonlinearity

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "search_spaces" / "TUTORIAL.md").read_text()
TINY = "image_size=12 widths=[[4,8]] depths=[1,2] kernels=[3,5] expansions=[1,2]"
MOST_LINES = 120


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The folder that holds the package, as the page says to lay it out."""
    home = tmp_path_factory.mktemp("tutorial")
    files = {"my_spaces/__init__.py": []}
    for name, code in re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', PAGE, re.DOTALL):
        files.setdefault(name, []).append(code)
    assert sorted(files) == [
        "my_spaces/__init__.py",
        "my_spaces/configs/search_space/farsight.yaml",
        "my_spaces/farsight.py",
    ]
    for name, parts in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("\n\n".join(parts))
    return home


def edgenas(home, *arguments):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    env.pop("EDGENAS_DEBUG", None)
    command = [sys.executable, "-m", "experiments.run", *arguments]
    return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False)


def test_it_is_short(home):
    lines = sum(
        len((home / "my_spaces" / name).read_text().splitlines())
        for name in ("farsight.py", "configs/search_space/farsight.yaml")
    )
    assert lines <= MOST_LINES


def test_the_yaml_lists_the_defaults(home, monkeypatch):
    monkeypatch.syspath_prepend(str(home))
    from my_spaces.farsight import Farsight  # pyright: ignore[reportMissingImports]

    def tuples(value):
        return tuple(map(tuples, value)) if isinstance(value, list) else value

    settings = yaml.safe_load((home / "my_spaces/configs/search_space/farsight.yaml").read_text())
    assert settings.pop("_target_") == "my_spaces.farsight.Farsight"
    assert set(settings) | {"image_size", "image_channels", "classes"} == set(Farsight.__dataclass_fields__)
    assert {name: tuples(value) for name, value in settings.items()} == {
        name: getattr(Farsight(), name) for name in settings
    }


def test_the_activations_that_can_be_exported_are_all_there_are():
    (listed,) = re.findall(r"activations \((.*?)\)", PAGE, re.DOTALL)
    assert tuple(re.findall(r"`(\w+)`", listed)) == get_args(Nonlinearity)


@pytest.mark.slow  # all contracts, in a process of its own
def test_it_keeps_all_contracts(home):
    (line,) = re.findall(r"```sh\n(edgenas check .*?)\n```", PAGE, re.DOTALL)
    assert line.split(" ", 3)[3] == TINY
    done = edgenas(home, *shlex.split(line)[1:], "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["broken"], summary["not_applicable"]) == (0, 0)
    assert summary["holds"] == len(summary["contracts"]) > 15
    # 2 widths; a block has 2 kernels, far or not, 2 expansions: 8 ways; 1 or 2 blocks: 8 + 8 * 8
    assert summary["networks"] == 2 * (8 + 8 * 8)


@pytest.mark.slow  # the main job, in processes of their own
def test_it_is_searched_by_the_unchanged_main_job_and_gone_on_with(home, tmp_path):
    assert "edgenas plugins=[my_spaces] search_space=farsight\n" in PAGE
    folder = tmp_path / "run"
    tiny = [f"search_space.{each}" for each in TINY.split()[1:]]
    done = edgenas(
        home, "plugins=[my_spaces]", "search_space=farsight", *tiny, *budget(tmp_path), f"hydra.run.dir={folder}"
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["space"] == "farsight"
    assert max(network["masked_max_abs_diff"] for network in summary["networks"]) < 1e-4
    assert max(network["onnx_max_abs_diff"] for network in summary["networks"]) < 1e-4
    # As if it had been stopped before its answer: it goes on, with the plug-in it was started with.
    for name in ("summary.json", "report.html"):
        (folder / name).unlink()
    again = edgenas(home, f"resume={folder}")
    assert again.returncode == 0, again.stderr
    networks = json.loads((folder / "summary.json").read_text())["networks"]
    assert [network["arch"] for network in networks] == [network["arch"] for network in summary["networks"]]


def budget(tmp_path):
    return [
        *("data.image_size=12", "data.limit=96", "training.epochs=2", "training.batch=16"),
        *("calibration_images=16", "evaluations=8", "search.pop_size=4", "fine_tune.epochs=1"),
        *("measuring.networks=6", "measuring.folds=2", "target.protocol.rounds=3", "target.protocol.redo=0"),
        *("target.protocol.min_sample_ms=0.05", f"output={tmp_path / 'runs'}", f"compile_cache={tmp_path / 'cache'}"),
    ]

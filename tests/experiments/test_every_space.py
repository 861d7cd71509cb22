"""The main job runs on every space that has a settings file: its example, on a tiny budget."""

import dataclasses
import json
from pathlib import Path

import jax
import pytest
import yaml

from experiments.build import describe
from search_spaces import EXAMPLES

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "experiments" / "configs" / "search_space"
TARGETS = {path.stem: yaml.safe_load(path.read_text())["_target_"] for path in sorted(CONFIGS.glob("*.yaml"))}
NAMES = list({target: name for name, target in TARGETS.items()}.values())  # the last of those of one class
OF_THE_DATA = ("image_size", "image_channels", "classes")
BUDGET = [
    *("data=digits", "data.limit=48", "training=single_path", "training.epochs=1", "training.batch=16"),
    *("calibration_images=8", "evaluations=4", "search.pop_size=2", "fine_tune.epochs=0"),
    *("measuring.networks=6", "measuring.folds=2", "measuring.front=3"),
    *("target.protocol.rounds=2", "target.protocol.warm_up=1", "target.protocol.min_sample_ms=0.05"),
    "target.protocol.redo=0",
    *("target@embedded=raspberry_pi_4", "predictor=macs"),
]


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def written(value):
    """A value as Hydra reads it on the command line."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return "{" + ",".join(f"{key}:{written(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ",".join(map(written, value)) + "]"
        case _:
            return str(value)


def example_of(name):
    """The example of the space that a settings file describes."""
    found = [each for each in EXAMPLES if f"{type(each).__module__}.{type(each).__qualname__}" == TARGETS[name]]
    assert found, f"no example of `{TARGETS[name]}` in search_spaces/examples.py"
    return found[0]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xdist_group(f"a job on {name}")) for name in NAMES]
)
def test_the_main_job_runs_on_it(name, main, tmp_path):
    example = example_of(name)
    settings = [
        f"search_space.{field}={written(value)}"
        for field, value in describe(example).items()
        if field != "_target_" and field not in OF_THE_DATA
    ]
    size = example.image_size if "image_size" in {field.name for field in dataclasses.fields(example)} else 16
    folder = tmp_path / "run"
    where = [f"output={tmp_path}", f"hydra.run.dir={folder}", "compile_cache=null", f"data.image_size={size}"]
    main([f"search_space={name}", *settings, *BUDGET, *where])
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["space"] == name
    assert 1 <= len(summary["networks"]) <= 3  # one network may have several roles
    for network in summary["networks"]:
        assert network["onnx_max_abs_diff"] < 1e-3
        assert network["macs"] > 0

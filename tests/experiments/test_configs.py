"""The settings files: each mirrors its constructor, each builds, and what their headers say can be run."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

import experiments
from experiments.build import build, describe, locate
from experiments.settings import check_settings
from experiments.target_settings import option_tree
from search_spaces.networks import NAMED
from search_spaces.space import Space, size

CONFIGS = Path(experiments.__file__).parent / "configs"
OPTIONS = sorted(CONFIGS.glob("*/*.yaml"))
PASSED = {  # what the job passes beside the settings
    "search": {"space"},
    "search_space": {"image_size", "image_channels", "classes"},
}
AUTOFORMERS = {"autoformer_small": "autoformer_s", "autoformer_base": "autoformer_b"}  # and networks found in them
DEVIATE = {"mobile_micro", *AUTOFORMERS}  # further options of one class: their values are their reason to be
RULES = sorted((CONFIGS / "training").glob("*.yaml"))  # options of one class, which differ in their rule
# Each describes one thing there is: of its constructor's arguments all are listed, and none is the default.
NO_DEFAULTS = {"target", "device", "latency_model"}


def plain(path):
    if path.parent.name in NO_DEFAULTS:
        return option_tree(path.parent.name, path.stem)
    return OmegaConf.to_container(OmegaConf.load(path))


MICRO = build(plain(CONFIGS / "search_space" / "mobile_micro.yaml"), image_size=12, image_channels=1, classes=10)


def named(path):
    return f"{path.parent.name}/{path.stem}"


def parameters_of(path):
    parameters = inspect.signature(locate(OmegaConf.load(path)._target_)).parameters
    return {name: p for name, p in parameters.items() if name not in PASSED.get(path.parent.name, set())}


@pytest.mark.parametrize("path", OPTIONS, ids=named)
def test_an_option_lists_exactly_its_constructors_arguments(path):
    wanted = ["_target_", *parameters_of(path)]
    composed = path.parent.name in NO_DEFAULTS  # parts that come from other groups stand first
    assert (set(plain(path)) == set(wanted)) if composed else (list(plain(path)) == wanted)


@pytest.mark.parametrize(
    "path", [p for p in OPTIONS if p.stem not in DEVIATE and p.parent.name not in NO_DEFAULTS], ids=named
)
def test_an_option_lists_the_constructors_defaults(path):
    for name, parameter in parameters_of(path).items():
        if parameter.default is not inspect.Parameter.empty and not (path in RULES and name == "rule"):
            assert build(plain(path)[name]) == parameter.default, name


@pytest.mark.parametrize("path", RULES, ids=named)
def test_a_training_rule_lists_its_constructors_defaults(path):
    rule = plain(path)["rule"]
    assert build(rule) == build({"_target_": rule["_target_"]})
    assert list(rule) == ["_target_", *inspect.signature(locate(rule["_target_"])).parameters]


@pytest.mark.parametrize("path", [p for p in OPTIONS if p.parent.name in NO_DEFAULTS], ids=named)
def test_the_parts_of_a_target_list_exactly_their_constructors_arguments(path):
    for part in plain(path).values():
        if isinstance(part, dict) and "_target_" in part:
            assert list(part) == ["_target_", *inspect.signature(locate(part["_target_"])).parameters]
    protocol = plain(path).get("protocol")
    if protocol:  # what is measured is measured as the protocol's constructor would have it
        assert protocol == describe(build({"_target_": protocol["_target_"]}))


@pytest.mark.parametrize("path", OPTIONS, ids=named)
def test_an_option_builds(path, tmp_path):
    tree = plain(path)
    if tree.get("root"):
        tree["root"] = str(tmp_path)
    given = {"space": MICRO} if path.parent.name == "search" else {}
    if path.parent.name == "search_space":
        given = {"image_size": 32, "image_channels": 1, "classes": 10}
    built = build(tree, **given)
    assert type(built).__name__ == tree["_target_"].rpartition(".")[2]
    if isinstance(built, Space):
        assert size(built) > 1000


def test_the_micro_space_is_smaller_than_the_other():
    micro, mobile = (plain(CONFIGS / "search_space" / f"{name}.yaml") for name in ("mobile_micro", "mobile"))
    assert max(w for s in micro["stages"] for w in s["widths"]) < max(w for s in mobile["stages"] for w in s["widths"])
    assert micro["head_channels"] < mobile["head_channels"]
    assert list(micro) == list(mobile)


@pytest.mark.parametrize(("option", "network"), AUTOFORMERS.items())
def test_autoformers_networks_are_points_of_the_options(option, network):
    tree = plain(CONFIGS / "search_space" / f"{option}.yaml")
    assert build(tree, image_size=224, image_channels=3, classes=1000) == NAMED[network]().space


def composed(overrides):
    with hydra.initialize_config_module("experiments.configs", version_base="1.3"):
        return hydra.compose("edgenas", overrides)


def commands():
    """Each `edgenas ...` of the headers, and where it stands."""
    for path in [*OPTIONS, CONFIGS / "edgenas.yaml"]:
        for line in path.read_text().splitlines():
            if match := re.match(r"# (?:Run:|  ) +edgenas ([^#]*)", line):
                words = re.split(r" {2,}|\s\(", match[1])[0].split()
                yield pytest.param(words, id=f"{named(path)} {' '.join(words)}")


@pytest.mark.parametrize("overrides", list(commands()))
def test_what_a_header_says_can_be_run(overrides, tmp_path):
    for name in "ab":
        (tmp_path / "train" / name).mkdir(parents=True)
    overrides = [override.replace("<folder>", str(tmp_path)) for override in overrides]
    config = composed(overrides)
    check_settings(OmegaConf.to_container(config, resolve=True))


def test_every_option_says_what_it_is_and_how_to_run_it():
    for path in OPTIONS:
        header = path.read_text().split("_target_")[0]
        assert header.startswith("# "), path
        assert f"{path.parent.name}={path.stem}" in header or path.stem == "none", path


def test_the_defaults_pass_their_own_checks():
    check_settings(OmegaConf.to_container(composed([]), resolve=True))


def test_help_shows_groups_and_three_examples():
    command = [sys.executable, "-m", "experiments.run", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for group in sorted({path.parent.name for path in OPTIONS}):
        options = ", ".join(sorted(path.stem for path in (CONFIGS / group).glob("*.yaml")))
        assert re.search(rf"^ *{group}: {options}$", shown, re.MULTILINE), group
    assert len(re.findall(r"^ +edgenas(?: |$)", shown, re.MULTILINE)) >= 3
    assert "edgenas resume=" in shown


def test_what_a_supernet_was_trained_with_is_taken_in_whole(main, tmp_path):
    from experiments.resume import adopt  # after `main`, which imports it without a warning

    trained = composed(["data=fashion_mnist", "search_space=mobile_micro", "training.epochs=3"])
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(trained, resolve=True))
    overrides = [f"supernet.from={tmp_path}", "target=stm32h743"]
    adopted = OmegaConf.to_container(adopt(composed(overrides), overrides), resolve=True)
    for section in ("data", "search_space", "training"):
        assert (
            adopted[section] == OmegaConf.to_container(trained, resolve=True)[section]
        )  # no `test_fraction` of digits
    assert adopted["target"]["name"] == "stm32h743"
    check_settings(adopted)
    with pytest.raises(ValueError, match="`training` differs from what the supernet"):
        adopt(composed([*overrides, "training.epochs=4"]), [*overrides, "training.epochs=4"])

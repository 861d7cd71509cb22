"""From a tree of plain values to objects and back: what is built, what is refused, and that the message helps."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from experiments.build import build, check_type, describe, locate
from hardware.measuring.protocol import Protocol
from nas.training import Training
from search_spaces.mobile import Mobile, Stage

STAGE = {"_target_": "search_spaces.mobile.Stage", "widths": [8, 16], "depths": [1], "stride": 2}
MOBILE = {"_target_": "search_spaces.mobile.Mobile", "stages": [STAGE], "kernels": [3, 5]}


def refused(tree, *phrases, plugins=()):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the phrases say more
        build(tree, plugins)
    assert type(caught.value) is ValueError
    assert "\n" not in str(caught.value)
    for phrase in phrases:
        assert phrase in str(caught.value)


def test_lists_become_tuples_and_objects_may_nest():
    space = build(MOBILE, image_size=12, image_channels=3, classes=4)
    stage = Stage(widths=(8, 16), depths=(1,), stride=2)
    assert space == Mobile(image_size=12, image_channels=3, classes=4, stages=(stage,), kernels=(3, 5))
    assert build({"a": [1, [2, {"b": STAGE}]]}) == {"a": (1, (2, {"b": stage}))}


def test_what_was_described_is_built_again():
    for settings in (Protocol(rounds=3), Training(epochs=2), build(MOBILE)):
        assert build(describe(settings)) == settings
    assert describe(build(STAGE))["widths"] == [8, 16]


@pytest.mark.parametrize(
    ("target", "phrase"),
    [
        ("os.system", "of package `os`, which is not one of ours; trust it with plugins=[os]"),
        ("subprocess.Popen", "plugins=[subprocess]"),
        ("builtins.eval", "plugins=[builtins]"),
        (
            "nas.training.trainer.partial",
            "`nas.training.trainer.partial` describes no settings",
        ),  # functools', within reach of ours
        ("experiments.files.write", "describes no settings"),  # a function: it would write files
        ("nas.study.Study", "describes no settings"),  # so would this class
        ("experiments.environment.subprocess", "describes no settings"),
        ("search_spaces.mobile.Mobil", "has no `Mobil`; did you mean `Mobile`?"),
        ("search_spaces.nowhere.Mobile", "cannot be imported"),
        ("Mobile", "must name a class"),
        ("", "must name a class"),
        (3, "must name a class"),
        (None, "must name a class"),
    ],
)
def test_only_settings_of_our_own_packages_are_built(target, phrase):
    refused({"_target_": target}, phrase)


def test_a_plugins_classes_are_built_once_it_is_trusted(tmp_path, monkeypatch):
    (tmp_path / "their_spaces.py").write_text(
        "class Tiny:\n    def __init__(self, *, depth: int): self.depth = depth\n"
    )
    (tmp_path / "their_typo.py").write_text("class Tiny(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    tree = {"_target_": "their_spaces.Tiny", "depth": 3}
    refused(tree, "plugins=[their_spaces]")
    assert "their_spaces" not in sys.modules  # not even imported
    assert build(tree, ["their_spaces"]).depth == 3
    refused({**tree, "depth": "deep"}, "`depth` must be a whole number, got `deep`", plugins=["their_spaces"])
    refused({"_target_": "their_spaces.os"}, "has no `os`", plugins=["their_spaces"])
    refused({"_target_": "their_typo.Tiny"}, "cannot be imported", plugins=["their_typo"])
    refused({"_target_": "no_such_plugin.Tiny"}, "cannot be imported", plugins=["no_such_plugin"])
    assert locate("their_spaces.Tiny", ["their_spaces"]).__name__ == "Tiny"


def test_unknown_and_missing_settings_are_named():
    refused({**STAGE, "width": [8]}, "has no setting `width`; did you mean `widths`?")
    refused({**STAGE, "zzz": 1}, "has no setting `zzz`; there are `activation`, `depths`")
    refused({"_target_": STAGE["_target_"]}, "missing a required argument: 'widths'")


@pytest.mark.parametrize(
    ("settings", "phrase"),
    [
        ({"epochs": "abc"}, "`nas.training.Training`: `epochs` must be a whole number, got `abc`"),
        ({"epochs": 1.5}, "a whole number, got 1.5"),
        ({"epochs": True}, "a whole number, got True"),
        ({"epochs": None}, "a whole number, got None"),
        ({"epochs": [1]}, "a whole number, got (1,)"),
        ({"learning_rate": "fast"}, "`learning_rate` must be a number, got `fast`"),
        ({"learning_rate": float("nan")}, "a number, got nan"),
        ({"learning_rate": False}, "a number, got False"),
    ],
)
def test_values_of_another_type_are_refused_before_the_constructor_sees_them(settings, phrase):
    refused({"_target_": "nas.training.Training", **settings}, phrase)


def test_types_are_checked_at_any_depth():
    refused({**MOBILE, "stages": 3}, "`stages` must be a list, each a `Stage`, got 3")
    refused({**MOBILE, "stages": [3]}, "each a `Stage`, got (3,)")
    refused({**MOBILE, "stages": [{**STAGE, "widths": [8, "wide"]}]}, "`widths` must be a list, each a whole number")
    refused({**MOBILE, "stages": [{**STAGE, "activation": "swosh"}]}, "`activation` must be one of `relu`, ")
    target = {"_target_": "hardware.target.Target", "name": "x", "precision": "fp32"}
    refused({**target, "device": 3}, "`device` must be a `Device` or null, got 3")
    refused({**target, "runtime": 3}, "`runtime` must be a `Runtime` or null, got 3")
    refused({**target, "name": 3}, "`name` must be text, got 3")


@dataclass(frozen=True)
class Thing:
    x: int


@pytest.mark.parametrize(
    ("value", "hint", "fits"),
    [
        (1, int, True),
        (1, float, True),
        (float("inf"), float, False),
        (1.0, int, False),
        (1, bool, False),
        ("a", str | Path, True),
        ("a", Path, True),
        (1, Path, False),
        (None, int | None, True),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        ((), tuple[int, ...], True),
        ((1, 2), tuple[int, ...], True),
        ([1, 2], tuple[int, ...], False),
        (Thing(1), Thing, True),
        (1, Thing, False),
        (object(), Any, True),
    ],
)
def test_annotations_are_read_as_meant(value, hint, fits):
    if fits:
        check_type("`x`", value, hint)
    else:
        with pytest.raises(ValueError, match="`x` must be"):
            check_type("`x`", value, hint)

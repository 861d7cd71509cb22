"""JSON of an architecture says its options by name, comes back, and refuses in one line what does not fit."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from search_spaces.derived.serial import fingerprint, from_json, short_hash, to_json
from search_spaces.nas_bench_201 import NasBench201
from search_spaces.space import Choice, canonical
from search_spaces.vision_transformer import VisionTransformer


@dataclass(frozen=True)
class Toy:
    """Choices without a network."""

    choices: tuple[Choice, ...]

    def supernet(self, key):
        return None

    def layers(self, arch):
        return ()


@dataclass(frozen=True)
class Other(Toy):
    """The same choices in a space of another name."""


CHOICES = (
    Choice(name="resolution", options=(24, 32), static=True),
    Choice(name="depth", options=(1, 2, 3)),
    Choice(name="kernel", options=(3, 5), requires=("depth", 1)),
    Choice(name="ratio", options=(0.5, 1, 2)),
    Choice(name="gate", options=(False, True), requires=("kernel", 1)),
    Choice(name="op", options=("conv", "skip")),
    Choice(name="shape", options=((1, 2), (2, 4))),
)
TOY = Toy(CHOICES)
ARCH = [1, 1, 1, 0, 1, 1, 0]


def changed(**fields):
    return json.dumps({**json.loads(to_json(TOY, ARCH)), **fields})


def options(**fields):
    given = {**json.loads(to_json(TOY, ARCH))["options"], **fields}
    return changed(options={name: value for name, value in given.items() if value != "left out"})


def test_it_is_readable():
    assert json.loads(to_json(TOY, ARCH)) == {
        "format": "edgenas architecture",
        "version": 1,
        "space": "Toy",
        "fingerprint": fingerprint(TOY),
        "options": {
            "resolution": 32,
            "depth": 2,
            "kernel": 5,
            "ratio": 0.5,
            "gate": True,
            "op": "skip",
            "shape": [1, 2],
        },
        "genes": ARCH,
    }


@pytest.mark.parametrize("arch", [ARCH, [0] * 7, [0, 0, 1, 2, 1, 0, 1], [1, 2, 0, 1, 1, 1, 1]])
def test_it_comes_back_canonical(arch):
    row = from_json(TOY, to_json(TOY, arch))
    assert np.array_equal(row, canonical(TOY, np.array(arch)))
    assert row.dtype == np.int32


def test_options_alone_are_enough():
    said = json.loads(to_json(TOY, ARCH))
    del said["genes"]
    assert from_json(TOY, json.dumps(said)).tolist() == ARCH
    assert from_json(TOY, options(gate=False, ratio=2.0, shape=[2, 4]).replace("1, 1, 1, 0, 1, 1, 0", "1, 1, 1, 2, 0, 1, 1")).tolist() == [1, 1, 1, 2, 0, 1, 1]  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is read from JSON, and this is none"),
        (None, r"is read from JSON, and this is none .* not NoneType\); write it with `to_json`"),
        ("{'depth': 2}", "is read from JSON, and this is none"),
        ("[1, 1, 1]", r"is a JSON object, got \[1, 1, 1\]"),
        ("{}", "`format` must be `edgenas architecture`, got null"),
        (changed(version=2), "`version` must be 1, the one this edgenas reads, got 2"),
        (changed(version=True), "`version` must be 1, the one this edgenas reads, got true"),
        (changed(space="Mobile"), 'is of the space "Mobile", not `Toy`'),
        (changed(fingerprint="0" * 16), "is of a `Toy` with other choices"),
        (changed(gens=[1]), "has no field `gens`; did you mean `genes`"),
        (changed(genes=[0] * 7), "`genes` and `options` disagree"),
        (changed(genes=7), "`genes` and `options` disagree"),
        (changed(options=[1]), r"`options` must be an object of choices and their options, got \[1\]"),
        (options(kernel=4), "`kernel` has the options 3, 5, got 4; did you mean 3"),
        (options(kernel=True), "`kernel` has the options 3, 5, got true"),
        (options(gate=1), "`gate` has the options false, true, got 1"),
        (options(op="conf"), '`op` has the options "conv", "skip", got "conf"; did you mean "conv"'),
        (options(op=None), '`op` has the options "conv", "skip", got null'),
        (options(shape=[1, 3]), r"`shape` has the options \[1, 2\], \[2, 4\], got \[1, 3\]; did you mean \[1, 2\]"),
        (options(ratio="left out"), "`options` lacks `ratio`; it has the options 0.5, 1, 2"),
        (options(kernle=3), "this space has no choice `kernle`; did you mean `kernel`"),
        (options(depth=1), "`kernel` has no effect here: it requires `depth` to be 2 or a later option; leave it out"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(text, said):
    with pytest.raises(ValueError, match=said) as raised:
        from_json(TOY, text)
    assert "\n" not in str(raised.value)


def test_another_space_with_equal_choices_is_refused_by_name():
    assert fingerprint(Other(CHOICES)) == fingerprint(TOY)
    with pytest.raises(ValueError, match='is of the space "Toy", not `Other`: read it with its own'):
        from_json(Other(CHOICES), to_json(TOY, ARCH))


@pytest.mark.parametrize(
    "choice",
    [
        Choice(name="resolution", options=(24, 32)),  # no longer static
        Choice(name="size", options=(24, 32), static=True),
        Choice(name="resolution", options=(32, 24), static=True),
        Choice(name="resolution", options=(24, 32, 40), static=True),
        Choice(name="resolution", options=(24.0, 32.0), static=True),
    ],
)
def test_any_change_of_a_choice_changes_the_fingerprint(choice):
    assert fingerprint(Toy((choice, *CHOICES[1:]))) != fingerprint(TOY)


def test_what_wakes_a_choice_is_part_of_the_fingerprint():
    later = Choice(name="kernel", options=(3, 5), requires=("depth", 2))
    assert fingerprint(Toy((*CHOICES[:2], later, *CHOICES[3:]))) != fingerprint(TOY)


def test_equal_networks_have_one_hash():
    assert short_hash(TOY, [0, 0, 1, 0, 1, 0, 0]) == short_hash(TOY, [0] * 7)
    assert short_hash(TOY, [0] * 7) != short_hash(TOY, [1, *[0] * 6])
    assert short_hash(TOY, [0] * 7) != short_hash(Toy(CHOICES[:1]), [0])
    assert len(short_hash(TOY, ARCH)) == 10


def test_hashes_are_the_same_in_every_process():
    # sha256 of the text that says the choices and the row, so no machine can give another; kept here as it was first
    assert short_hash(NasBench201(), [0, 1, 2, 3, 4, 0]) == "8a0e58f58f"
    code = (
        "from search_spaces.nas_bench_201 import NasBench201; from search_spaces.derived.serial import short_hash;"
        "print(short_hash(NasBench201(), [0, 1, 2, 3, 4, 0]))"
    )
    given = {**os.environ, "PYTHONHASHSEED": "7"}
    root = Path(__file__).parents[2]
    told = subprocess.run([sys.executable, "-c", code], cwd=root, env=given, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == short_hash(NasBench201(), [0, 1, 2, 3, 4, 0])


def test_a_real_space_goes_round():
    space = VisionTransformer()
    arch = np.array([2, 1, *[1, 0] * 14], np.int32)
    said = json.loads(to_json(space, arch))
    assert said["options"]["layer13.mlp_ratio"] == 3.5
    assert "layer14.heads" not in said["options"]  # 13 layers
    assert np.array_equal(from_json(space, to_json(space, arch)), canonical(space, arch))

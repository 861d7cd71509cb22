"""`edgenas describe`: what it prints is what is so, and what it cannot describe it refuses in one line."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from experiments.describe import describe_command
from search_spaces.derived.serial import short_hash, to_json
from search_spaces.graph import Graph
from search_spaces.layers import total_params
from search_spaces.mobile import Mobile, Stage
from search_spaces.networks import Point
from search_spaces.space import largest

TINY = Mobile(
    image_size=16, stages=(Stage(widths=(8, 12), depths=(1, 2), stride=2),), kernels=(3, 5), expansions=(2, 3)
)
STAGE = "{_target_: search_spaces.mobile.Stage, widths: [8, 12], depths: [1, 2], stride: 2}"
SETTINGS = ["search_space=mobile", f"search_space.stages=[{STAGE}]", "search_space.kernels=[3,5]"]
SETTINGS += ["search_space.expansions=[2,3]", "image_size=16"]
SPACE = "search_space=nas_bench_201"
GENES = [1, 1, 0, 1, 1, 0]


class Pair:
    """A network without choices."""

    choices = ()

    def supernet(self, key):
        return None

    def layers(self, arch):
        graph = Graph((8, 8, 3))
        x = graph.activation(graph.conv(0, 4, "blocks.0.conv", 3, 2, bias=True), "relu6")
        graph.dense(graph.flatten(x), 10, "blocks.1.classifier")
        return tuple(graph.layers)


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    """Two names, in place of all that there are."""
    named = {
        "pair": lambda: Point(space=Pair(), source="by hand (no. 1)"),
        "tiny_best": lambda: Point(space=TINY, arch=tuple(largest(TINY).tolist()), source="found (no. 2)"),
    }
    monkeypatch.setattr("experiments.describe.NAMED", named)
    return named


@pytest.fixture
def describe(capsys):
    """Gives what is printed, and the JSON object of the last line if there is one."""

    def run(*arguments):
        capsys.readouterr()
        describe_command(arguments)
        out = capsys.readouterr().out
        last = out.rstrip().rpartition("\n")[2]
        return out, json.loads(last) if "--json" in arguments else None

    return run


def test_a_network_by_hand(describe):
    out, said = describe("pair", "--json")
    # 3x3 from 3 to 4 channels with bias: 4 * (27 + 1) = 112; 4 * 4 * 4 = 64 numbers to 10 with bias: 650.
    # MACs: 4 * 4 positions * 4 channels * 27 = 1728, and 640.
    assert (said["params"], said["macs"], said["input"]) == (762, 2368, [8, 8, 3])
    # The image (192 values) and the convolution's output (64) are alive at once.
    assert said["memory"]["peak_bytes"] == {"float32": 4 * 256, "int8": 256}
    # Biases take 4 bytes: 108 + 640 weights, 14 biases.
    assert said["memory"]["flash_bytes"] == {"float32": 4 * 762, "int8": 748 + 4 * 14}
    assert said["memory"]["kind"] == "modelled"
    assert said["source"] == "by hand (no. 1)"
    assert "arch" not in said
    conv, relu6 = said["layers"][1:3]
    assert (conv["layer"], conv["kernel"], conv["stride"], conv["groups"], conv["bias"]) == ("Conv", 3, 2, 1, True)
    assert (conv["path"], conv["shape"], conv["params"], conv["macs"]) == ("blocks.0.conv", [4, 4, 4], 112, 1728)
    assert relu6["kind"] == "relu6"
    lines = out.splitlines()
    assert re.search(r"1 +Conv +blocks.0.conv +4×4×4 +3×3 +2 +1 +bias +112 +1,728$", lines[2])
    assert "  parameters    762" in lines
    assert "  MACs          2,368" in lines
    assert "  peak memory   1.0 KiB float32, 0.2 KiB int8 (modelled)" in lines


def test_a_point_of_a_space_says_which(describe):
    _, said = describe("tiny_best", "--json", "--no-layers")
    arch = largest(TINY)
    assert said["arch"] == arch.tolist()
    assert said["hash"] == short_hash(TINY, arch)
    assert said["options"]["stage1.depth"] == 2
    assert "layers" not in said
    assert "space" not in said


def test_all_names_with_their_counts(describe):
    out, said = describe("--json")
    assert [each["name"] for each in said["networks"]] == ["pair", "tiny_best"]
    assert said["networks"][0] == {
        "name": "pair",
        "input": [8, 8, 3],
        "params": 762,
        "macs": 2368,
        "source": "by hand (no. 1)",
    }
    assert re.search(r"^pair +8×8×3 +762 +2,368  by hand \(no. 1\)$", out, re.MULTILINE)


def test_a_space_is_counted_and_bounded(describe):
    out, said = describe(SPACE, "search_space.cells=1", "search_space.stages=1", "--json", "--no-layers")
    space = said["space"]
    assert space["networks"] == 15_625
    assert [choice["name"] for choice in space["choices"]][:2] == ["edge01", "edge02"]
    assert space["choices"][0] == {
        "name": "edge01",
        "options": ["none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3"],
        "requires": None,
        "static": False,
    }
    # Parameters: stem 27 * 16 + 32, norm 32, classifier 16 * 10 + 10; and six 3x3 convolutions of 9 * 16 * 16 + 32.
    assert space["bounds"]["params"] == {"lowest": 666, "highest": 666 + 6 * 2336, "exact": True}
    # MACs: 32 * 32 positions of 27 * 16, classifier 160; and six times 32 * 32 positions of 9 * 16 * 16.
    assert space["bounds"]["macs"] == {"lowest": 442_528, "highest": 442_528 + 6 * 2_359_296, "exact": True}
    assert "  parameters    666 to 14,682" in out.splitlines()
    assert "search_spaces.nas_bench_201.NasBench201: 15,625 networks" in out
    assert said["arch"] == [0] * 6


def test_settings_shape_a_space(describe):
    _, own = describe(*SETTINGS[:-1], "--json", "--no-layers")
    assert own["input"] == [32, 32, 1]
    _, of_data = describe(*SETTINGS[:-1], "data=cifar10", "--json", "--no-layers")
    assert of_data["input"] == [32, 32, 3]
    out, given = describe(*SETTINGS, "data=cifar10", "classes=7", "arch=largest", "--json")
    assert given["input"] == [16, 16, 3]
    assert given["layers"][-1]["shape"] == [1, 1, 7]
    choices = {choice["name"]: choice for choice in given["space"]["choices"]}
    assert choices["stage1.block1.kernel"]["options"] == [3, 5]
    assert choices["stage1.block2.kernel"]["requires"] == ["stage1.depth", 1]
    assert re.search(r"^stage1.block2.kernel +3 5 +stage1.depth from 2$", out, re.MULTILINE)
    assert given["options"]["stage1.block1.kernel"] == 5
    # 2 widths, and either one block of 2 kernels and 2 expansions or two of them: 2 * (4 + 4 * 4)
    assert given["space"]["networks"] == 40


def test_settings_of_a_space_may_be_bare(describe):
    bare = [word.removeprefix("search_space.") for word in SETTINGS]
    assert describe(*bare, "--json")[1] == describe(*SETTINGS, "--json")[1]


@pytest.mark.parametrize("form", ["genes", "brackets", "hash", "json", "run", "list"])
def test_an_architecture_can_be_named_in_many_ways(describe, tmp_path, form):
    genes = ",".join(map(str, GENES))
    file = tmp_path / "architecture.json"
    contents = {
        "json": to_json(TINY, GENES),
        "run": json.dumps({"version": 1, "arch": GENES, "options": {}}),
        "list": json.dumps(GENES),
    }
    if form in contents:
        file.write_text(contents[form])
    arch = {"genes": genes, "brackets": f"[{genes}]", "hash": short_hash(TINY, GENES)}.get(form, str(file))
    out, said = describe(*SETTINGS, f"arch={arch}", "--json", "--no-layers")
    assert said["arch"] == GENES
    assert said["params"] == total_params(TINY.layers(np.array(GENES)))
    assert f"architecture  {genes}  hash {short_hash(TINY, GENES)}" in out


def test_drawings_are_written(describe, tmp_path):
    svg, png = tmp_path / "made" / "network.svg", tmp_path / "network.png"
    out, said = describe("pair", "--svg", str(svg), f"--png={png}", "--json")
    assert said["name"] == "pair"
    assert f"drawn in {svg}" in out
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    with Image.open(png) as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).min() < 100
    first = svg.read_bytes(), png.read_bytes()
    describe("pair", "--svg", str(svg), "--png", str(png))
    assert (svg.read_bytes(), png.read_bytes()) == first


def test_help(describe):
    assert "search_space=<option>" in describe("--help")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["paiir"], "no network is called `paiir`; did you mean `pair`?"),
        (["zzzzzz"], "no network is called `zzzzzz`; `edgenas describe` lists all"),
        (["nosuch"], "no network is called `nosuch`; `edgenas describe` lists all"),
        (["search_space=mobile", "nosuch=3"], "has no setting `nosuch`; there are `classes`, `expansions`"),
        (["search_space=mobile", "kernel=[3]"], "has no setting `kernel`; did you mean `kernels`?"),
        ([*SETTINGS, "kernels=[3]"], "`kernels` is set twice; leave one of them out"),
        (["mobil"], "no network is called `mobil`; did you mean `search_space=mobile`?"),
        (["mobile"], "`mobile`, but a space is: say search_space=mobile"),
        (["pair", "tiny_best"], "one network at a time, got `pair` and `tiny_best`"),
        (["pair", "arch=0"], "`pair` is one network: leave `arch` out"),
        (["pair", "data=cifar10"], "`pair` is one network: leave `data=cifar10` out"),
        (["--jsn"], "no flag `--jsn`; did you mean `--json`?"),
        (["pair", "--svg"], "`--svg` needs the name of a file: --svg network.svg"),
        (["--svg", "x.svg"], "`--svg` is of a network or a space"),
        (["arch=smallest"], "`arch` is of a network or a space"),
        ([SPACE, "image_size=big"], "`image_size` must be a whole number of at least 1, got `big`"),
        ([SPACE, "image_size=30"], "`image_size` must be a multiple of 4"),
        ([SPACE, "arch=0,0,9,0,0,0"], "its index must be 0 to 4; got 9"),
        ([SPACE, "arch=0,0"], "6 genes"),
        ([SPACE, "arch=biggest"], "`arch=biggest` is no architecture: say smallest"),
        ([*SETTINGS, "arch=0123456789"], "no network of this space has the hash `0123456789`"),
        (["search_space=mobile", "arch=0123456789"], "at most 100,000 networks, and this one has 7,382,583,000"),
    ],
)
def test_what_cannot_be_described_is_refused_in_one_line(describe, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        describe(*arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ('{"options": {}}', "it has no list of genes"),
        ("[0, 1, true]", "it has no list of genes"),
        ("[0, 1]", "6 genes"),
        (to_json(TINY, largest(TINY)), 'of the space "Mobile", not `NasBench201`'),
    ],
)
def test_a_file_of_something_else_is_refused_with_its_name(describe, tmp_path, content, message):
    file = tmp_path / "arch.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        describe(SPACE, f"arch={file}")
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_drawing_that_cannot_be_written_is_named(describe, tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "network.svg"
    with pytest.raises(OSError, match=r"directory|exists") as error:
        describe("pair", "--svg", str(path))
    assert error.value.filename == str(path)


def test_a_drawing_that_cannot_be_written_leaves_the_old_one(describe, tmp_path, monkeypatch):
    old = tmp_path / "old.svg"
    old.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        describe("pair", "--svg", str(old))
    assert old.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["old.svg"]

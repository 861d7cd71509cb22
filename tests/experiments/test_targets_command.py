"""`edgenas targets`: all that there are, how their numbers are come by, and each in full; of plug-ins too."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments.build import build
from experiments.options import names, tree
from experiments.target_settings import header, option_tree, target_files
from experiments.targets import targets_command
from hardware.model.device import FIGURES

BOARD = """
# A board of ours.
# Run:     edgenas target=our_board plugins=[plug_boards]
defaults:
  - /device@device: our_device
  - /latency_model@latency_model: typical_mcu
  - _self_
_target_: hardware.target.Target
name: our_board
precision: int8
threads: 1
runtime: null
board: null
meter: null
protocol: null
sram_bytes: 65536
flash_bytes: ${oc.decode:${oc.env:OUR_FLASH,131072}}
"""
METERED = """
# This machine, with a meter.
_target_: hardware.target.Target
name: metered
precision: fp32
runtime: {_target_: hardware.runtimes.onnx_runtime.OnnxRuntime}
protocol: {_target_: hardware.measuring.protocol.Protocol}
meter: {_target_: hardware.energy.csv_meter.CsvMeter, path: power.csv}
"""
UNTYPED = """
# A value that is none.
_target_: hardware.target.Target
name: flash_tight
precision: int8
sram_bytes: much
"""
BROKEN = """
# No target.
_target_: hardware.target.Target
name: broken
precision: int8
device: {_target_: hardware.model.device.Device, name: nothing}
"""


def built_with(model):
    """`build`, with this object for every latency model."""

    def made(tree, plugins=()):
        keys = tree.keys() if isinstance(tree, dict) else ()
        if "device" in keys:  # the whole target, which would want a model that models
            return None
        return model if "kernel_overhead_s" in keys else build(tree, plugins)

    return made


@pytest.fixture
def targets(capsys):
    """Gives what is printed, and the JSON object of the last line if there is one."""

    def run(*arguments):
        capsys.readouterr()
        targets_command(arguments)
        out = capsys.readouterr().out
        last = out.rstrip().rpartition("\n")[2]
        return out, json.loads(last) if "--json" in arguments else None

    return run


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A package with four targets: one composed by Hydra, one with a meter, two that don't build."""
    device = tree("device", "stm32l4r5") | {"name": "Our device", "core_w": 1e-2}
    content = {
        "__init__.py": "",
        "configs/device/our_device.yaml": json.dumps(device),  # JSON is YAML, and `1e-2` a number to Hydra
        "configs/target/our_board.yaml": BOARD.lstrip(),
        "configs/target/metered.yaml": METERED.lstrip(),
        "configs/target/broken.yaml": BROKEN.lstrip(),
        "configs/target/flash_tight.yaml": UNTYPED.lstrip(),
    }
    for name, text in content.items():
        path = tmp_path / "plug_boards" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "plug_boards", raising=False)  # of another test, from its own folder
    return "plugins=[plug_boards]"


def test_all_targets_are_listed_with_how_their_numbers_are_come_by(targets):
    out, said = targets("--json")
    found = {each["name"]: each for each in said["targets"]}
    assert sorted(found) == names("target")
    for name, each in found.items():
        assert "unusable" not in each, name
        assert any(line.startswith(f"{name} ") for line in out.splitlines())
    assert found["host_cpu"]["latency"]["status"] == "measured here"
    assert found["host_cpu"]["energy"]["status"].startswith("none")
    assert found["ssh_board"]["latency"]["status"] == "measured on a board"
    assert found["stm32h7a3"]["energy"]["status"] == "modelled, power of high confidence"
    assert found["stm32h743"]["limits"] == {"sram_bytes": 512 * 1024, "flash_bytes": 2048 * 1024}
    for each in said["targets"]:
        if each["runtime"] is None:
            assert each["latency"]["status"].startswith(("calibrated", "modelled only")), each["name"]
            assert each["energy"]["status"].startswith("modelled"), each["name"]


def test_each_device_is_a_part_of_a_target():
    parts = [option_tree("target", name)["device"] for name in names("target")]
    used = {part["name"] for part in parts if part is not None}
    assert used == {option_tree("device", name)["name"] for name in names("device")}


def test_published_tables_stand_apart(targets):
    out, said = targets("--json")
    assert [each["name"] for each in said["tables"]] == names("table")
    assert out.index("published tables, quoted") > out.index("zcu102_dpu")
    assert "HELP" in targets("help_fbnet")[0]


def test_one_target_shows_every_figure_with_its_source(targets):
    out, said = targets("stm32l4r5", "--json")
    assert [each["figure"] for each in said["figures"]] == list(FIGURES)
    device = build(option_tree("device", "stm32l4r5"))
    for each in said["figures"]:
        assert each["value"] == getattr(device, each["figure"])
        assert {"source": each["source"], "confidence": each["confidence"]} == device.sources[each["figure"]]
        assert " ".join(each["source"].split()) in out
    assert "Run:     edgenas target=stm32l4r5" in out
    assert "sram_bytes 640 KiB" in out


def test_what_is_measured_here_says_what_this_machine_is(targets, monkeypatch):
    def none():
        raise ValueError("no energy can be read on this machine: nothing is there")

    monkeypatch.setattr("experiments.targets.meter_here", none)
    out, said = targets("host_cpu", "--json")
    assert said["figures"] == []
    assert said["machine"]["processor"] in out
    assert said["machine"]["meter"].startswith("no energy can be read on this machine")


def test_a_calibrated_target_says_its_error_as_its_model_has_it(targets, monkeypatch):
    model = {"median_ape": 0.1234, "kendall": 0.9, "relative_std": 0.2, "rows": 12, "families": 5, "measured_on": "it"}
    monkeypatch.setattr("experiments.target_card.build", built_with(SimpleNamespace(**model)))
    out, said = targets("pixel_4", "--json")
    assert said["latency"] == {"status": "calibrated, median error 12.3%", "model": "SimpleNamespace", **model}
    assert "Kendall's tau 0.900, of 12 networks of 5 families, each family left out" in out


def test_headers_quote_the_error_of_the_model_that_the_target_has(targets):
    for each in targets("--json")[1]["targets"]:
        if each["runtime"] is None and "median_ape" in each["latency"]:
            text = " ".join(header(target_files()[each["name"]]))
            assert f"median error of {each['latency']['median_ape']:.1%}" in text, each["name"]
            assert f"tau {each['latency']['kendall']:.3f}, of {each['latency']['rows']} published" in text, each["name"]


def test_targets_of_a_plugin(targets, plugin, monkeypatch):
    out, said = targets(plugin, "--json")
    found = {each["name"]: each for each in said["targets"]}
    assert found["our_board"]["device"] == "Our device"
    assert found["our_board"]["limits"] == {"sram_bytes": 65536, "flash_bytes": 131072}
    assert found["metered"]["energy"] == {"status": "measured", "meter": "external meter, power.csv"}
    assert "missing a required argument" in found["broken"]["unusable"]
    assert "broken.yaml is unusable" in out
    assert "`flash_tight`: `sram_bytes` must be a whole number or null, got `much`" in found["flash_tight"]["unusable"]
    monkeypatch.setenv("OUR_FLASH", "1000")
    assert targets(plugin, "our_board", "--json")[1]["limits"]["flash_bytes"] == 1000
    assert "A board of ours." in targets(plugin, "our_board")[0]
    with pytest.raises(ValueError, match="missing a required argument"):
        targets(plugin, "broken")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["raspbery_pi_4"], r"there is no target `raspbery_pi_4`; did you mean `raspberry_pi_4`\?"),
        (["help_fbnett"], r"did you mean `help_fbnet`\?"),
        (["host_cpu", "gap9"], "one target at a time, got `host_cpu` and `gap9`"),
        (["--jsn"], r"no flag `--jsn`; did you mean `--json`\?"),
        (["plugin=[a]"], r"no setting `plugin`; did you mean `plugins`\?"),
        (["plugins=[no_such_package]"], "`no_such_package` cannot be imported"),
    ],
)
def test_words_that_cannot_be_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        targets_command(words)


def test_help(targets):
    assert "edgenas targets <name>" in targets("--help")[0]


def test_files_read_directly_say_what_hydra_says():
    for name in ("raspberry_pi_4", "stm32h743", "host_cpu", "gap9"):
        assert option_tree("target", name) == tree("target", name)
    assert set(target_files()) == set(names("target"))


def test_a_file_that_is_no_yaml_is_named(plugin, tmp_path):
    (tmp_path / "plug_boards/configs/target/broken.yaml").write_text("a: [")
    with pytest.raises(ValueError, match=r"broken.yaml` is no YAML: .*line 2"):
        option_tree("target", "broken", ("plug_boards",))


def test_the_list_needs_no_heavy_library():
    code = "import sys; from experiments.targets import targets_command; targets_command([]); "
    code += "print([name for name in ('jax', 'onnx', 'onnxruntime', 'tensorflow') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.endswith("[]\n")

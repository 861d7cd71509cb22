"""Vela's reports are read as Vela means them, and nothing is taken that was not asked for."""

from dataclasses import replace

import pytest

from experiments.build import build
from experiments.options import names, tree
from hardware.export.tflite import to_tflite
from hardware.export.weights import random_images, random_weights
from hardware.measuring.campaign import reference_network
from hardware.model.latency import LatencyModel
from hardware.runtimes import vela as module
from hardware.runtimes.artifact import Artifact
from hardware.runtimes.vela import Vela
from hardware.runtimes.vela_report import read_report
from search_spaces.graph import Graph
from search_spaces.layers import total_macs

LAYERS = reference_network()
U55 = Vela(accelerator="ethos-u55-128", system="Ethos_U55_High_End_Embedded", memory="Shared_Sram")
U85 = Vela(accelerator="ethos-u85-256", system="Ethos_U85_SYS_DRAM_Mid", memory="Dedicated_Sram_384KB")
DEVICE = build(tree("device", "ethos_u55_128"))


def int8(layers):
    content = to_tflite(layers, random_weights(layers), "int8", random_images(layers))
    return Artifact(content=content, format="tflite", precision="int8", input_shape=layers[0].shape)


@pytest.fixture(scope="module")
def artifact():
    return int8(LAYERS)


@pytest.fixture(scope="module")
def report(artifact):
    return U55.report(artifact)


@pytest.fixture(scope="module")
def wide_steps():
    """A network whose second convolution strides by 5, which an Ethos-U55 cannot."""
    graph = Graph((16, 16, 3))
    x = graph.conv(graph.conv(0, 8, "a", 3, bias=True), 8, "b", 3, 5, bias=True)
    graph.dense(graph.global_pool(x), 5, "c")
    return tuple(graph.layers)


def test_its_numbers_hang_together(report):
    assert report.version.startswith("ethos-u-vela 5.")
    assert (report.accelerator, report.system, report.memory) == ("Ethos_U55_128", U55.system, U55.memory)
    assert report.clock_hz == 5e8
    assert report.latency_ms == pytest.approx(report.cycles / 5e8 * 1e3)
    assert report.cycles == sum(operator.cycles for operator in report.operators)
    assert report.macs == sum(operator.macs for operator in report.operators)
    assert report.macs == total_macs(LAYERS) + 8 * 8 * 32  # the last pool is run as a depthwise convolution
    assert report.cycles >= report.macs / 128
    assert report.sram_bytes >= 16 * 16 * 96 + 8 * 8 * 96  # the first depthwise convolution's input and output
    assert report.flash_bytes > 0 == report.dram_bytes
    assert report.notes == report.on_cpu == ()
    assert report.cpu_share == 0


def test_its_costs_are_modelled(report):
    costs = report.costs("my_npu")
    assert costs["latency_ms"].value == report.latency_ms
    assert {cost.kind for cost in costs.values()} == {"modelled"}
    assert {cost.target for cost in costs.values()} == {"my_npu"}


def test_more_multipliers_and_dram_give_other_numbers(artifact, report):
    compiled, other = U85.compile(artifact)
    assert other.clock_hz == 1e9
    assert other.latency_ms < report.latency_ms
    assert other.dram_bytes > 0 == other.flash_bytes
    assert (compiled.format, compiled.input_shape) == ("tflite", (32, 32, 3))
    assert b"ethos-u" in compiled.content  # the custom operator that a board's driver looks for
    assert b"ethos-u" not in artifact.content


def test_operators_left_to_the_cpu_are_named_with_the_reason(wide_steps):
    report = U55.report(int8(wide_steps))
    (left,) = report.on_cpu
    assert (left.operator, left.runs_as, left.cycles) == ("Conv2D", "Passthrough", 0)
    assert left.reason.startswith("Unsupported kernel stride: 5, 5")
    assert report.cpu_share == 1 / 5  # of two convolutions, a sum and a product for the mean, and a dense layer
    assert len(report.notes) == 1


def test_it_is_a_latency_model_that_asks_vela_once(monkeypatch, report):
    assert isinstance(U55, LatencyModel)
    asked = []
    monkeypatch.setattr(Vela, "report", lambda vela, artifact: asked.append(vela) or report)
    module._report.cache_clear()
    assert [U55.latency_ms(DEVICE, LAYERS, "int8", 1) for _ in range(2)] == [report.latency_ms] * 2
    assert asked == [U55]
    U55.latency_ms(DEVICE, list(LAYERS), "int8")
    assert replace(U55, cpu_operators=True).latency_ms(DEVICE, LAYERS, "int8") == report.latency_ms
    assert len(asked) == 2  # another setting is another model
    module._report.cache_clear()


def test_a_latency_without_the_cpus_part_must_be_asked_for(wide_steps):
    with pytest.raises(ValueError, match=r"leaves 1 of 5 operators to the CPU, .* first Conv2D .*stride: 5.*`cpu_oper"):
        U55.latency_ms(DEVICE, wide_steps, "int8")
    assert replace(U55, cpu_operators=True).latency_ms(DEVICE, wide_steps, "int8") > 0


def test_a_device_of_another_clock_or_precision_is_refused():
    with pytest.raises(ValueError, match=r"has a clock of 5e\+08 Hz, device `Ethos-U55-128` one of 4e\+08"):
        U55.latency_ms(replace(DEVICE, clock_hz=4e8), LAYERS, "int8")
    with pytest.raises(ValueError, match="none for `fp32`"):
        U55.latency_ms(DEVICE, LAYERS, "fp32")


def test_settings_that_vela_would_replace_in_silence_are_refused(artifact, tmp_path):
    with pytest.raises(ValueError, match=r"`system` must be an Ethos_U55_\.\.\., as `accelerator` is ethos-u55-128"):
        replace(U55, system="Ethos_U65_High_End")
    with pytest.raises(ValueError, match=r"has no `Ethos_U55_High_End`; there are .*`Ethos_U55_High_End_Embedded`"):
        replace(U55, system="Ethos_U55_High_End").report(artifact)
    with pytest.raises(ValueError, match=r"has no `Shared_Ram`; there are .*`Shared_Sram`"):
        replace(U55, memory="Shared_Ram").report(artifact)
    with pytest.raises(ValueError, match=r"`config` must be a file.*got `mine.ini`"):
        replace(U55, config="mine.ini").report(artifact)
    (tmp_path / "mine.ini").write_text("nonsense")
    with pytest.raises(ValueError, match=r"mine.ini` is no configuration of Vela"):
        replace(U55, config=str(tmp_path / "mine.ini")).report(artifact)


def test_files_that_vela_cannot_take_are_refused(artifact):
    with pytest.raises(ValueError, match="takes int8 TFLite files, got fp32 onnx"):
        U55.report(replace(artifact, precision="fp32", format="onnx"))
    with pytest.raises(ValueError, match=r"^ethos-u-vela 5\S+ refuses the network: .*TfLite model"):
        U55.report(replace(artifact, content=artifact.content[:3000]))


def test_a_memory_mode_that_does_not_fit_the_system_is_refused(artifact):
    with pytest.raises(ValueError, match=r"refuses the network: .*arena_mem_area"):
        replace(U85, system="Ethos_U85_SYS_Flash_High", memory="Dedicated_Sram").report(artifact)


def test_tables_of_another_form_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"vela 9 wrote other tables than those known here: one \*_summary_\*.csv"):
        read_report(tmp_path, "", "vela 9")
    (tmp_path / "a_summary_b.csv").write_text("experiment,network\ndefault,a\n")
    (tmp_path / "a_per-layer.csv").write_text("Name\n")
    with pytest.raises(ValueError, match="'sram_memory_used'"):
        read_report(tmp_path, "", "vela 9")


@pytest.mark.parametrize("name", [name for name in names("latency_model") if name.startswith("vela_")])
def test_the_settings_name_systems_that_there_are_with_the_devices_clock(name, artifact):
    vela, device = build(tree("latency_model", name)), build(tree("device", name.replace("vela", "ethos")))
    assert vela.report(artifact).clock_hz == device.clock_hz

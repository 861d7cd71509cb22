"""Facts of devices: all of them sourced, equal to the tables they were taken from, and refused where they can't be."""

import csv
import dataclasses
import re
from statistics import median

import pytest

from experiments.build import build
from experiments.options import names
from experiments.target_settings import option_tree
from hardware.model.device import FIGURES, Device

DEVICES = {name: build(option_tree("device", name)) for name in names("device")}
HEARSAY = re.compile(r"remembered|assumed|unverified|no measurement found")

# Rows of devices.csv. Of processors of phones its peaks are one large core's.
ROWS = {
    "coral_edge_tpu": "Coral Edge TPU",
    "intel_ncs2": "Intel NCS2",
    "jetson_nano": "Jetson Nano",
    "jetson_tx2": "Jetson TX2",
    "jetson_xavier_nx": "Jetson Xavier NX",
    "jetson_agx_xavier": "Jetson AGX Xavier",
    "jetson_orin_nano": "Jetson Orin Nano",
    "jetson_agx_orin": "Jetson AGX Orin",
    "raspberry_pi_4": "Raspberry Pi 4",
    "raspberry_pi_5": "Raspberry Pi 5",
    "pixel_1": "Google Pixel 1",
    "pixel_2": "Google Pixel 2",
    "pixel_3": "Google Pixel 3",
    "pixel_4": "Google Pixel 4",
    "stm32f746": "STM32F746",
    "stm32h743": "STM32H743",
    "stm32h747": "STM32H747",
    "stm32h7a3": "STM32H7A3",
    "stm32l4r5": "STM32L4R5",
    "stm32u575": "STM32U575",
    "ethos_u55_256": "Ethos-U55",
    "ethos_u65_512": "Ethos-U65",
    "eyeriss": "Eyeriss v1",
}
# The chip's own clock, which the phone does not run at; and a nominal clock, where Vela's configuration has half of it.
OTHER_CLOCKS = {"pixel_3", "ethos_u55_256"}


@pytest.fixture(scope="module")
def rows(data_root):
    with (data_root.parent / "reference" / "devices.csv").open() as file:
        table = list(csv.DictReader(file))
    found = {name: next(row for row in table if row["device"].startswith(start)) for name, start in ROWS.items()}
    assert len({row["device"] for row in found.values()}) == len(found)
    return found


def numbers(text):
    return [float(each) for each in re.findall(r"\d+(?:\.\d+)?", text)]


@pytest.mark.parametrize("name", DEVICES)
def test_every_figure_has_a_source_and_hearsay_is_never_sure(name):
    device = DEVICES[name]
    assert set(device.sources) == set(FIGURES)
    for figure, said in device.sources.items():
        assert len(said["source"]) > 5, figure
        if HEARSAY.search(said["source"]):
            assert said["confidence"] != "high", figure


@pytest.mark.parametrize("name", ROWS)
def test_peaks_are_those_of_the_table(name, rows):
    device, row = DEVICES[name], rows[name]
    columns = {precision: row[f"peak_{precision}_GMACs"] for precision in ("int8", "fp16", "fp32")}
    if name == "eyeriss":  # 16-bit fixed point, which the table has in its last column
        columns = {"fp16": columns["fp32"]}
    clock_hz = 1e9 if name == "ethos_u55_256" else device.clock_hz
    compared = 0
    for precision, text in columns.items():
        if precision in device.macs_per_cycle and text:
            cores = 1 if "per big core" in text else device.cores
            gmacs = device.macs_per_cycle[precision] * clock_hz * cores / 1e9
            low, high = (numbers(text)[0], numbers(text)[1]) if re.match(r"\d+-\d+", text) else numbers(text)[:1] * 2
            assert low * 0.99 <= gmacs <= high * 1.01, precision
            compared += 1
            if cores == device.cores and clock_hz == device.clock_hz:
                assert device.peak_macs_per_s(precision, cores) == pytest.approx(gmacs * 1e9)
    assert compared or name == "jetson_agx_orin"  # the table has no peak of it


@pytest.mark.parametrize("name", sorted(set(ROWS) - OTHER_CLOCKS))
def test_clocks_are_those_of_the_table(name, rows):
    megahertz = numbers(rows[name]["clock_MHz"])[0]
    assert DEVICES[name].clock_hz == pytest.approx(megahertz * 1e6, rel=0.01)


@pytest.mark.parametrize(
    ("name", "system", "version", "submitter"),
    [
        ("stm32h7a3", "NUCLEO_H7A3ZI_Q", "1.2", "STMicroelectronics"),
        ("stm32l4r5", "NUCLEO_L4R5ZI", "1.0", "STMicroelectronics"),
        ("stm32u575", "NUCLEO-U575ZI-Q", "1.0", "STMicroelectronics"),
        ("gap9", "gap9_800_370", "1.0", "greenwaves-technologies"),
    ],
)
def test_the_power_of_microcontrollers_is_what_was_measured(name, system, version, submitter, data_root):
    with (data_root / "mlperf_tiny" / "mlperf_tiny.csv").open() as file:
        of_it = [row for row in csv.DictReader(file) if (row["system"], row["version"]) == (system, version)]
    powers = [
        float(row["energy_uj_per_inf"]) / float(row["latency_ms"]) / 1e3  # uJ / ms = mW
        for row in of_it
        if row["submitter"] == submitter and row["energy_uj_per_inf"] and row["latency_ms"]
    ]
    assert len(powers) >= 3
    device = DEVICES[name]
    assert device.idle_w + device.core_w == pytest.approx(median(powers), rel=0.06)


@pytest.mark.parametrize("name", DEVICES)
def test_energies_of_arithmetic_are_horowitzs(name, data_root):
    with (data_root.parent / "reference" / "energy_table.csv").open() as file:
        table = {row["operation"]: float(row["energy_pJ"]) for row in csv.DictReader(file)}
    macs = {"int8": "int8 MAC (mult 8b + add 32b)", "fp16": "fp16 MAC", "fp32": "fp32 MAC"}
    device = DEVICES[name]
    for precision, energy in device.pj_per_mac.items():
        assert energy == table[macs[precision]]
    kilobytes = [table[f"SRAM/cache read {size} (64-bit access)"] / 8 for size in ("32 KB", "1 MB")]
    assert kilobytes[0] <= device.pj_per_byte_on_chip <= kilobytes[1]
    assert device.pj_per_byte_off_chip == table["DRAM access (64-bit) low"] / 8


def test_names_differ():
    assert len({device.name for device in DEVICES.values()}) == len(DEVICES)


BOARD = DEVICES["raspberry_pi_4"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"macs_per_cycle": {"fp3": 4.0}}, r"`macs_per_cycle` names `fp3`, which is none of .*; did you mean `fp32`\?"),
        ({"pj_per_mac": {"fp32": 4.6}}, "must name the same precisions"),
        ({"macs_per_cycle": {}, "pj_per_mac": {}}, "must name the same precisions"),
        ({"macs_per_cycle": {"fp32": 0.0, "int8": 1.0}}, r"`macs_per_cycle.fp32` must be above 0, got 0.0"),
        ({"idle_w": -0.1}, "`idle_w` must be 0 or more, got -0.1"),
        ({"core_w": float("nan")}, "`core_w` must be above 0, got nan"),
        ({"pj_per_byte_on_chip": -1.0}, "`pj_per_byte_on_chip` must be above 0"),
        ({"bytes_per_s_on_chip": 1e8}, r"of all cores must be at least the main memory's 4.5e\+09, got 4 \* 1e\+08"),
    ],
)
def test_figures_that_cannot_be_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(BOARD, **changed)


def test_sources_must_be_there_for_all_figures_and_for_nothing_else():
    said = {"source": "a page", "confidence": "high"}
    with pytest.raises(
        ValueError, match=r"`sources` names `clock_herz`, which is none of .*; did you mean `clock_hz`\?"
    ):
        dataclasses.replace(BOARD, sources={**BOARD.sources, "clock_herz": said})
    with pytest.raises(
        ValueError, match=r"`sources.cores` must have a `source` and a `confidence` of high, medium, low"
    ):
        dataclasses.replace(BOARD, sources={**BOARD.sources, "cores": {**said, "confidence": "certain"}})


def test_a_figure_that_is_not_known_may_be_left_open():
    unknown = dataclasses.replace(BOARD, bytes_per_s_on_chip=None)
    assert "bytes_per_s_on_chip" not in unknown.figures()
    assert isinstance(unknown, Device)
    assert unknown.figures()["macs_per_cycle.int8"] == 8.0


def test_no_more_cores_and_precisions_than_it_has():
    with pytest.raises(ValueError, match=r"has 4 cores, so `threads` is 1 to that; got 5"):
        BOARD.peak_macs_per_s("fp32", 5)
    with pytest.raises(ValueError, match=r"has figures for \['fp32', 'int8'\], none for `fp16`"):
        BOARD.peak_macs_per_s("fp16")

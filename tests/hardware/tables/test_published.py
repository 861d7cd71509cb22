"""Published times: which network a row means, which rows can be compared, and what is refused."""

import csv
import re

import pytest

from hardware.tables.calibration import enough
from hardware.tables.published import measured, read
from hardware.tables.published_networks import meaning_of
from search_spaces.layers import total_macs

HEADER = (
    "device,chip,runtime,precision,batch,network,input_resolution,latency_ms,latency_min_ms,energy_mJ,power_W,source,"
    "note,confidence"
)


@pytest.fixture(scope="module")
def reference(data_root):
    return data_root.parent / "reference"


@pytest.fixture(scope="module")
def times(reference):
    return measured(read(reference / "device_measurements.csv"))


def table(tmp_path, *rows):
    path = tmp_path / "times.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def row(network="ResNet-18", resolution=224, ms="10", least="", precision="fp32", batch=1, confidence="high"):
    return f"Board,Chip,ncnn 4 thread(s),{precision},{batch},{network},{resolution},{ms},{least},,,,,{confidence}"


def test_networks_that_a_row_means_have_the_published_macs(reference):
    with (reference / "networks.csv").open(newline="") as file:
        counts = [line for line in csv.DictReader(file) if line["macs_exact"]]
    checked = 0
    for line in counts:
        meaning = meaning_of(line["name"], line["input_resolution"], "")
        if meaning is not None and line["name"].startswith(("Mob", "Mna", "mcu", "Squ", "mbv2", "proxyless")):
            assert total_macs(meaning.layers()) == int(line["macs_exact"]), line["name"]
            checked += 1
    assert checked >= 12
    # widths and resolutions that no table of counts has, by the squares that they scale with:
    # MobileNetV1's papers say 41 M at a quarter's width and 224 px, 14 M at 128 px (arXiv:1704.04861, tables 6 and 7)
    for resolution, millions in (("224", 41), ("128", 14)):
        meaning = meaning_of("MobileNetV1 0.25", resolution, "")
        assert meaning is not None
        assert round(total_macs(meaning.layers()) / 1e6) == millions


def test_a_name_that_leaves_the_network_open_means_none():
    for name in (
        "SqueezeNet",
        "SSD MobileNetV1",
        "MnasNet (ProxylessNAS authors reimpl.)",
        "VGG-16 (conv layers only)",
    ):
        assert meaning_of(name, "224", "ncnn") is None
    paper, other = (meaning_of("Inception v1", "224", runtime) for runtime in ("ncnn 1 thread(s)", "TFLite"))
    assert paper is not None
    assert other is not None
    assert (paper.name, other.name) == ("inception_v1@224", "googlenet@224")
    tiny = meaning_of("MLPerf Tiny AD (FC autoencoder)", "640", "")
    assert tiny is not None
    assert tiny.layers()[0].shape == (1, 1, 640)


def test_most_rows_of_the_table_can_be_compared(times):
    groups = enough(times)
    assert len(groups) >= 20
    assert len({group.name for group in groups}) == len(groups)
    assert sum(each.rows for timed in times.values() for each in timed) >= 600
    for name, unit, threads, precisions in (
        ("raspberry_pi_4_cpu_ncnn_4_threads", "cpu", 4, ("fp32", "fp16")),
        ("jetson_nano_gpu_ncnn_vulkan", "gpu", 1, ("fp16",)),
        ("stm32h743_tinyengine_int8", "mcu", 1, ("int8",)),
        ("google_pixel_3_nnapi_tflite_nnapi_int8", "npu", 1, ("int8",)),
    ):
        (group,) = (each for each in groups if each.name == name)
        assert (group.unit, group.threads, group.precisions) == (unit, threads, precisions)
    families = {each.meaning.name: each.meaning.family for timed in times.values() for each in timed}
    assert families["mcunet_mobilenet_v2_0.35@144"] == families["mobilenet_v2_1@224"] == "MobileNetV2"
    assert families["mobilenet_v1_0.25_vww"] == families["mobilenet_v1_1@224"]


def test_repeats_are_one_row_and_the_least_of_a_loop_counts(tmp_path):
    lines = (row(ms="30", least="10"), row(ms="20"), row(ms="90", confidence="low"), row("VGG-16"), row(batch=8))
    ((group, timed),) = measured(read(table(tmp_path, *lines))).items()
    assert group.threads == 4
    assert [(each.meaning.name, each.latency_ms, each.rows, each.confidence) for each in timed] == [
        ("resnet_18@224", 20.0, 3, "low"),  # the median of 10, 20 and 90
        ("vgg_16@224", 10.0, 1, "high"),
    ]


def test_the_error_of_few_networks_or_of_one_family_cannot_be_told(tmp_path):
    resnets = [row(f"ResNet-{depth}", resolution) for depth in (18, 34, 50) for resolution in (224, 256)]
    for lines, told in ((resnets, 0), ([*resnets[:4], row("VGG-16")], 0), ([*resnets[:5], row("VGG-16")], 1)):
        times = measured(read(table(tmp_path, *lines)))
        assert len(times) == 1
        assert len(enough(times)) == told


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (row(ms="0"), "line 2: a time must be above 0"),
        (row(ms="nan"), "line 2: a time must be above 0"),
        (row(ms="fast"), "line 2: not a row of published measurements"),
        (row(confidence="sure"), "a confidence is one of high, medium, low, got `sure`"),
    ],
)
def test_a_damaged_table_is_refused_with_its_line(tmp_path, line, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        read(table(tmp_path, line))
    with pytest.raises(ValueError, match=r"no table of published measurements at .*; name it with `--table <file>`"):
        read(tmp_path / "none.csv")

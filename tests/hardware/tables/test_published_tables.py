"""Each table says what its publication says: anchors printed elsewhere, counts, ranges, and what is no measurement."""

import csv
import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from hardware.tables import (
    EXAMPLES,
    AccelNasBench,
    HatLatency,
    HelpFbNet,
    HelpNasBench201,
    HelpOfa,
    HwNasBench360,
    MlperfTiny,
    SinglePathNasOperators,
    TfNasOperators,
)
from search_spaces.layers import total_macs
from search_spaces.nas_bench_201 import is_connected
from search_spaces.nas_bench_201_table import read_table
from search_spaces.networks import NAMED
from search_spaces.space import canonical, options


def test_every_table_says_how_its_numbers_were_come_by(each):
    assert len(each) > 80
    assert each.source
    assert ((each.std >= 0) | np.isnan(each.std)).all()
    for column in each.columns:
        assert column.device
        assert column.metric.startswith(("latency_ms", "energy_mj", "ms_per_image"))
        assert column.unit == ("mJ" if column.metric == "energy_mj" else "ms")
        row = int(each.distinct(column)[0])
        cost = each.cost(row, column)
        assert cost.kind == ("quoted" if column.origin == "measured" else "modelled")
        assert (cost.value, cost.unit, cost.name) == (each.of(column)[row], column.unit, column.metric)
        assert cost.target == f"{each.name}/{column.name}"
        assert column.origin == "measured" or column.note  # what is no measurement says what it is


def test_their_names_differ(table):
    names = [table(cls).name for cls in EXAMPLES]
    assert len(set(names)) == len(names)


def anchors(data_root, space):
    """The rows that the authors of HW-NAS-Bench printed in their notebook."""
    path = data_root / "hw_nas_bench" / "anchors.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with path.open() as file:
        return [row for row in csv.DictReader(file) if row["space"] == space]


def test_helps_cells_are_those_that_hw_nas_bench_printed(table, data_root):
    help_201 = table(HelpNasBench201)
    rows = [row for row in anchors(data_root, "nasbench201") if row["dataset"] == "cifar10"]
    assert [row["arch"] for row in rows] == ["0", "1", "2"]
    for row in rows:
        for name in ("raspi4", "pixel3", "eyeriss", "fpga"):
            cost = help_201.cost(int(row["arch"]), help_201.column(name))
            assert cost.value == pytest.approx(float(row[f"{name}_latency_ms"]), rel=1e-6)
            assert cost.kind == ("modelled" if name in ("eyeriss", "fpga") else "quoted")


def test_cells_are_looked_up_by_the_published_index(table, data_root):
    help_201, cells = table(HelpNasBench201), data_root / "nas_bench_201" / "nb201_acc.npz"
    if not cells.is_file():
        pytest.skip(f"no {cells}")
    assert np.array_equal(help_201.archs, read_table(cells).archs)
    assert np.array_equal(table(HwNasBench360).archs, help_201.archs)
    for index in (0, 857, 9930, 15_624):
        assert help_201.row_of(help_201.archs[index]) == index
        assert help_201.lookup(help_201.archs[index], "pixel2").value == help_201.of(help_201.column("pixel2"))[index]


def r_squared(table, column):
    """How much of a column a sum of one number for each option explains."""
    genes, values = table.archs[::10], table.of(column)[::10]
    one_hot = np.concatenate([np.eye(len(c.options))[genes[:, i]] for i, c in enumerate(table.space.choices)], 1)
    left = values - one_hot @ np.linalg.lstsq(one_hot, values, rcond=None)[0]
    return 1 - left.var() / values.var()


def test_what_is_marked_as_no_measurement_is_exactly_a_sum(table):
    for cls, measured in ((HelpNasBench201, "gold_6226"), (HelpFbNet, "gold_6240")):
        found = table(cls)
        for column in found.columns:
            if column.origin != "measured":
                assert r_squared(found, column) == pytest.approx(1, abs=1e-4), column.label
        assert r_squared(found, found.column(measured)) < 0.999
    origins = {column.name: column.origin for column in table(HelpFbNet).columns}
    assert [origins[name] for name in ("raspi4", "pixel3", "eyeriss", "fpga")] == ["sum_of_table"] * 4
    assert all(column.origin == "measured" for column in table(HelpOfa).columns)


def test_phones_were_timed_in_whole_milliseconds(table):
    for cls in (HelpNasBench201, HelpFbNet):
        found = table(cls)
        for column in found.columns:
            whole = np.array_equal(found.of(column), np.round(found.of(column)))
            assert (column.resolution == 1.0) == whole, column.label


@pytest.mark.parametrize(("cls", "column"), [(HelpFbNet, "fpga"), (HelpOfa, "2080ti_64")])
def test_architectures_are_read_rightly_as_macs_rank_what_is_bound_by_them(table, cls, column):
    found = table(cls)
    assert len(found) == 5000
    assert np.array_equal(canonical(found.space, found.archs), found.archs)
    some = slice(0, 5000, 400)
    macs = [total_macs(found.space.layers(arch)) for arch in found.archs[some]]
    assert spearmanr(macs, found.of(found.column(column))[some]).statistic > 0.75


def test_genes_are_the_files_words(table, data_root):
    fbnet, ofa = table(HelpFbNet), table(HelpOfa)
    with np.load(data_root / "help_latency" / "fbnet.npz") as arrays:
        words = arrays["op_names"][arrays["ops"][7]].tolist()
    assert list(options(fbnet.space, fbnet.archs[7]).values()) == words
    with np.load(data_root / "help_latency" / "ofa.npz") as arrays:
        kernels, expansions, depths, side = (arrays[name][7] for name in ("ks", "e", "d", "r"))
    said = options(ofa.space, ofa.archs[7])
    assert said["resolution"] == side
    for stage in range(5):
        assert said[f"stage{stage + 1}.depth"] == depths[stage]
        for block in range(depths[stage]):
            name = f"stage{stage + 1}.block{block + 1}"
            assert said[f"{name}.kernel"] == kernels[4 * stage + block]
            assert said[f"{name}.expansion"] == expansions[4 * stage + block]


def test_hw_nas_bench_360_measures_each_class_of_cells_once(table):
    found = table(HwNasBench360)
    assert len(found) == 15_625
    column, energy = (found.column("pi5/litert/cifar100", metric) for metric in ("latency_ms", "energy_mj"))
    rows = found.distinct(column)
    assert len(rows) == 6466  # classes of isomorphic cells, as NAS-Bench-201 publishes
    for group in np.unique(found.groups)[:50]:
        assert len(np.unique(found.of(column)[found.groups == group])) == 1
    # The medians over all cells that the source has, and energy that is nearly latency.
    assert np.median(found.of(column)) == pytest.approx(3.26, abs=0.005)
    assert np.median(found.of(energy)) == pytest.approx(5.18, abs=0.005)
    connected = [row for row in rows if is_connected(found.archs[row])]
    assert np.corrcoef(found.of(column)[connected], found.of(energy)[connected])[0, 1] > 0.98
    assert "core rail" in energy.note
    assert energy.unit == "mJ"
    assert found.cost(0, column).std == pytest.approx(math.sqrt(0.00012341575), rel=1e-4)
    assert found.cost(0, energy).std is None
    assert [c.name for c in found.columns if c.metric == "energy_mj"] == [
        c.name for c in found.columns[:12] if c.name.startswith("pi5")
    ]


def test_hat_has_2000_transformers_of_each_task_and_device(table):
    found = table(HatLatency)
    assert len(found) == 14_000
    assert [len(found.distinct(column)) for column in found.columns] == [2000] * 14
    decoder = found.column("wmt14ende_cpu_raspberrypi/decoder")
    values = found.of(decoder)[found.distinct(decoder)]
    assert values.min() == pytest.approx(2900, abs=50)  # 2.9 to 10.0 s
    assert values.max() == pytest.approx(10_000, abs=50)
    assert set(np.unique(found.keys["set"][found.distinct(decoder)])) == {"wmt14ende_cpu_raspberrypi"}
    assert len(found.keys) == 1 + 10
    with pytest.raises(ValueError, match="has no architectures of a space of ours; its rows are set, encoder_embed"):
        found.archs  # noqa: B018
    with pytest.raises(ValueError, match="has no latency_ms of row 0 on `wmt14ende_cpu_raspberrypi/decoder`"):
        found.cost(0, decoder)


def test_accel_nasbench_has_two_boards_and_time_an_image(table):
    found = table(AccelNasBench)
    assert len(found) == 5138
    assert len(np.unique(found.groups)) == 5125
    for name, low, high in (("zcu102", 1.68, 23.6), ("vck190", 1.61, 12.1)):
        values = found.of(found.column(name))
        assert np.isnan(values).sum() == 2
        assert np.nanmin(values) == pytest.approx(low, abs=0.01)
        assert np.nanmax(values) == pytest.approx(high, abs=0.05)
    # 4536.288 images a second are published of the first network, with a spread of 2.756284
    cost = found.cost(0, found.column("3090", "ms_per_image"))
    assert cost.value == pytest.approx(1000 / 4536.288, rel=1e-6)
    assert cost.std == pytest.approx(cost.value * 2.756284 / 4536.288, rel=1e-4)
    assert 0 in found.find(block0_e=6, block1_e=4, block2_e=6, block6_se=0)


def test_mlperf_tiny_names_the_networks_of_the_closed_division(table):
    found = table(MlperfTiny)
    assert len(found) == 350
    latency, energy = (found.column("submission", metric) for metric in ("latency_ms", "energy_mj"))
    assert np.isfinite(found.of(latency)).sum() == 341
    assert np.isfinite(found.of(energy)).sum() == 153
    # The reference board's published results of round 0.5, in ms and uJ.
    published = {"ic": (704, 29_207), "kws": (181.9, 7374), "vww": (600.6, 24_313), "ad": (10.05, 416)}
    for task, (ms, uj) in published.items():
        (row,) = found.find(version="0.5", submitter="reference", system="Nucleo-L4R5ZI", task=task)
        assert found.cost(int(row), latency).value == pytest.approx(ms, rel=1e-3)
        assert found.cost(int(row), energy).value == pytest.approx(uj / 1000, rel=2e-3)
    networks = set(found.keys["network"].tolist()) - {""}
    assert networks == {"autoencoder", "resnet_8", "ds_cnn", "mobilenet_v1_0.25_vww"}
    assert networks <= set(NAMED)
    assert set(found.keys["division"][found.keys["network"] != ""].tolist()) == {"closed"}


def test_tables_of_operators_keep_their_authors_values(table):
    blocks, layers = table(TfNasOperators), table(SinglePathNasOperators)
    assert len(blocks) == 36_481
    base = blocks.find(op="base")
    assert blocks.cost(int(base[0]), blocks.column("cpu")).value == 9.35647
    found = blocks.find(image_size=112, in_channels=16, out_channels=24, stride=2, kernel=3, mid_channels=1)
    below_0 = blocks.cost(int(found[0]), blocks.column("cpu"))
    assert (below_0.value, below_0.kind) == (-0.50443, "modelled")  # as interpolated by its authors
    assert len(layers) == 22 * 4
    assert layers.cost(int(layers.find(layer=1, choice=3)[0]), layers.column("pixel1")).value == 11.5892

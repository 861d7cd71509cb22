"""What is asked of a table that it does not have, and files that are not the table, are refused in one line."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from hardware.tables import HelpFbNet, HelpNasBench201, HelpOfa, HwNasBench360, MlperfTiny, TfNasOperators
from hardware.tables.table import Column, TableTarget


def refused(match, call, *arguments, kind=ValueError, **more):
    with pytest.raises(kind, match=match) as error:
        call(*arguments, **more)
    assert "\n" not in str(error.value)


def test_unknown_columns_keys_and_architectures_name_what_there_is(table):
    help_201, fbnet, mlperf = table(HelpNasBench201), table(HelpFbNet), table(MlperfTiny)
    refused("has no column `raspi5`; did you mean `raspi4`", help_201.column, "raspi5")
    refused("has no column `zzz`; there are `1080ti_1`, ", help_201.column, "zzz")
    refused("says no `energy_mj` of `raspi4`; it says `latency_ms`", help_201.column, "raspi4", "energy_mj")
    refused("has no key `sistem`; it has version, division", mlperf.find, sistem="x")
    refused(r"has 5,000 networks of its space, and \(0, 0, .* is none of them", fbnet.lookup, [0] * 22, "pixel2")
    refused("has options", help_201.lookup, [5] * 6, "pixel2")


def test_a_column_is_a_target(table):
    help_201 = table(HelpNasBench201)
    target = TableTarget(table=help_201, column=help_201.column("silver_4114"))
    cost = target.cost([4] * 6)
    assert target.name == cost.target == "help_nas_bench_201/silver_4114"
    assert cost == help_201.lookup([4] * 6, "silver_4114")


def test_a_table_that_does_not_fit_together_is_refused(table):
    help_201 = table(HelpNasBench201)
    refused("columns must differ in name or metric", replace, help_201, columns=(help_201.columns[0],) * 25)
    refused("its keys must be the space's choices", replace, help_201, keys={"edge01": help_201.keys["edge01"]})
    assert Column(name="a", device="b", origin="measured").kind == "quoted"


@pytest.fixture
def copy(data_root, tmp_path):
    """Copies a file of the tables to change it."""

    def copies(folder, name):
        source = data_root / folder / name
        if not source.is_file():
            pytest.skip(f"no {source}")
        return shutil.copyfile(source, tmp_path / name)

    return copies


def test_missing_changed_and_damaged_files_are_refused(copy, tmp_path):
    refused(
        "nothing found at .*nb201.npz: HELP's latency table should lie there; .*`table.root=<folder>`.* EDGENAS_DATA",
        HelpNasBench201(root=tmp_path / "none").load,
        kind=FileNotFoundError,
    )
    path = copy("help_latency", "nb201.npz")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-100])
    refused(
        "its SHA-256 is [0-9a-f]{64}, not 502e0a18.*; restore it, or trust it with `table.verify=false`",
        HelpNasBench201(root=tmp_path).load,
    )
    refused("is damaged or of another kind", HelpNasBench201(root=tmp_path, verify=False).load)
    path.write_bytes(b"")
    refused("is damaged or of another kind", HelpNasBench201(root=tmp_path, verify=False).load)


def test_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / "nb201.npz", latency_ms=np.array([{}], object), device=[], ops=[], op_names=[])
    refused("allow_pickle=False", HelpNasBench201(root=tmp_path, verify=False).load)


def test_another_copy_is_read_if_it_is_trusted(copy, tmp_path):
    with np.load(copy("help_latency", "nb201.npz")) as arrays:
        right = dict(arrays)
    changed = {**right, "latency_ms": 2 * right["latency_ms"]}
    changes = [
        ("no array `ops`", {"ops": None}),
        ("`ops` must hold operations of the space, 6 in a row", {"ops": right["ops"] + 3}),
        ("`ops` must hold operations", {"ops": right["ops"][:, :5]}),
        ("`ops` must hold operations", {"op_names": np.array(["none", "what"])}),
        ("`latency_ms` must have a row for each of 15625 networks", {"latency_ms": right["latency_ms"][:5]}),
        ("`device` has `abacus`", {"device": np.array(["abacus"] * 25)}),
    ]
    for message, change in changes:
        kept = {name: array for name, array in (right | change).items() if array is not None}
        np.savez(tmp_path / "nb201.npz", **kept)
        refused(message, HelpNasBench201(root=tmp_path, verify=False).load)
    np.savez(tmp_path / "nb201.npz", **changed)
    found = HelpNasBench201(root=tmp_path, verify=False).load()
    assert np.array_equal(found.values, changed["latency_ms"].astype(np.float64))


def test_once_for_alls_genes_must_be_of_the_space(copy, tmp_path):
    with np.load(copy("help_latency", "ofa.npz")) as arrays:
        right = dict(arrays)
    for name in ("ks", "e", "d", "r"):
        np.savez(tmp_path / "ofa.npz", **(right | {name: right[name] + 1}))
        refused(f"`{name}` must be among", HelpOfa(root=tmp_path, verify=False).load)


def test_the_cells_that_stand_for_others_must_be_there(table, copy, tmp_path, monkeypatch):
    archs = table(HwNasBench360).archs
    monkeypatch.setattr(HwNasBench360, "_archs", lambda self: archs)  # to read them takes seconds
    with np.load(copy("hw_nas_bench_360", "hwnb360.npz")) as arrays:
        right = dict(arrays)
    for name, place, value in (("iso_rep", 7, 99_999), ("iso_rep", 7, -1), ("rep_arch_idx", 0, 15_625)):
        changed = right[name].astype(np.int64)
        changed[place] = value
        np.savez(tmp_path / "hwnb360.npz", **(right | {name: changed}))
        source = HwNasBench360(root=tmp_path, cells="", verify=False)
        refused("`iso_rep` must name a measured cell for each of 15625", source.load)


def test_csv_files_are_read_whole_or_not_at_all(copy, tmp_path):
    path = copy("mlperf_tiny", "mlperf_tiny.csv")
    path.chmod(0o644)
    text = path.read_text()
    for message, changed in [
        ("has no column `energy_uj_per_inf`", text.replace("energy_uj_per_inf", "energy")),
        ("row 351 has not 11 values", text.rstrip().rpartition(",")[0]),
        ("could not convert string to float: 'fast'", text.replace("10.0516", "fast")),
        ("is damaged", ""),
    ]:
        path.write_text(changed)
        refused(message, MlperfTiny(root=tmp_path, verify=False).load)
    for name in ("tfnas_cpu.csv.gz", "tfnas_gpu.csv.gz"):
        copy("op_luts", name)
    path = tmp_path / "tfnas_gpu.csv.gz"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:1000])
    refused("tfnas_gpu.csv.gz is damaged", TfNasOperators(root=tmp_path, verify=False).load)

"""`edgenas measurements`: what was measured is listed, taken elsewhere and brought back."""

import dataclasses

import pytest

from experiments.measurements import measurements_command
from hardware.measuring.campaign import reference_network
from hardware.measuring.layers_json import canonical_json, layers_json, network_key, protocol_key
from hardware.measuring.measurement import Measurement, MeasurementKey
from hardware.measuring.protocol import Protocol
from hardware.measuring.store import MeasurementStore

SETTINGS = Protocol().to_dict()
ROW = Measurement(
    key=MeasurementKey(
        network=network_key(reference_network()),
        target="host_cpu",
        precision="fp32",
        runtime="onnxruntime 1.32.0",
        protocol=protocol_key(SETTINGS),
        host="a processor, 2 cores",
        threads=1,
    ),
    campaign="a",
    value=0.5,
    std=0.01,
    samples=(0.5, 0.6),
    layers=layers_json(reference_network()),
    settings=canonical_json(SETTINGS),
    created="2026-01-02T03:04:05+00:00",
)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The store that is found without saying where, with three rows."""
    monkeypatch.chdir(tmp_path)
    store = MeasurementStore(path=tmp_path / "runs" / "measurements.sqlite")
    pi = dataclasses.replace(ROW.key, target="my_pi", runtime="tflite 2.3")
    store.put([ROW, dataclasses.replace(ROW, campaign="b", created="2026-02-03T00:00:00+00:00")])
    store.put([dataclasses.replace(ROW, key=dataclasses.replace(pi, metric="energy_mj"))])
    return store


def test_what_the_store_holds_is_listed_by_target_and_runtime(store, capsys):
    measurements_command([])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "runs/measurements.sqlite: 3 measurements"
    columns = ["target", "metric", "precision", "runtime", "threads", "networks", "rows", "campaigns"]
    assert lines[2].split()[:8] == columns
    assert lines[3].split()[:6] == ["host_cpu", "latency_ms", "fp32", "onnxruntime", "1.32.0", "1"]
    assert lines[3].split()[6:11] == ["1", "2", "2", "2026-01-02", "2026-02-03"]
    assert lines[3].endswith("a processor, 2 cores")
    assert lines[4].split()[:2] == ["my_pi", "energy_mj"]
    measurements_command(["target=my_pi"])
    assert "host_cpu" not in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_is_exported_can_be_imported_elsewhere_once(store, tmp_path, capsys, ending):
    measurements_command(["export", f"all.{ending}"])
    measurements_command(["import", f"all.{ending}", "store=other.sqlite"])
    measurements_command(["import", f"all.{ending}", "store=other.sqlite"])
    assert capsys.readouterr().out.splitlines() == [
        f"3 measurements written to all.{ending}",
        "3 measurements added to other.sqlite; 0 were there already",
        "0 measurements added to other.sqlite; 3 were there already",
    ]
    assert MeasurementStore(path=tmp_path / "other.sqlite").rows() == store.rows()


def test_one_target_alone_can_be_taken(store, tmp_path, capsys):
    measurements_command(["export", "pi.csv", "target=my_pi"])
    measurements_command(["export", "all.csv"])
    measurements_command(["import", "all.csv", "store=other.sqlite", "target=my_pi"])
    measurements_command(["import", "pi.csv", "store=third.sqlite"])
    rows = store.rows("my_pi")
    assert len(rows) == 1
    assert MeasurementStore(path=tmp_path / "other.sqlite").rows() == rows
    assert MeasurementStore(path=tmp_path / "third.sqlite").rows() == rows


def test_a_target_that_a_table_lacks_is_said_and_no_store_made(store, tmp_path):
    measurements_command(["export", "all.csv"])
    with pytest.raises(ValueError, match=r"all\.csv has nothing of the target `my_py`; did you mean `my_pi`\?"):
        measurements_command(["import", "all.csv", "store=other.sqlite", "target=my_py"])
    assert not (tmp_path / "other.sqlite").exists()


def test_help_says_where_the_store_is(capsys):
    measurements_command(["--help"])
    said = capsys.readouterr().out
    assert "another store than runs/measurements.sqlite" in said
    assert "edgenas measurements export <file>" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["exprt"], "`measurements` cannot `exprt`; did you mean `export`?"),
        (["export"], "`measurements export` needs a file: edgenas measurements export measurements.csv"),
        (["import"], "`measurements import` needs a file"),
        (["export", "a.csv", "b.csv"], "one file is exported or imported at a time, got `b.csv` too"),
        (["export", "a.csv", "sotre=b"], "`measurements` has no setting `sotre`; did you mean `store`?"),
        (["export", "a.csv", "store="], "`store` must not be empty"),
        (["export", "a.txt"], "must end in .csv or .parquet, got `a.txt`"),
        (["export", "a.csv", "target=my_py"], "of the target `my_py`; did you mean `my_pi`?"),
        (
            ["export", "a.csv", "store=none.sqlite"],
            "there is no store of measurements at none.sqlite: measure something",
        ),
        (["target=my_py"], "runs/measurements.sqlite has nothing of the target `my_py`; did you mean `my_pi`?"),
        (["store=none.sqlite"], "there is no store of measurements at none.sqlite"),
        (["import", "none.csv"], "No such file or directory: 'none.csv'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_and_leaves_nothing(store, tmp_path, words, said):
    with pytest.raises((ValueError, OSError)) as refused:
        measurements_command(words)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    assert store.count() == 3


def test_a_table_with_one_bad_row_leaves_the_store_as_it_was(store, tmp_path):
    measurements_command(["export", "all.csv"])
    path = tmp_path / "all.csv"
    path.write_text(path.read_text().replace("my_pi,fp32,energy_mj,mJ", "my_pi,fp32,energy_mj,J"))
    with pytest.raises(ValueError, match=r"all\.csv, row 3: the unit of `energy_mj` must be mJ, got `J`; nothing was"):
        measurements_command(["import", "all.csv", "store=other.sqlite"])
    assert not (tmp_path / "other.sqlite").exists()


def test_the_command_knows_the_verb_and_says_errors_in_one_line(store, main, refused, capsys):
    main(["measurements"])
    assert "3 measurements" in capsys.readouterr().out
    assert "`none.csv` cannot be used" in refused("measurements", "import", "none.csv")
    assert "did you mean `import`?" in refused("measurements", "imprt", "none.csv")

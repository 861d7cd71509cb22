"""Measurements travel as tables: what is written is read again to the last digit, and damage is named in one line."""

import csv
import dataclasses
import hashlib
import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from hardware.measuring.campaign import reference_network
from hardware.measuring.layers_json import canonical_json, layers_json, network_key, protocol_key
from hardware.measuring.measurement import Measurement, MeasurementKey
from hardware.measuring.protocol import Protocol
from hardware.measuring.store import MeasurementStore
from hardware.measuring.transfer import COLUMNS, read_table, write_table

SETTINGS = Protocol().to_dict()
KEY = MeasurementKey(
    network=network_key(reference_network()),
    target="host_cpu",
    precision="fp32",
    runtime="onnxruntime 1.32.0",
    protocol=protocol_key(SETTINGS),
    host='a "quoted" processor, 2 cores, Linux x86_64',
    threads=1,
)
ROW = Measurement(
    key=KEY,
    campaign="first/sample",
    value=0.1 + 0.2,  # 0.30000000000000004: all digits count
    std=1e-17,
    samples=(0.3, 1 / 3, math.pi),
    layers=layers_json(reference_network()),
    settings=canonical_json(SETTINGS),
    conditions={"mhz": [1500.0, 1800.0], "governor": "ondemand", "redone": 2},
    created="2026-01-02T03:04:05+00:00",
)
ROWS = [
    ROW,
    dataclasses.replace(ROW, campaign="zweite Messung, größer", conditions={}),
    dataclasses.replace(ROW, key=dataclasses.replace(KEY, metric="energy_mj"), value=2.5),
    dataclasses.replace(ROW, key=dataclasses.replace(KEY, target="old"), layers=None, settings=None),
]
ENDINGS = ("csv", "parquet")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_store_goes_through_a_table_into_an_empty_one(tmp_path, ending):
    store, other = (MeasurementStore(path=tmp_path / name) for name in ("one.sqlite", "two.sqlite"))
    store.put(ROWS)
    # what one row knows of a network or a protocol, all its rows know
    known = [dataclasses.replace(row, layers=ROW.layers, settings=ROW.settings) for row in ROWS]
    assert store.rows() == known
    path = tmp_path / "tables" / f"all.{ending}"
    write_table(store.rows(), path)
    assert other.put(read_table(path)) == 4
    assert other.rows() == store.rows()
    assert other.put(read_table(path)) == 0  # all are there already
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_rows_of_an_old_store_travel_without_layers(tmp_path, ending):
    path = tmp_path / f"old.{ending}"
    write_table(ROWS[3:], path)
    assert read_table(path) == ROWS[3:]


def test_other_programs_read_the_tables(tmp_path):
    write_table(ROWS, tmp_path / "all.csv")
    write_table(ROWS, tmp_path / "all.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "all.parquet")
    assert table.column("value").to_pylist() == [row.value for row in ROWS]
    assert table.schema.field("samples").type == pa.list_(pa.float64())
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows] == [row.value for row in ROWS]
    assert json.loads(rows[0]["layers"])[0] == {"inputs": [], "layer": "Input", "shape": [32, 32, 3]}
    assert pyarrow.csv.read_csv(tmp_path / "all.csv").column("value").to_pylist() == [row.value for row in ROWS]


def test_columns_may_stand_in_another_order(tmp_path):
    write_table(ROWS, tmp_path / "all.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "all.parquet").select(list(reversed(COLUMNS)))
    pyarrow.parquet.write_table(table, tmp_path / "turned.parquet")
    assert read_table(tmp_path / "turned.parquet") == ROWS
    write_table(ROWS, tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    with (tmp_path / "turned.csv").open("w", newline="") as file:
        csv.writer(file).writerows([row[::-1] for row in rows])
    assert read_table(tmp_path / "turned.csv") == ROWS


def test_a_mark_before_the_first_name_is_passed_over(tmp_path):
    write_table(ROWS, tmp_path / "all.csv")
    content = (tmp_path / "all.csv").read_text(encoding="utf-8")
    (tmp_path / "marked.csv").write_text(content, encoding="utf-8-sig")  # as Excel writes
    assert read_table(tmp_path / "marked.csv") == ROWS


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("value", "fast", "row 2: `value` must be a number, got 'fast'"),
        ("value", "nan", "row 2: a measurement must be above 0 with a std of 0 or more, got nan"),
        ("value", "0", "row 2: a measurement must be above 0"),
        ("std", "-1", "row 2: a measurement must be above 0"),
        ("threads", "0", "row 2: `threads` must be a whole number from 1 to 2147483647, got 0"),
        ("threads", "1.5", "row 2: `threads` must be a whole number from 1 to 2147483647, got 1.5"),
        ("threads", "1" + "0" * 30, "row 2: `threads` must be a whole number from 1 to 2147483647, got 1000"),
        ("samples", "[1, null]", "row 2: `samples` must be a list of numbers"),
        ("samples", "[]", "row 2: `samples` must be a list of numbers"),
        ("samples", "[NaN]", "row 2: the samples of a measurement must be finite"),
        ("samples", "[0.5, 0.0]", "row 2: the samples of a measurement must be finite and above 0, got 0.0"),
        ("samples", f"[{'9' * 400}]", "row 2: `samples` must be a list of numbers"),
        ("precision", "fp33", "row 2: `precision` must be one of fp32, fp16, int8, w4a8, got `fp33`"),
        ("target", "", "row 2: `target` must be a text, got ''"),
        ("metric", "speed", "row 2: a metric must be one of latency_ms, energy_mj, got `speed`"),
        ("unit", "s", "row 2: the unit of `latency_ms` must be ms, got `s`"),
        ("network", "0" * 64, "row 2: `network` must be the SHA-256 of `layers`; one of them was changed"),
        ("layers", "[]", "row 2: `network` must be the SHA-256 of `layers`"),
        ("settings", "{}", "row 2: `protocol` must be the SHA-256 of `settings`"),
        ("conditions", "[]", "row 2: `conditions` must be a JSON object, got []"),
        ("conditions", "", "row 2: `conditions` must be a JSON object, got "),
        ("conditions", '{"mhz":NaN}', "row 2: `conditions` must be a JSON object, got "),
        ("created", "yesterday", "row 2: `created` must be a time, as 2026-01-02T03:04:05+00:00, got `yesterday`"),
    ],
)
def test_a_cell_that_makes_no_sense_is_named_and_nothing_is_taken(tmp_path, column, cell, said):
    path = tmp_path / "all.csv"
    write_table(ROWS, path)
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    rows[2][COLUMNS.index(column)] = cell
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(ValueError, match=r"all\.csv, row 2") as refused:
        read_table(path)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_layers_that_fit_their_key_and_make_no_sense_are_refused(tmp_path):
    text = '[{"layer":"Soup"}]'
    key = dataclasses.replace(KEY, network="0" * 64)
    write_table([dataclasses.replace(ROW, key=key, layers=text)], tmp_path / "all.csv")
    with pytest.raises(ValueError, match="one of them was changed"):
        read_table(tmp_path / "all.csv")
    key = dataclasses.replace(KEY, network=hashlib.sha256(text.encode()).hexdigest())
    write_table([dataclasses.replace(ROW, key=key, layers=text)], tmp_path / "all.csv")
    with pytest.raises(ValueError, match="row 1: layer 0: there is no layer `Soup`"):
        read_table(tmp_path / "all.csv")


def test_damaged_files_are_refused_in_one_line(tmp_path):
    whole = {}
    for ending in ENDINGS:
        write_table(ROWS, tmp_path / f"all.{ending}")
        whole[ending] = (tmp_path / f"all.{ending}").read_bytes()

    def refused(ending, content):
        path = tmp_path / f"spoilt.{ending}"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"spoilt.{ending}") as refused:
            read_table(path)
        assert "\n" not in str(refused.value)
        return str(refused.value)

    assert "is no CSV, or damaged" in refused("csv", whole["parquet"])
    assert "is no Parquet file, or damaged" in refused("parquet", whole["csv"])
    assert "is no Parquet file, or damaged" in refused("parquet", whole["parquet"][:-100])
    assert "columns; the file is damaged" in refused("csv", whole["csv"][: whole["csv"].rindex(b",2026")])
    assert "of its columns `network` is missing" in refused("csv", b"")
    assert "`threads` is missing, `cores` is unknown" in refused("csv", whole["csv"].replace(b"threads", b"cores", 1))
    one = tmp_path / "one.parquet"
    pyarrow.parquet.write_table(pa.table({"value": [1.0]}), one)
    assert "is no table of measurements: of its columns `network` is missing" in refused("parquet", one.read_bytes())
    texts = pyarrow.parquet.read_table(tmp_path / "all.parquet")
    values = texts.set_column(texts.column_names.index("value"), "value", pa.array(["a"] * 4))
    pyarrow.parquet.write_table(values, one)
    assert "row 1: `value` must be a number, got 'a'" in refused("parquet", one.read_bytes())


def test_other_endings_and_places_that_cannot_be_written_leave_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.csv or \.parquet, got `.*all\.xlsx`; did you mean `all\.csv`"):
        write_table(ROWS, tmp_path / "all.xlsx")
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OSError, match=r"folder\.csv"):
        write_table(ROWS, tmp_path / "folder.csv")
    with pytest.raises(ValueError, match=r"got `\.`; did you mean `measurements\.csv`"):
        write_table(ROWS, Path())
    with pytest.raises(OSError, match="No such file") as refused:
        write_table(ROWS, Path("/proc/all.csv"))
    assert refused.value.filename == "/proc/all.csv"  # not the one beside it that is written first
    assert [each.name for each in tmp_path.iterdir()] == ["folder.csv"]

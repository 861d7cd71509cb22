"""Rows survive: other campaigns, other processes, a kill in mid-writing; what is no store is refused in one line."""

import dataclasses
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import hardware
from hardware.measuring.layers_json import network_key, protocol_key
from hardware.measuring.protocol import Protocol
from hardware.measuring.store import Measurement, MeasurementKey, MeasurementStore, host
from search_spaces.graph import Graph

KEY = MeasurementKey(
    network="n0", target="host_cpu", precision="fp32", runtime="onnxruntime 1", protocol="p", host="h", threads=1
)

WRITER = """
import sys
from pathlib import Path
from hardware.measuring.store import Measurement, MeasurementKey, MeasurementStore

store, name, most = MeasurementStore(path=Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
for i in range(most):
    store.put([
        Measurement(
            key=MeasurementKey(network=f"{name}.{i}.{j}", target="t", precision="fp32", runtime="r", protocol="p",
                               host="h", threads=1),
            campaign="a", value=1.0 + j, std=0.0, samples=(1.0,) * 200)
        for j in range(10)
    ])
    print(i + 1, flush=True)
"""


def row(campaign="a", value=1.5, **changes):
    key = dataclasses.replace(KEY, **changes)
    return Measurement(key=key, campaign=campaign, value=value, std=0.1, samples=(1.0, 2.0))


@pytest.fixture
def store(tmp_path):
    return MeasurementStore(path=tmp_path / "deep" / "measurements.sqlite")


def write_elsewhere(store, name, most):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store.path), name, str(most)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(hardware.__file__).parents[1])},
        text=True,
    )


def test_a_row_comes_back(store):
    assert store.get(KEY) is None
    store.put([row(), row(network="n1", value=2.5)])
    found = store.get(KEY)
    assert found is not None
    assert (found.value, found.std, found.samples, found.unit, found.campaign) == (1.5, 0.1, (1.0, 2.0), "ms", "a")
    assert found.created.endswith("+00:00")


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(MeasurementKey)])
def test_every_part_of_the_key_counts(store, field):
    store.put([row()])
    assert (
        store.get(dataclasses.replace(KEY, **{field: {"threads": 2, "metric": "energy_mj"}.get(field, "other")}))
        is None
    )


def test_a_campaign_is_measured_once_and_the_first_one_is_everybodys(store):
    store.put([row("a", 1.0)])
    store.put([row("a", 9.0), row("b", 2.0)])
    assert store.count() == 2
    assert store.get(KEY).value == 1.0
    assert store.get(KEY, "b").value == 2.0
    assert store.get(KEY, "c") is None


def test_all_rows_or_none(store):
    spoilt = row(network="n1")
    object.__setattr__(spoilt, "campaign", None)  # SQLite refuses it, after the first is in
    with pytest.raises(ValueError, match="NOT NULL"):
        store.put([row(), spoilt])
    assert store.count() == 0


@pytest.mark.parametrize(("value", "std"), [(float("nan"), 0.1), (0.0, 0.1), (-1.0, 0.1), (1.0, float("nan"))])
def test_what_is_no_measurement_is_refused(value, std):
    with pytest.raises(ValueError, match="a measurement must be above 0"):
        Measurement(key=KEY, campaign="a", value=value, std=std, samples=(1.0,))


def test_the_networks_key_is_its_layers_without_their_names():
    def layers(kernel=3, path="a"):
        graph = Graph((8, 8, 3))
        graph.conv(0, 4, path, kernel)
        return tuple(graph.layers)

    assert network_key(layers()) == network_key(layers()) == network_key(layers(path="b"))
    assert network_key(layers()) != network_key(layers(kernel=5))
    # sha256 of the JSON written out by hand
    text = (
        '[{"inputs":[],"layer":"Input","shape":[8,8,3]},'
        '{"in_channels":3,"inputs":[0],"kernel":3,"layer":"Conv","shape":[8,8,4],"stride":1}]'
    )
    assert network_key(layers()) == hashlib.sha256(text.encode()).hexdigest()


def test_an_attribute_that_came_later_counts_only_where_it_says_something():
    def key(**more):
        graph = Graph((8, 8, 4))
        graph.dense(graph.avg_pool(graph.depthwise(graph.conv(0, 4, "a", 3, **more), "b", 3), 3), 2, "c")
        return network_key(graph.layers)

    # as the first stores have it: no groups, dilation, bias or padding
    text = (
        '[{"inputs":[],"layer":"Input","shape":[8,8,4]},'
        '{"in_channels":4,"inputs":[0],"kernel":3,"layer":"Conv","shape":[8,8,4],"stride":1},'
        '{"inputs":[1],"kernel":3,"layer":"Depthwise","shape":[8,8,4],"stride":1},'
        '{"inputs":[2],"kernel":3,"layer":"AvgPool","shape":[8,8,4],"stride":1},'
        '{"in_channels":4,"inputs":[3],"layer":"Dense","shape":[8,8,2]}]'
    )
    assert key() == hashlib.sha256(text.encode()).hexdigest()
    others = [{"groups": 2}, {"dilation": 2}, {"bias": True}, {"padding": (2, 0, 1, 1)}, {"kernel_width": 5}]
    assert len({key(), *(key(**more) for more in others)}) == 6


def test_another_protocol_is_another_key():
    keys = {protocol_key(p.to_dict()) for p in (Protocol(), Protocol(), Protocol(rounds=21), Protocol(seed=1))}
    assert len(keys) == 3
    assert "cores" in host()


def test_several_processes_write_at_once(store):
    writers = [write_elsewhere(store, f"w{i}", 15) for i in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    for writer in writers:
        writer.stdout.close()
    assert store.count() == 3 * 15 * 10


def test_a_killed_writer_loses_only_what_it_had_not_put(store):
    writer = write_elsewhere(store, "w", 10**6)
    put = 0
    while put < 30:
        put = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    put = max([put, *(int(line) for line in writer.stdout.read().split("\n") if line.strip())])
    writer.wait(60)
    writer.stdout.close()
    count = store.count()
    assert count % 10 == 0  # a transaction is whole or not there
    assert put * 10 <= count <= put * 10 + 10  # it may have died between the commit and the word
    store.put([row()])
    assert store.get(KEY) is not None


def test_what_is_no_store_is_refused_in_one_line(store, tmp_path):
    store.put([row()])
    spoilt = MeasurementStore(path=tmp_path / "spoilt")
    spoilt.path.write_bytes(b"not a database" * 1000)
    with pytest.raises(ValueError, match=r"spoilt is not a measurement store \(file is not a database\); move it away"):
        spoilt.get(KEY)

    other = MeasurementStore(path=tmp_path / "other")
    db = sqlite3.connect(other.path)
    db.execute("CREATE TABLE poems (line TEXT)")
    db.close()
    with pytest.raises(ValueError, match="some other database"):
        other.get(KEY)

    db = sqlite3.connect(store.path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ValueError, match="version 99, this program reads version 2; give another path"):
        store.get(KEY)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, where nobody can write")
def test_a_place_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    for path in (Path("/proc/nowhere/m.sqlite"), tmp_path):  # a folder that cannot be made; a folder for a file
        with pytest.raises(OSError, match="give a path on a local disk that you may write"):
            MeasurementStore(path=path).put([row()])

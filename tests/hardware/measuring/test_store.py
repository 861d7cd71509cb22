"""Rows survive: other campaigns, other processes, a kill in mid-writing; what is no store is refused in one line."""

import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import hardware
from hardware.measuring.store import Measurement, MeasurementKey, MeasurementStore, host

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


FIRST_SCHEMA = """
CREATE TABLE measurements (
  network TEXT NOT NULL, target TEXT NOT NULL, precision TEXT NOT NULL, runtime TEXT NOT NULL, protocol TEXT NOT NULL,
  host TEXT NOT NULL, threads INTEGER NOT NULL, campaign TEXT NOT NULL,
  unit TEXT NOT NULL, value REAL NOT NULL, std REAL NOT NULL, samples TEXT NOT NULL, created TEXT NOT NULL,
  UNIQUE (network, target, precision, runtime, protocol, host, threads, campaign)
)
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


@pytest.mark.parametrize("sample", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_round_takes_time_but_may_give_energy_back(sample):
    with pytest.raises(ValueError, match=f"samples of a measurement must be finite and above 0, got {sample}"):
        Measurement(key=KEY, campaign="a", value=1.0, std=0.0, samples=(1.0, sample))
    energy = dataclasses.replace(KEY, metric="energy_mj")
    if sample <= 0:  # less than at rest, by chance, where that of rest is subtracted
        assert Measurement(key=energy, campaign="a", value=1.0, std=0.0, samples=(1.0, sample)).samples[1] == sample
    else:
        with pytest.raises(ValueError, match=f"samples of a measurement must be finite, got {sample}"):
            Measurement(key=energy, campaign="a", value=1.0, std=0.0, samples=(1.0, sample))


def test_the_host_says_what_times_hang_on():
    assert "cores" in host()


def test_what_a_row_was_taken_with_comes_back(store):
    rich = dataclasses.replace(
        row(), layers="[1]", settings='{"rounds":3}', conditions={"mhz": [1.0, 2.0], "redone": 1}
    )
    store.put([rich])
    found = store.get(KEY)
    assert (found.layers, found.settings, found.conditions) == ("[1]", '{"rounds":3}', {"mhz": [1.0, 2.0], "redone": 1})
    assert store.rows() == [found]


def test_layers_and_settings_are_kept_once_and_known_for_all_rows_of_the_network(store):
    store.put([row("a")])
    assert store.get(KEY).layers is None
    store.put([dataclasses.replace(row("b"), layers="[1]", settings="{}")])
    store.put([row("c")])
    assert {(each.campaign, each.layers, each.settings) for each in store.rows()} == {
        (campaign, "[1]", "{}") for campaign in "abc"
    }
    db = sqlite3.connect(store.path)
    assert db.execute("SELECT count(*) FROM networks").fetchone() == (1,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


def test_energy_stands_beside_latency(store):
    store.put([row(value=1.5), row(value=0.25, metric="energy_mj")])
    assert (store.get(KEY).value, store.get(KEY).unit) == (1.5, "ms")
    energy = store.get(dataclasses.replace(KEY, metric="energy_mj"))
    assert (energy.value, energy.unit, energy.metric) == (0.25, "mJ", "energy_mj")
    with pytest.raises(ValueError, match="a metric must be one of latency_ms, energy_mj, got `power_w`"):
        dataclasses.replace(KEY, metric="power_w")


def test_rows_are_found_by_target_metric_and_campaign(store):
    store.put([row("a"), row("b"), row("a", target="pi"), row("a", metric="energy_mj")])
    assert len(store.rows()) == 4
    assert [each.campaign for each in store.rows("host_cpu", "latency_ms")] == ["a", "b"]
    assert [each.key.target for each in store.rows("pi")] == ["pi"]
    assert [each.metric for each in store.rows(campaign="a", target="host_cpu")] == ["latency_ms", "energy_mj"]
    first, second, third = store.holdings()
    assert (first.target, first.metric, first.rows) == ("host_cpu", "energy_mj", 1)
    assert (second.metric, second.rows, second.networks, second.campaigns) == ("latency_ms", 2, 1, 2)
    assert (third.target, third.runtime, third.threads) == ("pi", "onnxruntime 1", 1)


def test_put_says_how_many_rows_are_new(store):
    assert store.put([row("a"), row("b")]) == 2
    assert store.put([row("a"), row("c")]) == 1


def first_version(path, networks):
    """A store as the first version wrote it, with a row for each network."""
    path.parent.mkdir(parents=True)
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    with db:
        db.execute(FIRST_SCHEMA)
        db.executemany(
            "INSERT INTO measurements VALUES (?, 'host_cpu', 'fp32', 'onnxruntime 1', 'p', 'h', 1, 'a', 'ms', ?, 0.1,"
            " '[1.0, 2.0]', '2026-01-02T03:04:05+00:00')",
            [(network, 1.0 + i) for i, network in enumerate(networks)],
        )
        db.execute("PRAGMA user_version = 1")
    db.close()


def test_a_store_of_the_first_version_goes_on(store):
    first_version(store.path, ["n0", "n1", "n2"])
    assert store.count() == 3
    assert [each.value for each in store.rows()] == [1.0, 2.0, 3.0]  # in their old order
    found = store.get(KEY)
    assert (found.value, found.std, found.samples, found.unit) == (1.0, 0.1, (1.0, 2.0), "ms")
    assert (found.layers, found.settings, found.conditions) == (None, None, {})
    assert found.created == "2026-01-02T03:04:05+00:00"
    assert store.put([row("a", 9.0), row("b")]) == 1
    assert store.get(KEY).value == 1.0


def test_a_store_that_cannot_be_brought_up_is_left_as_it_was(store, monkeypatch):
    first_version(store.path, ["n0"])
    monkeypatch.setattr("hardware.measuring.schema._TABLES", "CREATE TABLE networks (network TEXT); CREATE nonsense")
    with pytest.raises(OSError, match="syntax error"):
        store.count()
    monkeypatch.undo()
    assert store.get(KEY).value == 1.0


def test_several_processes_bring_a_store_up_at_once(store):
    first_version(store.path, [f"n{i}" for i in range(2000)])
    writers = [write_elsewhere(store, f"w{i}", 2) for i in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    for writer in writers:
        writer.stdout.close()
    assert store.count() == 2000 + 4 * 2 * 10


def test_several_processes_write_at_once_and_some_are_killed(store):
    """What was acknowledged is there, whoever died; the file is whole, and the others never noticed."""
    writers = [write_elsewhere(store, f"w{i}", 25 if i < 3 else 10**6) for i in range(6)]
    doomed = {}
    for writer in writers[3:]:
        put = 0
        while put < 10:
            put = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        doomed[writer] = max([put, *(int(line) for line in writer.stdout.read().split("\n") if line.strip())])
    assert [writer.wait(60) for writer in writers] == [0] * 3 + [-signal.SIGKILL] * 3
    for writer in writers:
        writer.stdout.close()
    rows = store.rows()
    for i, writer in enumerate(writers):
        mine = [each for each in rows if each.key.network.startswith(f"w{i}.")]
        if writer in doomed:
            assert len(mine) % 10 == 0  # a transaction is whole or not there
            assert doomed[writer] * 10 <= len(mine) <= doomed[writer] * 10 + 10  # killed between commit and word
        else:
            assert len(mine) == 25 * 10
    db = sqlite3.connect(store.path)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    assert store.put([row()]) == 1


def test_who_writes_too_long_is_waited_for_and_then_named(store, monkeypatch):
    store.put([row()])
    holder = sqlite3.connect(store.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert store.get(KEY) is not None  # readers don't wait
    monkeypatch.setattr("hardware.measuring.store.WAIT_S", 0.01)
    with pytest.raises(OSError, match=r"another process has been writing for 0\.01 s: wait for it, or end it"):
        store.put([row("b")])
    holder.execute("ROLLBACK")
    holder.close()
    assert store.put([row("b")]) == 1


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

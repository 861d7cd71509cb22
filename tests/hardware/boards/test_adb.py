"""The way to a phone, with a stand-in for adb that works on local folders; no real phone was ever tried."""

from dataclasses import replace

import pytest

from hardware.boards.adb import Adb
from hardware.boards.board import Board
from hardware.boards.transport import Lost, Refused
from hardware.measuring.protocol import Failure, Protocol, Timing

QUICK = Protocol(warm_up=1, rounds=3, runs_per_round=1, min_sample_ms=0.0, redo=0)


def test_files_and_commands_get_there_and_back(adb, tmp_path):
    folder = tmp_path / "phone folder"
    folder.mkdir()
    adb.push({"a": b"\0\r\n", "b": b"b"}, str(folder), 30.0, "mv a c")
    assert adb.pull(f"{folder}/c", 30.0) == b"\0\r\n"
    lines = []
    done = adb.run("echo one; printf two; exit 3", 30.0, lines.append)
    assert (done.code, done.output, lines) == (3, b"one\ntwo", ["one", "two"])
    assert adb.run("false", 30.0).code == 1


def test_what_the_phone_refuses_is_told(adb, tmp_path, monkeypatch):
    with pytest.raises(Refused, match=r"the phone cannot read `/nowhere`: .*No such file or directory"):
        adb.pull("/nowhere", 30.0)
    monkeypatch.setenv("ADB_MODE", "full")
    with pytest.raises(Refused, match=r"cannot write 1 files .* No space left on device"):
        adb.push({"a": b"a"}, str(tmp_path), 30.0)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("absent", r"no devices/emulators found\); `\S*adb devices` must list exactly one as `device`"),
        ("offline", "device offline"),
        ("unauthorized", r"\(error: device unauthorized.\)"),
        ("unplugged", "cannot be reached"),
    ],
)
def test_a_phone_that_is_not_there_is_lost(adb, mode, said, monkeypatch):
    monkeypatch.setenv("ADB_MODE", mode)
    with pytest.raises(Lost, match=said):
        adb.run("echo a few words", 30.0)
    if mode != "unplugged":
        with pytest.raises(Lost):
            adb.push({"a": b""}, "/nowhere", 30.0)


def test_one_phone_of_several_is_named(adb):
    assert replace(adb, serial="phone1").run("true", 30.0).code == 0
    with pytest.raises(Lost, match=r"the phone `phone2` cannot be reached \(error: device 'phone2' not found\)"):
        replace(adb, serial="phone2").run("true", 30.0)
    with pytest.raises(ValueError, match="`serial` must be as `adb devices` shows it, got `-d`"):
        Adb(serial="-d")
    with pytest.raises(ValueError, match=r"`no-adb` cannot be run .*apt-get install adb"):
        Adb(program="no-adb").run("true", 30.0)


def test_a_board_with_python_is_measured_and_may_fill_up_or_go_away(
    adb, quick_python, eavesdropper, artifact, tmp_path, monkeypatch
):
    def unplug(line):
        if plugged == [False] and '"event": "measuring"' in line:
            monkeypatch.setenv("ADB_MODE", "absent")

    plugged = [True]
    way = eavesdropper(adb, unplug)
    far = Board(transport=way, runtime="onnxruntime", python=quick_python, folder=str(tmp_path / "board"))
    batch = {name: artifact(name.encode()) for name in ("ref", "a", "refused")}
    found = far.measure(batch, QUICK, reference="ref")
    assert isinstance(found["ref"], Timing)
    assert isinstance(found["a"], Timing)
    assert "INVALID_PROTOBUF" in found["refused"].reason

    plugged[0] = False
    found = far.measure(batch, QUICK, reference="ref")
    assert "no devices/emulators found" in found["ref"].reason
    assert "no devices/emulators found" in found["a"].reason
    assert "INVALID_PROTOBUF" in found["refused"].reason  # that was known before
    with pytest.raises(ValueError, match="no devices/emulators found"):
        far.measure(batch, QUICK, reference="ref")

    monkeypatch.setenv("ADB_MODE", "full")
    found = far.measure({**batch, "new": artifact(b"new")}, QUICK, reference="ref")
    assert set(found) == {"ref", "a", "refused", "new"}
    assert all(isinstance(each, Failure) and "No space left on device" in each.reason for each in found.values())

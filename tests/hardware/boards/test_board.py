"""Networks are timed on a board behind a real sshd; what goes wrong there is told, and the rest goes on."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

import hardware.boards
from hardware.boards.board import Board
from hardware.boards.transport import Finished, Overdue
from hardware.measuring.bench import Bench
from hardware.measuring.campaign import measure_networks, reference_network
from hardware.measuring.protocol import Failure, Protocol, Timing
from hardware.measuring.store import MeasurementStore
from hardware.runtimes.onnx_runtime import OnnxRuntime
from hardware.target import Target

QUICK = Protocol(warm_up=1, rounds=3, runs_per_round=1, min_sample_ms=0.0, redo=0)


class DamagedRuntime(OnnxRuntime):
    """Writes one network so that no one can read it."""

    def prepare(self, layers, weights, precision="fp32", calibration=None):
        artifact = super().prepare(layers, weights, precision, calibration)
        if layers[1].shape[-1] == 6:
            object.__setattr__(artifact, "content", artifact.content[:-100])
        return artifact


def target(board, protocol=QUICK, runtime=None):
    return Target(name="my_board", precision="fp32", runtime=runtime or OnnxRuntime(), board=board, protocol=protocol)


def board(transport, tmp_path, **settings):
    settings = {"python": sys.executable, "runtime": "onnxruntime", **settings}
    return Board(transport=transport, folder=str(tmp_path / "board"), **settings)


def loaded(lines):
    said = [json.loads(line) for line in lines if line.startswith("{")]
    return [each["network"] for each in said if each["event"] == "loading"]


def test_networks_are_measured_there_and_what_is_damaged_fails_alone(plain_ssh, networks, tmp_path):
    far, store = board(plain_ssh, tmp_path), MeasurementStore(path=tmp_path / "store.sqlite")
    outcome = measure_networks(target(far, runtime=DamagedRuntime()), networks, store, campaign="first")
    assert set(outcome.costs) == {"n4", "n8"}
    assert all(cost.kind == "measured" and 0 < cost.value < 100 for cost in outcome.costs.values())
    assert "Protobuf" in outcome.failures["n6"].reason or "INVALID" in outcome.failures["n6"].reason
    assert store.count() == 3  # with the reference
    # The board is this machine, so it is what this machine is.
    assert far.version() == OnnxRuntime().version
    assert f"{os.cpu_count()} cores, Linux" in far.host()
    # Nothing of the job is left, and four networks stay for the next time.
    assert sorted(path.name for path in (tmp_path / "board").iterdir()) == ["files", "lock"]
    assert len(list((tmp_path / "board" / "files").iterdir())) == 4


def test_a_network_of_the_board_is_copied_once(ssh, quick_python, eavesdropper, artifact, tmp_path):
    pushed, rounds = [], []
    way = eavesdropper(ssh)
    way.push = lambda files, *how: pushed.extend(files) or ssh.push(files, *how)
    far = board(way, tmp_path, python=quick_python)
    for names in ("ref a", "ref a b"):
        batch = {name: artifact(name.encode()) for name in names.split()}
        far.measure(batch, QUICK, reference="ref", progress=lambda *done: rounds.append(done))
    assert rounds == [(1, 3), (2, 3), (3, 3)] * 2
    assert len([name for name in pushed if name.startswith("network-")]) == 3
    # A damaged one is seen by its name, removed, and copied again the next time.
    file = tmp_path / "board" / "files" / f"network-{artifact(b'b').sha256}.onnx"
    file.write_bytes(b"c")
    both = {name: artifact(name.encode()) for name in ("ref", "b")}
    assert "damaged" in far.measure(both, QUICK, reference="ref")["b"].reason
    assert isinstance(far.measure(both, QUICK, reference="ref")["b"], Timing)
    assert file.read_bytes() == b"b"


def test_a_board_that_goes_away_costs_a_batch_and_the_rest_is_measured_later(
    server, plain_ssh, quick_python, eavesdropper, networks, tmp_path
):
    batches = []

    def pull_the_plug(line):
        if '"event": "measuring"' in line:
            batches.append(line)
            if len(batches) == 2:
                server.stop()

    way = eavesdropper(plain_ssh, pull_the_plug)
    few = Protocol(warm_up=1, rounds=3, runs_per_round=1, min_sample_ms=0.0, redo=0, batch=2)
    store = MeasurementStore(path=tmp_path / "store.sqlite")
    mine = target(board(way, tmp_path, python=quick_python), few)
    outcome = measure_networks(mine, networks, store, campaign="first")
    assert set(outcome.costs) == {"n4", "n6"}
    assert "cannot be reached" in outcome.failures["n8"].reason
    assert "run it again" in outcome.failures["n8"].reason

    with pytest.raises(ValueError, match=r"cannot be reached \(.*refused\); this must work by hand: ssh "):
        board(plain_ssh, tmp_path).host()
    server.start()
    way.lines.clear()
    assert set(measure_networks(mine, networks, store, campaign="first").costs) == {"n4", "n6", "n8"}
    assert loaded(way.lines) == [mine.key(reference_network()).network, mine.key(networks["n8"][0]).network]


def test_a_worker_that_is_killed_tells_so_for_each_network(ssh, quick_python, eavesdropper, artifact, tmp_path):
    def kill(line):
        if '"event": "round"' in line:
            os.kill(int((tmp_path / "board" / "lock").read_text()), 9)

    far = board(eavesdropper(ssh, kill), tmp_path, python=quick_python)
    long = Protocol(rounds=1000, warm_up=1)
    found = far.measure({name: artifact(name.encode()) for name in ("ref", "a")}, long, reference="ref")
    assert set(found) == {"ref", "a"}
    for failure in found.values():
        assert isinstance(failure, Failure)
        assert "killed by signal 9 while measuring" in failure.reason


def test_what_a_runtime_dies_of_or_hangs_in_fails_alone(ssh, quick_python, eavesdropper, artifact, tmp_path):
    way = eavesdropper(ssh)
    far = board(way, tmp_path, python=quick_python, timeout_s=6)
    names = ("a", "deadly", "endless", "ref", "refused")
    found = far.measure({name: artifact(name.encode()) for name in names}, QUICK, reference="ref")
    assert {name for name in names if isinstance(found[name], Timing)} == {"a", "ref"}
    assert "killed by signal 9 while loading this network" in found["deadly"].reason
    assert "loading this network took longer than 6 s" in found["endless"].reason
    assert found["refused"].reason.startswith("RuntimeError: [ONNXRuntimeError] : 7")
    assert loaded(way.lines)[0] == "ref"


def test_a_batch_that_takes_too_long_ends(ssh, quick_python, artifact, tmp_path):
    far = board(ssh, tmp_path, python=quick_python, timeout_s=4)
    found = far.measure({"ref": artifact(b"slow")}, Protocol(rounds=1000), reference="ref")
    assert "measuring took longer than 4 s; raise the board's `timeout_s`" in found["ref"].reason


class Slow:
    """A way to a board that is asked and asked, and takes too long over one thing."""

    name = "pi"

    def __init__(self, over):
        self.over = over

    def push(self, files, folder, timeout_s, then="true"):
        pass

    def run(self, command, timeout_s, on_line=None):
        if self.over in command:
            raise Overdue(f"not done after {timeout_s:g} s")
        return Finished(0, b"/dev/root 100 10 10000000 10% /\n", "")

    def pull(self, path, timeout_s):
        return b""


@pytest.mark.parametrize("over", ["mkdir", "probe"])
def test_a_board_that_hangs_says_so_by_name(over, tmp_path):
    with pytest.raises(ValueError, match=r"^pi does not answer: not done after 120 s; see whether it hangs"):
        board(Slow(over), tmp_path).host()


def test_a_disk_without_room_is_told_before_anything_is_copied(ssh, quick_python, artifact, tmp_path):
    full = board(ssh, tmp_path, python=quick_python, reserve_mb=10**9)
    with pytest.raises(ValueError, match=r"no room on .* for its 3 bytes: [\d,]+ are free, of which 1,000,000,000,000"):
        full.measure({"ref": artifact(b"ref")}, QUICK, reference="ref")
    assert list((tmp_path / "board" / "files").iterdir()) == []


def test_a_runtime_that_is_missing_says_what_to_run(ssh, python_with, tmp_path):
    damaged = python_with("raise ImportError('libonnx.so: no such file')")
    said = (
        r"onnxruntime cannot be imported \(ImportError: libonnx.so: .*\); run `/\S* -m pip install onnxruntime` there"
    )
    with pytest.raises(ValueError, match=said):
        board(ssh, tmp_path, python=damaged).version()


def test_settings_that_the_board_has_not(ssh, quick_python, artifact, tmp_path):
    with pytest.raises(ValueError, match=r"`/nowhere/python3` on .* does not run the worker .*give its path"):
        board(ssh, tmp_path, python="/nowhere/python3").host()
    with pytest.raises(ValueError, match=f"`threads` must be 1 to {os.cpu_count()} "):
        board(ssh, tmp_path, python=quick_python, threads=999).host()
    with pytest.raises(ValueError, match=r"cannot use the folder `/proc/none/board`: .*give another `folder`"):
        Board(transport=ssh, runtime="onnxruntime", python=quick_python, folder="/proc/none/board").host()
    with pytest.raises(ValueError, match="the board runs files of format `onnx`, and `ref` is `tflite`"):
        board(ssh, tmp_path).measure({"ref": artifact(b"", "tflite")}, QUICK, reference="ref")
    with pytest.raises(ValueError, match="the reference `other` must be one of the networks"):
        board(ssh, tmp_path).measure({"ref": artifact(b"")}, QUICK, reference="other")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"threads": 0}, "`threads` must be 1 or more"),
        ({"timeout_s": 0}, "`timeout_s` must be 1 or more"),
        ({"folder": "~/edgenas"}, "`folder` must be a path on the board"),
        ({"folder": "a; rm -rf b"}, "`folder` must be a path on the board"),
    ],
)
def test_settings_are_checked_where_they_enter(adb, settings, said):
    with pytest.raises(ValueError, match=said):
        Board(transport=adb, runtime="onnxruntime", **settings)


def test_the_readmes_board_is_one():
    readme = Path(hardware.boards.__file__).with_name("README.md").read_text()
    names = {}
    exec(re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1], names)
    assert isinstance(names["board"], Bench)
    assert names["target"].bench() is names["board"]
    for file in re.findall(r"`(\w+\.py)`", readme):
        assert Path(hardware.boards.__file__).with_name(file).exists(), file


@pytest.mark.slow
def test_litert_on_the_board_runs_what_litert_wrote(ssh, networks, tmp_path):
    from hardware.runtimes.litert import LiteRt

    mine = target(board(ssh, tmp_path, runtime="litert"), runtime=LiteRt())
    outcome = measure_networks(mine, networks, MeasurementStore(path=tmp_path / "store.sqlite"), campaign="first")
    assert set(outcome.costs) == set(networks)
    assert mine.board.version() == LiteRt().version

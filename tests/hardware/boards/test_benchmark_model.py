"""TFLite's benchmark_model on a phone, with stand-ins for it and for adb; no real phone was ever tried."""

import hashlib
import os
import sys

import pytest

from hardware.boards.benchmark_model import BenchmarkModel, least_us
from hardware.boards.transport import Finished, Lost, Overdue
from hardware.measuring.protocol import Failure, Protocol, Timing

QUICK = Protocol(warm_up=1, rounds=4, runs_per_round=5, pin=False)

PRINTED = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Graph: [/usr/share/oob-demo-assets/models/ssd_mobilenet_v2_coco.tflite]
INFO: Signature to run: []
INFO: Use xnnpack: [0]
INFO: Loaded model /usr/share/oob-demo-assets/models/ssd_mobilenet_v2_coco.tflite
INFO: The input model file size (MB): 67.3128
INFO: Initialized session in 5.579ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=1 curr=1357602 p5=1357602 median=1357602 p95=1357602

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=50 first=1249964 curr=1240143 min=1238588 max=1252566 avg=1.24027e+06 std=2565 p5=1238753 median=1239807

INFO: Inference timings in us: Init: 5579, First inference: 1357602, Warmup (avg): 1.3576e+06, Inference (avg): 1.24e+06
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE
INFO: Memory footprint delta from the start of the tool (MB): init=6.36328 overall=109.832
"""
"""As the tool of TensorFlow 2.19 prints it."""

TOOL = '''#!{python}
"""Stands for benchmark_model: a file says how many microseconds a run takes."""
import sys
flags = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
text = open(flags["graph"]).read()
print("INFO: STARTING!")
if text == "hang":
    import time; time.sleep(30)
if not text.isdigit():
    print("ERROR: Failed to load model " + flags["graph"])
    print("ERROR: Benchmarking failed.")
    sys.exit(1)
us, runs = int(text), int(flags["num_runs"])
print(f"INFO: count={{flags['warmup_runs']}} first={{9 * us}} curr={{us}} min=1 max={{9 * us}} avg={{3 * us}} std=7\\n")
print(f"INFO: count={{runs}} first={{us + 5}} curr={{us + 1}} min={{us}} max={{us + 5}} avg={{us + 2}} std=2\\n")
print(f"INFO: Inference timings in us: Init: 57, First inference: 9, Warmup (avg): 9, Inference (avg): {{us + 2}}")
'''


@pytest.fixture
def phone(adb, tmp_path):
    tool = tmp_path / "benchmark_model"
    tool.write_text(TOOL.format(python=sys.executable))
    tool.chmod(0o755)
    return BenchmarkModel(transport=adb, program=str(tool), folder=str(tmp_path / "phone"))


def test_the_least_run_is_read_from_what_the_tool_prints():
    assert least_us(PRINTED) == 1238588
    # Runs that are all alike, or one alone, have no `min` (Stat::OutputToStream).
    assert least_us("count=1 curr=9\ncount=50 curr=123(all same)\n\nInference timings in us: Init: 1") == 123
    assert least_us(PRINTED.split("Inference timings")[0]) is None  # it did not get to its end
    assert least_us("ERROR: Failed to initialize. Inference timings in us:") is None


def test_networks_take_turns_and_a_damaged_one_fails_alone(phone, artifact):
    rounds = []
    batch = {
        "ref": artifact(b"1000", "tflite"), "a": artifact(b"2500", "tflite"), "bad": artifact(b"TFL", "tflite")
    }  # fmt: skip
    found = phone.measure(batch, QUICK, reference="ref", reference_ms=2.0, progress=lambda *r: rounds.append(r))
    assert found["ref"].value_ms == pytest.approx(1.0)
    assert found["a"].value_ms == pytest.approx(5.0)  # 2.5 ms beside a reference that took half its time of before
    assert len(found["a"].samples_ms) == 4
    assert found["bad"].reason == "benchmark_model gives no time (exit code 1): ERROR: Benchmarking failed."
    assert rounds == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_turn_is_asked_for_as_the_protocol_says(artifact):
    class Transport:
        name, commands = "phone", []

        def run(self, command, timeout_s, on_line=None):
            self.commands.append(command)
            if "sha256sum" in command:
                return Finished(
                    0, b"abcdef0123456789  /data/local/tmp/benchmark_model\n8\nLinux aarch64\nGoogle\nPixel 4\n", ""
                )
            if "benchmark_model" in command:
                return Finished(0, PRINTED.encode(), "")
            return Finished(0, b"/dev/block/dm-5 100 10 10000000 10% /data\n", "")

        def push(self, files, folder, timeout_s, then="true"):
            pass

        def pull(self, path, timeout_s):
            raise Lost("")

    phone = BenchmarkModel(transport=Transport(), threads=2, flags=("--use_gpu=true",))
    assert phone.host() == "Google Pixel 4, 8 cores, Linux aarch64"
    assert phone.version() == "benchmark_model abcdef012345 --use_gpu=true"
    file = artifact(b"x", "tflite")
    phone.measure({"ref": file}, Protocol(rounds=1, warm_up=3, runs_per_round=5, min_sample_ms=2.0), reference="ref")
    (command,) = [command for command in Transport.commands if "--graph" in command]
    assert command == (
        "taskset 80 /data/local/tmp/benchmark_model"  # the last of 8 cores: 2^7
        f" --graph=/data/local/tmp/edgenas/files/network-{hashlib.sha256(b'x').hexdigest()}.tflite --num_threads=2"
        " --warmup_runs=3 --warmup_min_secs=0 --num_runs=5 --min_secs=0.002 --max_secs=300 --use_gpu=true 2>&1; exit $?"
    )


@pytest.mark.parametrize("over", ["run", "push"])
def test_a_phone_that_hangs_says_so_by_name(phone, artifact, monkeypatch, over):
    def overdue(self, *arguments, **more):
        raise Overdue("not done after 60 s")

    if over == "push":
        phone.version()
    monkeypatch.setattr(type(phone.transport), over, overdue)
    if over == "run":
        with pytest.raises(ValueError, match=r"^the phone does not answer: not done after 60 s; see whether it hangs"):
            phone.version()
    else:
        found = phone.measure({"ref": artifact(b"1000", "tflite")}, QUICK, reference="ref")
        assert found["ref"].reason.startswith("the phone: not done after 60 s; raise `timeout_s`; run it again")


def test_the_tool_is_part_of_the_version(phone, tmp_path):
    digest = hashlib.sha256((tmp_path / "benchmark_model").read_bytes()).hexdigest()
    assert phone.version() == f"benchmark_model {digest[:12]}"
    assert phone.host().endswith(f"Linux {os.uname().machine}")


def test_what_can_go_wrong_is_told(phone, adb, artifact, tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match=r"the phone has no `/none` \(.*No such file.*\); copy TFLite's `benchmark_model`"
    ):
        BenchmarkModel(transport=adb, program="/none", folder=str(tmp_path)).version()
    with pytest.raises(ValueError, match=r"the reference network cannot be timed: .*Benchmarking failed"):
        phone.measure({"ref": artifact(b"TFL", "tflite")}, QUICK, reference="ref")
    with pytest.raises(ValueError, match="the board runs files of format `tflite`"):
        phone.measure({"ref": artifact(b"1", "onnx")}, QUICK, reference="ref")
    with pytest.raises(ValueError, match="`flags` must each be written --name=value, got `--use_gpu`"):
        BenchmarkModel(transport=adb, flags=("--use_gpu",))
    with pytest.raises(ValueError, match=r"`threads` must be 1 to \d+ \(the cores of the phone\), got 999"):
        BenchmarkModel(transport=adb, program=phone.program, folder=phone.folder, threads=999).host()
    batch = {"ref": artifact(b"1000", "tflite"), "a": artifact(b"2000", "tflite")}
    found = phone.measure(batch, QUICK, reference="ref", progress=lambda *_: monkeypatch.setenv("ADB_MODE", "offline"))
    assert all(isinstance(each, Failure) and "device offline" in each.reason for each in found.values())
    assert set(found) == {"ref", "a"}


def test_a_turn_that_hangs_fails_alone(phone, artifact):
    batch = {"ref": artifact(b"1000", "tflite"), "stuck": artifact(b"hang", "tflite")}
    quick = BenchmarkModel(transport=phone.transport, program=phone.program, folder=phone.folder, timeout_s=4)
    found = quick.measure(batch, QUICK, reference="ref")
    assert isinstance(found["ref"], Timing)
    assert found["stuck"].reason.startswith("a turn is not done after 4 s; raise the board's `timeout_s`")

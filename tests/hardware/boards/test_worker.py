"""The program that runs on the board: alone, on old Pythons, and never half done."""

import ast
import fcntl
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hardware.boards.worker as worker
from hardware.measuring import turns

SOURCES = [Path(module.__file__) for module in (worker, turns)]
SETTINGS = {
    "warm_up": 1, "rounds": 2, "quantile": 0.1, "runs_per_round": 1, "min_sample_ms": 0.0, "redo": 0,
    "redo_above": 1.5, "pin": False, "seed": 0,
}  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_what_goes_to_a_board_needs_nothing_of_ours_and_no_new_python(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported <= {*sys.stdlib_module_names, "numpy", "onnxruntime", "turns"}


@pytest.fixture
def job(tmp_path, quick_python):
    """A folder as a board has it, with the worker in it."""
    (tmp_path / "job-1").mkdir()
    (tmp_path / "files").mkdir()
    for path in SOURCES:
        (tmp_path / "job-1" / path.name).write_bytes(path.read_bytes())

    def run(contents, **changes):
        files = {}
        for name, content in contents.items():
            files[name] = f"network-{hashlib.sha256(content).hexdigest()}.onnx"
            (tmp_path / "files" / files[name]).write_bytes(content)
        settings = {
            "runtime": "onnxruntime", "threads": 1, "limit_s": 30, "wait_s": 0, "reference": "ref",
            "networks": files, "settings": SETTINGS, **changes,
        }  # fmt: skip
        (tmp_path / "job-1" / "job.json").write_text(json.dumps(settings))
        arguments = [quick_python, tmp_path / "job-1" / "worker.py", "measure", tmp_path / "job-1", "skipped"]
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)

    return run


def events(process):
    output, _ = process.communicate(timeout=60)
    return [json.loads(line) for line in output.splitlines()]


def test_a_job_tells_what_it_does_and_leaves_a_whole_result(job, tmp_path):
    process = job({"ref": b"ref", "refused": b"refused", "skipped": b"s"})
    said = events(process)
    assert process.returncode == 0
    assert [each["event"] for each in said] == [
        "facts", "loading", "loading", "failed", "measuring", "round", "round", "done",
    ]  # fmt: skip
    assert said[0]["version"] == "onnxruntime 0.9.1"
    result = (tmp_path / "job-1" / "result.json").read_bytes()
    assert hashlib.sha256(result).hexdigest() == said[-1]["sha256"]
    found = json.loads(result)
    assert len(found["samples_ms"]["ref"]) == 2
    assert found["failures"]["refused"].startswith("RuntimeError")
    assert not list((tmp_path / "job-1").glob("*.part"))


def test_a_reference_that_does_not_run_ends_the_job(job, tmp_path):
    process = job({"ref": b"refused"})
    assert events(process)[-1]["reason"].startswith("the reference network does not run: RuntimeError")
    assert process.returncode == 1
    assert not (tmp_path / "job-1" / "result.json").exists()


def test_two_workers_never_measure_at_once(job, tmp_path):
    with (tmp_path / "lock").open("a") as lock:
        lock.write("123")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        (said,) = events(job({"ref": b"ref"}))
    assert "another worker (process 123) has been measuring on the board" in said["reason"]


def test_a_worker_to_which_nobody_listens_ends(job, tmp_path):
    process = job({"ref": b"slow"}, settings={**SETTINGS, "rounds": 100_000})
    assert '"facts"' in process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert not (tmp_path / "job-1" / "result.json").exists()


def test_a_disk_that_is_full_at_the_end_is_told(job, tmp_path):
    (tmp_path / "job-1" / "result.part").symlink_to("/dev/full")  # every write to it finds no space
    said = events(job({"ref": b"ref"}))
    assert said[-1] == {"event": "error", "reason": "OSError: [Errno 28] No space left on device"}
    assert not (tmp_path / "job-1" / "result.json").exists()


@pytest.mark.parametrize("package", ["ai_edge_litert", "tflite_runtime", "tensorflow"])
def test_litert_is_looked_for_under_its_three_names(package, tmp_path):
    # Stand-ins, in a Python that sees nothing else but numpy's stand-in.
    module = {name.split(".")[0]: name for name in worker.LITERT}[package]
    folder = tmp_path / Path(*module.split("."))
    for parent in [*folder.parents][: module.count(".")]:
        parent.mkdir(parents=True, exist_ok=True)
        (parent / "__init__.py").write_text("__version__ = '2.9'")
    folder.with_suffix(".py").write_text("Interpreter = None")
    (tmp_path / "numpy.py").write_text("__version__ = '2.0'")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    arguments = [sys.executable, "-S", SOURCES[0], "probe", "litert"]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["version"] == f"{package.replace('_', '-')} 2.9"


def test_those_that_are_installed_here_are_found():
    assert worker.facts("litert")["version"].startswith("ai-edge-litert ")
    assert worker.facts("litert")["problem"] is None

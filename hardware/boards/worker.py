"""Runs on the board: times the networks of a job in turns and leaves the result beside it.

    python worker.py probe <runtime>      says in one line of JSON what the board is and has
    python worker.py measure <folder> [<network> ...]
                                          does the job that lies there (`board.py` says what is in `job.json`), without
                                          some of its networks

Needs `turns.py` beside it, numpy, and the runtime; nothing of ours. Runs on Python 3.9 and later. Every line of its
output is one event as JSON; whoever started it is told by the last `loading` which network it died of. It ends when
nobody listens any more, for an old worker would disturb the times of the next, and when its time is up.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LITERT = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite.python.interpreter")
"""Where TFLite's interpreter may be, the newest name first."""


def main(arguments: list[str]) -> int:
    """Does what the first word says."""
    if sys.version_info < (3, 9):  # noqa: UP036  a board has what it has
        return _give_up(f"Python {platform.python_version()} is too old; 3.9 or later is needed")
    verb, place, *without = arguments
    try:
        if verb == "probe":
            _say("facts", **facts(place))
        else:
            measure(Path(place), without)
    except BrokenPipeError:
        os._exit(1)  # nobody listens; there is nothing to tidy up, and nowhere to say it
    except (ValueError, OSError, MemoryError) as error:
        return _give_up(_one_line(error))
    return 0


def measure(folder: Path, without: list[str]) -> None:
    """Does a job, without some of its networks.

    Its result is in `result.json` when `done` was said, and never half of it.

    Raises:
      ValueError: when nothing can be measured.
    """
    from turns import take_turns  # pyright: ignore[reportMissingImports]  beside this file on the board

    job = json.loads((folder / "job.json").read_text())
    lock = _lock(folder.parent / "lock", job["wait_s"])
    signal.alarm(job["limit_s"])  # ends this process even within a network that hangs
    here = facts(job["runtime"])
    _say("facts", **here)
    if here["problem"]:
        raise ValueError(here["problem"])
    prepare = RUNTIMES[job["runtime"]]["call"]
    calls: dict[str, Callable[[], Any]] = {}
    failures: dict[str, str] = {}
    for name in (name for name in job["networks"] if name not in without):
        _say("loading", network=name)
        path = folder.parent / "files" / job["networks"][name]
        try:
            calls[name] = prepare(_checked(path), job["threads"])
            calls[name]()
        except Exception as error:  # runtimes raise anything; it concerns this network alone
            if name == job["reference"]:
                raise ValueError(f"the reference network does not run: {_one_line(error)}") from error
            calls.pop(name, None)
            failures[name] = _one_line(error)
            _say("failed", network=name, reason=failures[name])
    _say("measuring", networks=len(calls))
    found = take_turns(
        calls,
        job["settings"],
        reference=job["reference"],
        progress=lambda done, rounds: _say("round", done=done, rounds=rounds),
    )
    found["failures"] = {**failures, **found["failures"]}
    digest = write_whole(folder / "result.json", json.dumps(found).encode())
    _say("done", sha256=digest)
    lock.close()


def onnx_call(model: bytes, threads: int) -> Callable[[], Any]:
    """As `OnnxRuntime.ready` of `hardware/runtimes/onnx_runtime.py`: the same session, the same image, bound."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    binding = session.io_binding()
    values = np.random.default_rng(0).normal(size=(1, *image.shape[1:])).astype(np.float32)
    binding.bind_cpu_input(image.name, values)
    binding.bind_output(session.get_outputs()[0].name, "cpu")

    def call() -> Any:
        session.run_with_iobinding(binding)
        return binding

    return call


def litert_call(model: bytes, threads: int) -> Callable[[], Any]:
    """As `LiteRt.ready` of `hardware/runtimes/litert.py`: the interpreter with XNNPACK, the same image in its input."""
    import numpy as np

    interpreter = _litert().Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    for into in interpreter.get_input_details():
        values = np.random.default_rng(0).normal(size=into["shape"]).astype(np.float32)
        (scale, zero), kind = into["quantization"], into["dtype"]
        if scale:
            values = np.clip(np.round(values / scale) + zero, np.iinfo(kind).min, np.iinfo(kind).max)
        interpreter.set_tensor(into["index"], values.astype(kind))

    def call() -> Any:
        interpreter.invoke()
        return interpreter

    return call


def _litert() -> Any:
    errors = []
    for name in LITERT:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            errors.append(error)
    raise errors[0]


def litert_version() -> str:
    """Package and version of what is found first of `LITERT`."""
    package = _litert().__name__.split(".")[0]
    return f"{package.replace('_', '-')} {importlib.import_module(package).__version__}"


def onnx_version() -> str:
    """As `OnnxRuntime.version`."""
    return f"onnxruntime {importlib.import_module('onnxruntime').__version__}"


RUNTIMES: dict[str, dict[str, Any]] = {
    "onnxruntime": {"format": "onnx", "package": "onnxruntime", "version": onnx_version, "call": onnx_call},
    "litert": {"format": "tflite", "package": "ai-edge-litert", "version": litert_version, "call": litert_call},
}
"""What runs networks here: of which format, installed how, and how it is asked for its version and for a call."""


def facts(runtime: str) -> dict[str, Any]:
    """What the board is, and has of a runtime.

    Returns:
      `host`: board or processor, cores and system, as this machine's are in the store; `cores`; `version`: name and
      version of the runtime; `python`, `numpy`: versions; `problem`: what is missing, None if nothing is.
    """
    found: dict[str, Any] = {
        "host": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "version": None,
        "numpy": None,
        "problem": None,
    }
    install = f"`{sys.executable} -m pip install"
    try:
        found["numpy"] = importlib.import_module("numpy").__version__
    except Exception as error:  # damaged installations raise anything
        found["problem"] = f"numpy cannot be imported ({_one_line(error)}); run {install} numpy` there"
        return found
    kind = RUNTIMES[runtime]
    try:
        found["version"] = kind["version"]()
    except Exception as error:
        package = kind["package"]
        found["problem"] = f"{package} cannot be imported ({_one_line(error)}); run {install} {package}` there"
    return found


def write_whole(path: Path, content: bytes) -> str:
    """Writes a file whole or not at all, and gives its SHA-256."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return hashlib.sha256(content).hexdigest()


def _checked(path: Path) -> bytes:
    """The content of a file that has its SHA-256 in its name; its use is noted, for the cache."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != path.stem.rpartition("-")[2]:
        path.unlink()
        raise ValueError("its file on the board was damaged, and is removed; measure it again")
    os.utime(path)
    return content


def _lock(path: Path, wait_s: float) -> Any:
    """An open file that one worker at a time has."""
    import fcntl

    file = path.open("a+")
    end = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            file.seek(0)
            if time.monotonic() > end:
                who = file.read().strip()
                raise ValueError(
                    f"another worker (process {who}) has been measuring on the board for more than {wait_s} s;"
                    " wait for it or stop it"
                ) from None
            time.sleep(0.2)
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _processor() -> str:
    """The board by its device tree where it has one: Arm's cpuinfo knows the core at most."""
    for path, prefix in (("/proc/device-tree/model", ""), ("/proc/cpuinfo", "model name")):
        with contextlib.suppress(OSError):
            for line in Path(path).read_text(errors="replace").splitlines():
                if line.startswith(prefix):
                    return line.rpartition(":")[2].strip("\0 ")
    return platform.processor() or "unknown processor"


def _say(event: str, **values: Any) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def _give_up(reason: str) -> int:
    _say("error", reason=reason)
    return 1


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

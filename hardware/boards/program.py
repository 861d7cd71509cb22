"""Runs one program of this machine: its lines as they come, and an end when its time is up."""

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import IO

from hardware.boards.transport import Finished, Overdue

_KEPT = 65_536  # bytes of errors
_LAST_S = 1.0  # for the last output of a program that has ended


def run_program(
    arguments: Sequence[str],
    *,
    missing: str,
    timeout_s: float,
    stdin: bytes = b"",
    on_line: Callable[[str], None] | None = None,
) -> Finished:
    """Runs a program to its end.

    Args:
      arguments: the program and what follows it.
      missing: how to get the program, for where it is not there.
      timeout_s: how long it may take; it and what it started in its group are killed then, and also when `on_line`
        raises.
      stdin: given to it.
      on_line: called in this thread with each line of its output.

    Raises:
      ValueError: when there is no such program.
      Overdue: when the time is up.
    """
    end = monotonic() + timeout_s
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C ends us, and we end it
        )
    except OSError as error:
        raise ValueError(f"`{arguments[0]}` cannot be run ({error.strerror}); {missing}") from error
    lines: queue.Queue[bytes | None] = queue.Queue()
    errors = bytearray()
    pipes = (process.stdin, process.stdout, process.stderr)
    threads = [
        threading.Thread(target=act, args=(pipe, value), daemon=True)
        for act, pipe, value in zip((_feed, _read, _keep), pipes, (stdin, lines, errors), strict=True)
    ]
    for thread in threads:
        thread.start()
    output = bytearray()
    try:
        for line in _until_end(process, lines, end, timeout_s):
            output += line
            if on_line:
                on_line(line.decode(errors="replace").rstrip("\r\n"))
        code = process.wait(max(end - monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        raise Overdue(f"not done after {timeout_s:g} s") from None
    finally:
        if process.poll() is None:  # what it leaves behind when it ends by itself (adb's server) is meant to stay
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        last = monotonic() + _LAST_S
        for thread in threads:
            thread.join(max(last - monotonic(), 0.0))
    return Finished(code if code >= 0 else 128 - code, bytes(output), bytes(errors[-_KEPT:]).decode(errors="replace"))


def _until_end(
    process: "subprocess.Popen[bytes]", lines: "queue.Queue[bytes | None]", end: float, timeout_s: float
) -> Iterator[bytes]:
    """The lines of its output, until it closes it, or has ended and left it to a child that stays (adb's server)."""
    ended = None
    while True:
        now = monotonic()
        if now > end:
            raise Overdue(f"not done after {timeout_s:g} s")
        if ended is None and process.poll() is not None:
            ended = now
        try:
            line = lines.get(timeout=min(0.2, end - now + 0.01))
        except queue.Empty:
            if ended is not None and now - ended > _LAST_S:
                return
            continue
        if line is None:
            return
        yield line


def _feed(pipe: IO[bytes], content: bytes) -> None:
    with suppress(OSError), pipe:  # it may end without having read all
        pipe.write(content)


def _read(pipe: IO[bytes], lines: "queue.Queue[bytes | None]") -> None:
    with pipe:
        for line in pipe:
            lines.put(line)
    lines.put(None)


def _keep(pipe: IO[bytes], kept: bytearray) -> None:
    with pipe:
        while chunk := pipe.read1(4096):  # pyright: ignore[reportAttributeAccessIssue]
            kept += chunk
            del kept[: max(0, len(kept) - 2 * _KEPT)]

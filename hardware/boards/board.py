"""A board with Python: `worker.py` goes there, times the networks of a batch in turns, and its numbers come back."""

import hashlib
import json
import shlex
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from hardware.boards.folder import MB, Folder, check_artifacts, check_folder, file_name
from hardware.boards.transport import Finished, Lost, Overdue, Refused, Transport, unanswered
from hardware.boards.worker import RUNTIMES
from hardware.measuring.protocol import Failure, Protocol, Timing
from hardware.runtimes.artifact import Artifact

_PROBE_S = 120.0  # for Python and a runtime to be imported on a slow board
_GRACE_S = 30.0  # after which a worker that should have ended by itself is given up


@dataclass(frozen=True, kw_only=True)
class Board:
    """Networks are timed on a board far away, by the same loop as on this machine.

    What goes wrong with one network (a damaged file, an operator that the board's runtime lacks, no room, a crash while
    it is loaded) is that network's failure. When the board goes away in the middle, or the time is up, it is every
    network's of the batch. Nothing of a batch that did not end is read.

    Attributes:
      transport: the way to the board.
      runtime: what runs the networks there: `onnxruntime` (onnx), or `litert` (tflite: `ai_edge_litert`,
        `tflite_runtime` or `tensorflow`, whichever is found first).
      threads: how many a network may use; as the target's.
      python: the interpreter on the board: 3.9 or later, with numpy and the runtime.
      folder: where files lie on the board; relative to where its user logs in.
      timeout_s: how long a batch may take, and each copying of files.
      reserve_mb: room that must stay free on the board's disk, 10^6 bytes.
      cache_mb: what networks may take there, of earlier batches too; the least recently used go first.

    Raises:
      ValueError: on settings that cannot be.
    """

    transport: Transport
    runtime: Literal["onnxruntime", "litert"]
    threads: int = 1
    python: str = "python3"
    folder: str = "edgenas"
    timeout_s: int = 1800
    reserve_mb: int = 64
    cache_mb: int = 512

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise ValueError(f"`runtime` must be one of {', '.join(RUNTIMES)}, got `{self.runtime}`")
        for name, least in {"threads": 1, "timeout_s": 1, "reserve_mb": 0, "cache_mb": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be {least} or more, got {getattr(self, name)}")
        check_folder(self.folder)

    def host(self) -> str:
        """The board's processor, cores and system; see `Bench`."""
        return self.facts["host"]

    def version(self) -> str:
        """The runtime's on the board; see `Bench`."""
        return self.facts["version"]

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the board said that it is and has (`facts` of `worker.py`); it is asked once.

        Raises:
          ValueError: when it cannot be reached, or lacks Python, numpy, the runtime or cores.
        """
        job, shelf = self._job(), self._shelf()
        shelf.open(job)
        try:
            shelf.send(job, _worker_files())
            heard = _Heard()
            done = self._work(f"probe {self.runtime}", job, heard, _PROBE_S)
        except Overdue as error:
            raise unanswered(self.transport.name, error) from error
        finally:
            shelf.close(job)
        if heard.error is None and heard.facts is None:
            raise ValueError(self._no_python(done))
        problem = heard.error or (heard.facts or {})["problem"]
        if problem:
            raise ValueError(f"{self.transport.name}: {problem}")
        assert heard.facts is not None
        if self.threads > heard.facts["cores"]:
            raise ValueError(
                f"`threads` must be 1 to {heard.facts['cores']} (the cores of {self.transport.name}),"
                f" got {self.threads}"
            )
        return heard.facts

    def measure(
        self,
        artifacts: Mapping[str, Artifact],
        protocol: Protocol,
        *,
        reference: str,
        reference_ms: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Timing | Failure]:
        """See `Bench`."""
        left = check_artifacts(artifacts, RUNTIMES[self.runtime]["format"], reference)
        facts = self.facts  # whoever cannot be asked cannot measure
        found: dict[str, Timing | Failure] = {}
        job, shelf = self._job(), self._shelf()

        def give_up(reason: str, names: Iterable[str]) -> None:
            for name in tuple(names):
                found[name] = Failure(reason=reason)
                left.pop(name, None)

        held = shelf.open(job)
        try:
            files = _worker_files() | {
                "job.json": json.dumps(self._settings(left, protocol.job(reference_ms), reference)).encode()
            }
            sizes = {"reserve_bytes": self.reserve_mb * MB, "cache_bytes": self.cache_mb * MB}
            for name, reason in shelf.stock(job, held, left, files, **sizes).items():
                give_up(reason, [name])
            longest = 2 * self.timeout_s + _GRACE_S  # another's batch, and then ours
            while left:
                heard = _Heard(progress=progress)
                done = self._work(shlex.join(["measure", job, *found]), job, heard, longest)
                for name, reason in heard.failed.items():
                    give_up(reason, [name])
                self._check(heard, done, facts)
                if heard.done:
                    raw = self._result(f"{self.folder}/{job}/result.json", heard.done)
                    return found | protocol.timings(raw, reference=reference, reference_ms=reference_ms)
                alone = heard.loading if heard.loading != reference else None
                give_up(self._death(heard, done), [alone] if alone else left)
            return found
        except (Lost, Refused) as error:
            give_up(f"{error}; run it again to measure what is left", left)
            return found
        except Overdue as error:
            give_up(f"{self.transport.name}: {error}; raise the board's `timeout_s` or lower `rounds`, `batch`", left)
            return found
        finally:
            shelf.close(job)

    def _settings(self, networks: Mapping[str, Artifact], job: Mapping[str, Any], reference: str) -> dict[str, Any]:
        """What `worker.py` finds in `job.json`."""
        return {
            "runtime": self.runtime,
            "threads": self.threads,
            "limit_s": self.timeout_s,
            "wait_s": self.timeout_s,
            "reference": reference,
            "networks": {name: file_name(artifact) for name, artifact in networks.items()},
            "settings": dict(job),
        }

    def _work(self, words: str, job: str, heard: "_Heard", timeout_s: float) -> Finished:
        """Runs the worker. The shell stays above it (`exit $?`), so that a signal that ends it arrives as a code."""
        command = f"cd {shlex.quote(self.folder)} && {shlex.quote(self.python)} -B -u {job}/worker.py {words}; exit $?"
        return self.transport.run(command, timeout_s, heard)

    def _check(self, heard: "_Heard", done: Finished, facts: Mapping[str, Any]) -> None:
        """Raises when nothing can be measured."""
        if heard.error is not None:
            raise ValueError(f"{self.transport.name}: {heard.error}")
        if heard.facts is None:
            if done.code in (126, 127):
                raise ValueError(self._no_python(done))
            return
        changed = [name for name in ("host", "version") if heard.facts[name] != facts[name]]
        if changed:
            was, now = facts[changed[0]], heard.facts[changed[0]]
            raise ValueError(f"{self.transport.name} was `{was}` and is now `{now}`; start again")

    def _result(self, path: str, digest: str) -> Mapping[str, Any]:
        content = self.transport.pull(path, float(self.timeout_s))
        if hashlib.sha256(content).hexdigest() != digest:
            raise Lost(f"the result on {self.transport.name} did not arrive as it was sent")
        return json.loads(content)

    def _death(self, heard: "_Heard", done: Finished) -> str:
        """Why there is no result, in one line."""
        doing = "loading this network" if heard.loading else "measuring" if heard.measuring else "getting ready"
        if done.code == 128 + signal.SIGALRM:
            return (
                f"{doing} took longer than {self.timeout_s} s; raise the board's `timeout_s` or lower `rounds`, `batch`"
            )
        if done.code > 128:
            way = "did it run out of memory? `batch` says how many networks are loaded at a time"
            return f"the worker on {self.transport.name} was killed by signal {done.code - 128} while {doing}; {way}"
        return f"the worker on {self.transport.name} ended while {doing}: {done.last_words}"

    def _no_python(self, done: Finished) -> str:
        return (
            f"`{self.python}` on {self.transport.name} does not run the worker ({done.last_words}); install Python 3.9"
            " or later there, or give its path as the board's `python`"
        )

    def _shelf(self) -> Folder:
        return Folder(transport=self.transport, path=self.folder, timeout_s=float(self.timeout_s))

    @staticmethod
    def _job() -> str:
        return f"job-{uuid4().hex[:12]}"


@dataclass(kw_only=True)
class _Heard:
    """What a worker has said so far, line by line; other lines, as runtimes write them, are passed over."""

    progress: Callable[[int, int], None] | None = None
    facts: dict[str, Any] | None = None
    loading: str | None = None
    measuring: bool = False
    error: str | None = None
    done: str | None = None
    failed: dict[str, str] = field(default_factory=dict)

    def __call__(self, line: str) -> None:
        try:
            said = json.loads(line) if line.startswith("{") else None
        except ValueError:
            return
        match said:
            case {"event": "facts", **facts}:
                self.facts = facts
            case {"event": "loading", "network": name}:
                self.loading = name
            case {"event": "failed", "network": name, "reason": reason}:
                self.failed[name] = reason
            case {"event": "measuring"}:
                self.loading, self.measuring = None, True
            case {"event": "round", "done": rounds, "rounds": all_rounds} if self.progress:
                self.progress(rounds, all_rounds)
            case {"event": "error", "reason": reason}:
                self.error = reason
            case {"event": "done", "sha256": digest}:
                self.done = digest


def _worker_files() -> dict[str, bytes]:
    """The worker, and the loop that it shares with this machine."""
    here = Path(__file__).parent
    return {path.name: path.read_bytes() for path in (here / "worker.py", here.parent / "measuring" / "turns.py")}

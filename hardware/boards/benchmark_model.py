"""A board without Python, as phones are: TFLite's own `benchmark_model` times there, and this machine keeps the rounds.

Tested with a stand-in that prints what the real tool does; never tried on a real phone.
"""

import random
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from uuid import uuid4

from hardware.boards.folder import MB, Folder, check_artifacts, check_folder, file_name
from hardware.boards.transport import Lost, Overdue, Refused, Transport, unanswered
from hardware.measuring.protocol import Failure, Protocol, Timing
from hardware.runtimes.artifact import Artifact

_STEP_S = 60.0


class _Wrong(ValueError):
    """One network's turn gave no time."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkModel:
    """Each turn of a network is one call of the tool, which warms up by itself; its least run counts, as everywhere.

    Differs from `hardware/measuring/turns.py`: every turn loads the network anew, disturbed rounds are not taken again
    (`redo`), and the tool's clock has whole microseconds, so a network should take 0.1 ms or more.

    Attributes:
      transport: the way to the board.
      program: the tool on the board; its file is part of the runtime's version.
      threads: how many a network may use; as the target's.
      flags: more of the tool's, e.g. `--use_gpu=true`; they are part of the runtime's version too.
      folder: where files lie on the board: on phones within `/data/local/tmp`.
      timeout_s: how long one turn may take, and each copying of files.
      reserve_mb: room that must stay free on the board's disk, 10^6 bytes.
      cache_mb: what networks may take there, of earlier batches too; the least recently copied go first.

    Raises:
      ValueError: on settings that cannot be.
    """

    transport: Transport
    program: str = "/data/local/tmp/benchmark_model"
    threads: int = 1
    flags: tuple[str, ...] = ()
    folder: str = "/data/local/tmp/edgenas"
    timeout_s: int = 300
    reserve_mb: int = 64
    cache_mb: int = 512

    def __post_init__(self) -> None:
        for name, least in {"threads": 1, "timeout_s": 1, "reserve_mb": 0, "cache_mb": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be {least} or more, got {getattr(self, name)}")
        wrong = [flag for flag in self.flags if not re.fullmatch(r"--\w+=\S*", flag)]
        if wrong:
            raise ValueError(f"`flags` must each be written --name=value, got `{wrong[0]}`")
        check_folder(self.folder)

    def host(self) -> str:
        """The phone's maker and model, cores and system; see `Bench`."""
        return self._facts[0]

    def version(self) -> str:
        """The start of the SHA-256 of the tool's file, which names no version, and the flags; see `Bench`."""
        return self._facts[2]

    @cached_property
    def _facts(self) -> tuple[str, int, str]:
        """Host, cores and version; asked once."""
        command = (
            f"sha256sum {shlex.quote(self.program)} || exit 1; nproc; uname -sm;"
            " getprop ro.product.manufacturer 2>/dev/null; getprop ro.product.model 2>/dev/null"
        )
        try:
            done = self.transport.run(command, _STEP_S)
        except Overdue as error:
            raise unanswered(self.transport.name, error) from error
        lines = [line.strip() for line in done.output.decode(errors="replace").splitlines()]
        if done.code == 1 or len(lines) < 3 or not lines[1].isdigit():
            raise ValueError(
                f"{self.transport.name} has no `{self.program}` ({done.last_words}); copy TFLite's `benchmark_model`"
                " for it there and make it executable (`chmod +x`), or give its path as `program`"
            )
        digest, cores, system, *model = lines
        if self.threads > int(cores):
            raise ValueError(f"`threads` must be 1 to {cores} (the cores of {self.transport.name}), got {self.threads}")
        host = f"{' '.join(model) or 'unknown board'}, {cores} cores, {system}"
        return host, int(cores), " ".join(["benchmark_model", digest[:12], *self.flags])

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
        left = check_artifacts(artifacts, "tflite", reference)
        _, cores, _ = self._facts  # whoever cannot be asked cannot measure
        job = f"job-{uuid4().hex[:12]}"
        shelf = Folder(transport=self.transport, path=self.folder, timeout_s=float(self.timeout_s))
        failures: dict[str, str] = {}
        held = shelf.open(job)
        try:
            sizes = {"reserve_bytes": self.reserve_mb * MB, "cache_bytes": self.cache_mb * MB}
            failures |= shelf.stock(job, held, left, {}, **sizes)
            samples: dict[str, list[float]] = {name: [] for name in left if name not in failures}
            chance = random.Random(protocol.seed)
            for done in range(1, protocol.rounds + 1):
                order = [name for name in samples if name not in failures]
                chance.shuffle(order)
                for name in order:
                    try:
                        samples[name].append(self._turn_ms(left[name], protocol, cores))
                    except (_Wrong, Overdue) as error:
                        failures[name] = str(error)
                        if name == reference:
                            raise ValueError(f"the reference network cannot be timed: {error}") from error
                if progress:
                    progress(done, protocol.rounds)
        except (Lost, Overdue, Refused) as error:  # a turn's own has been caught; this is of copying
            what = f"{self.transport.name}: {error}; raise `timeout_s`" if isinstance(error, Overdue) else str(error)
            lost = dict.fromkeys(left, f"{what}; run it again to measure what is left")
            return {name: Failure(reason=reason) for name, reason in {**lost, **failures}.items()}
        finally:
            shelf.close(job)
        whole = {name: times for name, times in samples.items() if name not in failures}
        raw = {"samples_ms": whole, "failures": failures}
        return protocol.timings(raw, reference=reference, reference_ms=reference_ms)

    def _turn_ms(self, artifact: Artifact, protocol: Protocol, cores: int) -> float:
        """The least run of one turn, ms.

        Raises:
          _Wrong: when the tool gives no time.
          Overdue: when it takes too long.
          Lost: when the board goes away.
        """
        arguments = [
            *(["taskset", f"{1 << cores - 1:x}"] if protocol.pin else []),
            self.program,
            f"--graph={self.folder}/files/{file_name(artifact)}",
            f"--num_threads={self.threads}",
            f"--warmup_runs={protocol.warm_up}",
            "--warmup_min_secs=0",
            f"--num_runs={protocol.runs_per_round}",
            f"--min_secs={protocol.min_sample_ms / 1000:g}",
            f"--max_secs={self.timeout_s}",
            *self.flags,
        ]
        try:
            done = self.transport.run(f"{shlex.join(arguments)} 2>&1; exit $?", float(self.timeout_s))
        except Overdue as error:
            raise Overdue(f"a turn is {error}; raise the board's `timeout_s` or leave the network out") from error
        us = least_us(done.output.decode(errors="replace"))
        if done.code or us is None:
            raise _Wrong(f"benchmark_model gives no time (exit code {done.code}): {done.last_words}")
        return us / 1000


def least_us(output: str) -> int | None:
    """The least of the runs that count, in microseconds, of what the tool printed; None where it did not get so far.

    References:
      BenchmarkModel::Run and Stat::OutputToStream of TensorFlow Lite's tools/benchmark.
    """
    told, end, _ = output.rpartition("Inference timings in us:")
    counts = re.findall(r"\bcount=\d+ .*", told) if end else []  # of the runs that warm up, then of those that count
    if not counts:
        return None
    least = re.search(r"\bmin=(\d+)", counts[-1]) or re.search(r"\bcurr=(\d+)", counts[-1])  # alike: only `curr`
    return int(least[1]) if least else None

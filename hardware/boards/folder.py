"""The folder on a board: networks by their SHA-256, kept as long as there is room, and one folder a job.

<folder>/files/network-<sha256>.<format>    whole, for they are moved here once they have arrived
<folder>/job-<id>/                          what one job needs and gives; gone when it ends, or after a day
<folder>/lock                               held by the worker that measures
"""

import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from hardware.boards.transport import Overdue, Refused, Transport, unanswered
from hardware.runtimes.artifact import Artifact

_FILE = re.compile(r"^-\S+\s+\d+\s+\d+\s+\d+\s+(\d+)\s.*\s(network-[0-9a-f]{64}\.\w+)\s*$", re.MULTILINE)  # ls -ln
_FREE = re.compile(r"\s\d+\s+\d+\s+(-?\d+)\s+(?:\d+%|-)\s+/")  # 1024-byte blocks: all, used, free, share, where
_STEP_S = 120.0  # for what touches few files
MB = 1_000_000
_PATH = re.compile(r"[\w./][\w./ +-]*")


def check_folder(path: str) -> None:
    """Refuses a folder that a board's shell would read as something else.

    Raises:
      ValueError: when it is none.
    """
    if not _PATH.fullmatch(path):
        raise ValueError(
            f"`folder` must be a path on the board, absolute or relative to where its user logs in, got `{path}`"
        )


def check_artifacts(artifacts: Mapping[str, Artifact], wanted: str, reference: str) -> dict[str, Artifact]:
    """The networks, the reference first.

    Raises:
      ValueError: when it is not among them, or one is of a format that the board does not run.
    """
    if reference not in artifacts:
        raise ValueError(f"the reference `{reference}` must be one of the networks {list(artifacts)[:5]}")
    for name, artifact in artifacts.items():
        if artifact.format != wanted:
            raise ValueError(
                f"the board runs files of format `{wanted}`, and `{name}` is `{artifact.format}`;"
                " give the target the runtime that writes what its board runs"
            )
    return {reference: artifacts[reference], **artifacts}


class Held(NamedTuple):
    """What lies on a board.

    Attributes:
      files: sizes in bytes by name, the most recently used first.
      free_bytes: room that is left on its disk.
    """

    files: dict[str, int]
    free_bytes: int


class Plan(NamedTuple):
    """How a batch of files gets onto a board.

    Attributes:
      drop: older files to remove first.
      send: files to copy.
      refused: files that there is no room for.
    """

    drop: tuple[str, ...]
    send: tuple[str, ...]
    refused: tuple[str, ...]


def file_name(artifact: Artifact) -> str:
    """What a network's file is called on a board."""
    return f"network-{artifact.sha256}.{artifact.format}"


def plan(needed: Mapping[str, int], held: Held, *, reserve_bytes: int, cache_bytes: int) -> Plan:
    """Which files to remove and which to copy.

    Args:
      needed: sizes in bytes by name, the most important first.
      held: what is there. A file of another size is not the one that is needed.
      reserve_bytes: room that has to stay free.
      cache_bytes: what all files may take; those that the batch needs stay in any case.
    """
    missing = [name for name, size in needed.items() if held.files.get(name) != size]
    others = [name for name in held.files if name not in needed]  # least recently used: the last
    free, taken = held.free_bytes - reserve_bytes, sum(needed.values()) + sum(held.files[name] for name in others)
    drop, send, refused = [], [], []
    while others and taken > cache_bytes:
        drop.append(others.pop())
        taken -= held.files[drop[-1]]
        free += held.files[drop[-1]]
    for name in missing:
        if needed[name] > free + sum(held.files[other] for other in others):
            refused.append(name)
            continue
        while needed[name] > free:
            drop.append(others.pop())
            free += held.files[drop[-1]]
        send.append(name)
        free -= needed[name]
    return Plan(tuple(drop), tuple(send), tuple(refused))


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder on a board, and the way there.

    Attributes:
      transport: the way.
      path: absolute, or relative to where commands start.
      timeout_s: how long copying may take.
    """

    transport: Transport
    path: str
    timeout_s: float

    def open(self, job: str) -> Held:
        """Makes it and the folder of a job, removes what jobs of earlier days left behind, and says what is there.

        Raises:
          Lost: when the board does not answer.
          Refused: when nothing can be written.
        """
        command = (
            f"mkdir -p {self._in('files')} {self._in(job)} && cd {self._in('files')} || exit 1;"
            " find .. -maxdepth 1 -name 'job-*' -mtime +0 -exec rm -rf {} + 2>/dev/null;"
            " df -Pk . && ls -lnt"
        )
        try:
            done = self.transport.run(command, _STEP_S)
        except Overdue as error:
            raise unanswered(self.transport.name, error) from error
        text = done.output.decode(errors="replace")
        free = _FREE.search(text)
        if free is None:
            raise Refused(
                f"{self.transport.name} cannot use the folder `{self.path}`: {done.last_words};"
                " give another `folder`, where there is room and you may write"
            )
        return Held({name: int(size) for size, name in _FILE.findall(text)}, 1024 * int(free[1]))

    def stock(
        self,
        job: str,
        held: Held,
        artifacts: Mapping[str, Artifact],
        others: dict[str, bytes],
        *,
        reserve_bytes: int,
        cache_bytes: int,
    ) -> dict[str, str]:
        """Copies what a job needs and is not there yet.

        Args:
          job: whose folder is open.
          held: what `open` found.
          artifacts: networks by name, the reference first.
          others: files for the job's own folder.
          reserve_bytes: as of `plan`.
          cache_bytes: as of `plan`.

        Returns:
          By name, why there is no room for a network; of the others the files are there.

        Raises:
          ValueError: when there is no room for the reference.
          Lost: when the board goes away.
          Overdue: when it takes too long.
          Refused: when it cannot be written.
        """
        files = {file_name(artifact): artifact.content for artifact in artifacts.values()}
        sizes = {name: len(content) for name, content in files.items()}
        todo = plan(sizes, held, reserve_bytes=reserve_bytes, cache_bytes=cache_bytes)
        reasons = {
            name: f"no room on {self.transport.name} for its {sizes[file]:,} bytes: {held.free_bytes:,} are free, of"
            f" which {reserve_bytes:,} must stay so (`reserve_mb`); make room there"
            for name, artifact in artifacts.items()
            if (file := file_name(artifact)) in todo.refused
        }
        if next(iter(artifacts)) in reasons:
            raise ValueError(f"the reference network: {reasons[next(iter(artifacts))]}")
        if todo.drop:
            self.transport.run(f"cd {self._in('files')} && rm -f {' '.join(todo.drop)}", _STEP_S)
        sent = {name: files[name] for name in todo.send}
        self.send(job, others | sent, then="mv network-* ../files/" if sent else "true")
        return reasons

    def send(self, job: str, files: Mapping[str, bytes], then: str = "true") -> None:
        """Copies files into the folder of a job; otherwise as `Transport.push`."""
        if files:
            self.transport.push(files, f"{self.path}/{job}", self.timeout_s, then)

    def close(self, job: str) -> None:
        """Removes the folder of a job; of a board that is gone, the next `open` will."""
        with suppress(ValueError):
            self.transport.run(f"rm -rf {self._in(job)}", _STEP_S)

    def _in(self, name: str) -> str:
        return shlex.quote(f"{self.path}/{name}")

"""How this machine reaches a board: files go there, commands run there, files come back."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable


class Lost(ValueError):
    """The board does not answer, or went away in the middle; says what to look at."""


class Overdue(ValueError):
    """A command took longer than it was given."""


def unanswered(name: str, error: Overdue) -> Lost:
    """The error of a board that was asked something small and took too long over it."""
    return Lost(f"{name} does not answer: {error}; see whether it hangs or is at work, and run it again")


class Refused(ValueError):
    """The board answers, but does not do what it was asked to; says why."""


class Finished(NamedTuple):
    """A command that has ended.

    Attributes:
      code: its exit code; 0 is success, 127 an unknown command, 128 + n that signal n ended it.
      output: what it wrote to its standard output.
      errors: the end of what it wrote to its standard error.
    """

    code: int
    output: bytes
    errors: str

    @property
    def first_words(self) -> str:
        """The first line that it wrote, of its errors if there are any: what `tar` and `adb` stumbled over."""
        return self._told()[0]

    @property
    def last_words(self) -> str:
        """The last line that it wrote, of its errors if there are any: what Python and `ssh` ended with."""
        return self._told()[-1]

    def _told(self) -> list[str]:
        text = self.errors.strip() or self.output.decode(errors="replace").strip()
        return [line.strip() for line in text.splitlines()] or [f"exit code {self.code}"]


@runtime_checkable
class Transport(Protocol):
    """A way to a board, as `ssh.py` and `adb.py` have one.

    Paths on the board are as its shell takes them; where one is relative, it is so to where a command starts.
    """

    @property
    def name(self) -> str:
        """The board in a message, e.g. `pi@raspberrypi`."""
        ...

    def push(self, files: Mapping[str, bytes], folder: str, timeout_s: float, then: str = "true") -> None:
        """Writes files into a folder that is there already.

        A file may be left half written where this raises, so nothing may read it before `then` has moved it.

        Args:
          files: content by name.
          folder: on the board.
          timeout_s: how long all of them may take.
          then: a command for the board's shell, run in that folder once all files are whole.

        Raises:
          Lost: when the board goes away.
          Overdue: when the time is up.
          Refused: when they cannot be written, as on a full disk.
        """
        ...

    def pull(self, path: str, timeout_s: float) -> bytes:
        """A file of the board.

        Raises:
          Lost: when the board goes away.
          Overdue: when the time is up.
          Refused: when it is not there.
        """
        ...

    def run(self, command: str, timeout_s: float, on_line: Callable[[str], None] | None = None) -> Finished:
        """Runs a command in the board's shell (POSIX `sh`).

        Args:
          command: quoted for that shell.
          timeout_s: how long it may take.
          on_line: called with each line of its output as it comes.

        Raises:
          Lost: when the board goes away; whether the command goes on there is unknown.
          Overdue: when the time is up; likewise.
        """
        ...

"""A phone or board with Android, reached by `adb` over USB or the network.

Tested with a stand-in for `adb` that works on a local folder; never tried on a real phone.
"""

import re
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware.boards.program import run_program
from hardware.boards.transport import Finished, Lost, Refused

_CODE = re.compile(r"edgenas-exit:(\d+)\s*$")
_GONE = re.compile(  # of adb itself, about the board
    r"no devices/emulators found|device offline|device unauthorized|device '.*' not found|device not found"
    r"|more than one device|device still (authorizing|connecting)|no permissions|cannot connect to daemon"
    r"|protocol fault|connection reset|failed to (connect|get feature set)|^error: closed$",
    re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class Adb:
    """Every call is one call of `adb`.

    The exit code of a command is written behind its output, for phones before Android 7 always end with 0; where it is
    missing, the phone went away in the middle.

    Attributes:
      serial: as `adb devices` shows it; None where only one is connected.
      program: the `adb` to call.

    Raises:
      ValueError: on a serial with blanks.
    """

    serial: str | None = None
    program: str = "adb"

    def __post_init__(self) -> None:
        if self.serial is not None and not re.fullmatch(r"[^\s-]\S*", self.serial):
            raise ValueError(f"`serial` must be as `{self.program} devices` shows it, got `{self.serial}`")

    @property
    def name(self) -> str:
        """The serial, where there is one."""
        return f"the phone `{self.serial}`" if self.serial else "the phone"

    def push(self, files: Mapping[str, bytes], folder: str, timeout_s: float, then: str = "true") -> None:
        """See `Transport`."""
        with tempfile.TemporaryDirectory(prefix="edgenas-") as place:
            for name, content in files.items():
                Path(place, name).write_bytes(content)
            done = self._call(["push", *(str(Path(place, name)) for name in files), f"{folder}/"], timeout_s)
        if done.code == 0 and then != "true":
            done = self.run(f"cd {shlex.quote(folder)} && {then}", timeout_s)
        if done.code:
            raise Refused(f"{self.name} cannot write {len(files)} files to `{folder}`: {done.first_words}")

    def pull(self, path: str, timeout_s: float) -> bytes:
        """See `Transport`."""
        with tempfile.TemporaryDirectory(prefix="edgenas-") as place:
            local = Path(place, "pulled")
            done = self._call(["pull", path, str(local)], timeout_s)
            if done.code or not local.is_file():
                raise Refused(f"{self.name} cannot read `{path}`: {done.last_words}")
            return local.read_bytes()

    def run(self, command: str, timeout_s: float, on_line: Callable[[str], None] | None = None) -> Finished:
        """See `Transport`."""

        def plain(line: str) -> None:
            if on_line and (text := _CODE.sub("", line)):
                on_line(text)

        marked = f"sh -c {shlex.quote(command)}; echo edgenas-exit:$?"
        done = self._call(["shell", marked], timeout_s, plain)
        text = done.output.decode(errors="replace").replace("\r\n", "\n")
        code = _CODE.search(text)
        if code is None:
            raise self._lost(done.last_words)
        return Finished(int(code[1]), text[: code.start()].encode(), done.errors)

    def _call(self, words: Sequence[str], timeout_s: float, on_line: Callable[[str], None] | None = None) -> Finished:
        done = run_program(
            [self.program, *(["-s", self.serial] if self.serial else []), *words],
            missing="install it (`apt-get install adb`) or give its path as `program`",
            timeout_s=timeout_s,
            on_line=on_line,
        )
        told = done.errors  # of a push or pull, adb tells some of it on its output, which is the board's for a command
        told += "" if words[0] == "shell" else done.output.decode(errors="replace")
        if done.code and (match := _GONE.search(told)):
            line = next(line for line in told.splitlines() if match[0] in line)
            raise self._lost(line.strip())
        return done

    def _lost(self, said: str) -> Lost:
        return Lost(
            f"{self.name} cannot be reached ({said}); `{self.program} devices` must list"
            f" {f'`{self.serial}`' if self.serial else 'exactly one'} as `device`: plug it in, allow USB debugging on"
            " it, or give another `serial`"
        )

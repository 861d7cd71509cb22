"""A board that is reached by OpenSSH's client, as its user would reach it by hand.

Tested against a real `sshd` on the same machine; never on a board of another make.
"""

import io
import re
import shlex
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hardware.boards.program import run_program
from hardware.boards.transport import Finished, Lost, Refused

_FAILED = 255  # what ssh itself ends with, when it is not the command's own code


@dataclass(frozen=True, kw_only=True)
class Ssh:
    """Every call is one connection that asks for no password; the settings of `~/.ssh/config` hold.

    Files go as a tar stream and come through `cat`, so the board needs no more than a shell and `tar`: small servers
    such as Dropbear bring no scp.

    Attributes:
      host: name or address, or a `Host` of `~/.ssh/config`.
      user: None for what ssh takes by itself.
      port: None likewise.
      identity: file of the private key; None likewise.
      known_hosts: file with the board's host key, which must then be there; None for ssh's own rule.
      connect_timeout_s: how long a connection may take to come about.
      alive_s: after three times as long without a sign of life, a connection counts as lost.
      options: more options, each as `-o` takes it, e.g. `ProxyJump=gate`.
      program: the client.

    Raises:
      ValueError: on what ssh would read as something else.
    """

    host: str
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    known_hosts: str | None = None
    connect_timeout_s: int = 10
    alive_s: int = 5
    options: tuple[str, ...] = ()
    program: str = "ssh"

    def __post_init__(self) -> None:
        for name, pattern in (("host", r"[\w.:%][\w.:%-]*"), ("user", r"[\w.][\w.@\\-]*")):
            value = getattr(self, name)
            if value is not None and not re.fullmatch(pattern, value):
                raise ValueError(f"`{name}` must be a plain name, like `raspberrypi.local` or `pi`, got `{value}`")
        if self.port is not None and not 1 <= self.port <= 65535:
            raise ValueError(f"`port` must be 1 to 65535, got {self.port}")
        for name in ("connect_timeout_s", "alive_s"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be 1 or more, got {getattr(self, name)}")

    @property
    def name(self) -> str:
        """User and host, and the port where one is set."""
        host = self.host if self.port is None else f"{self.host}:{self.port}"
        return f"{self.user}@{host}" if self.user else host

    def arguments(self) -> list[str]:
        """The client and its options, up to the command."""
        options = [
            "BatchMode=yes",
            f"ConnectTimeout={self.connect_timeout_s}",
            f"ServerAliveInterval={self.alive_s}",
            "ServerAliveCountMax=3",
            "LogLevel=ERROR",
        ]
        if self.known_hosts:
            options += [f'UserKnownHostsFile="{self.known_hosts}"', "StrictHostKeyChecking=yes"]
        found = [self.program, "-T"]
        for option in (*options, *self.options):
            found += ["-o", option]
        if self.port:
            found += ["-p", str(self.port)]
        if self.identity:
            found += ["-i", self.identity, "-o", "IdentitiesOnly=yes"]
        if self.user:
            found += ["-l", self.user]
        return [*found, self.host]

    def push(self, files: Mapping[str, bytes], folder: str, timeout_s: float, then: str = "true") -> None:
        """See `Transport`."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        done = self._call(f"cd {shlex.quote(folder)} && tar -xf - -o && {then}", timeout_s, stdin=packed.getvalue())
        if done.code:
            raise Refused(f"{self.name} cannot write {len(files)} files to `{folder}`: {done.first_words}")

    def pull(self, path: str, timeout_s: float) -> bytes:
        """See `Transport`."""
        done = self.run(f"cat {shlex.quote(path)}", timeout_s)
        if done.code:
            raise Refused(f"{self.name} cannot read `{path}`: {done.last_words}")
        return done.output

    def run(self, command: str, timeout_s: float, on_line: Callable[[str], None] | None = None) -> Finished:
        """See `Transport`; the user's login shell may be another than `sh`, the command's is not."""
        return self._call(command, timeout_s, on_line=on_line)

    def _call(
        self, command: str, timeout_s: float, *, stdin: bytes = b"", on_line: Callable[[str], None] | None = None
    ) -> Finished:
        done = run_program(
            [*self.arguments(), f"exec sh -c {shlex.quote(command)}"],
            missing="install OpenSSH's client (`apt-get install openssh-client`)",
            timeout_s=timeout_s,
            stdin=stdin,
            on_line=on_line,
        )
        if done.code == _FAILED:
            by_hand = shlex.join([*self.arguments(), "true"])
            raise Lost(f"{self.name} cannot be reached ({done.last_words}); this must work by hand: {by_hand}")
        return done

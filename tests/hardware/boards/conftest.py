"""A board that is this machine, behind a real sshd; and an `adb` that works on a local folder."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hardware.boards.ssh import Ssh
from hardware.export.weights import random_weights
from search_spaces.graph import Graph

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def network(channels):
    """A tiny network; more channels make another."""
    graph = Graph((8, 8, 3))
    x = graph.activation(graph.conv(0, channels, "stem", kernel=3), "relu")
    graph.dense(graph.global_pool(x), 2, "head")
    layers = tuple(graph.layers)
    return layers, random_weights(layers)


@pytest.fixture(scope="session")
def networks():
    """Three tiny networks."""
    return {f"n{channels}": network(channels) for channels in (4, 6, 8)}


class Server:
    """An sshd of our own: its own keys, a high port, and no one's settings but ours."""

    def __init__(self, folder):
        self.folder, self.process = folder, None
        for name in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        host_key = (folder / "host_key.pub").read_text()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile {folder}/sshd.pid\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nLogLevel ERROR\n"
        )

    def start(self):
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where a server that root runs shuts itself in
        arguments = [SSHD, "-D", "-f", self.folder / "sshd_config", "-E", self.folder / "log"]
        self.process = subprocess.Popen(arguments)
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self):
        """Ends it with all its connections, as pulling the plug does."""
        if self.process is None:
            return
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True
        ).stdout.split()
        self.process.kill()
        self.process.wait()
        for child in children:
            os.kill(int(child), 9)
        self.process = None


@pytest.fixture(scope="session")
def _server(tmp_path_factory):
    if SSHD is None:
        pytest.skip("no sshd to be a board's: `apt-get install openssh-server`")
    server = Server(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture
def server(_server):
    """The server, running; a test may stop it."""
    if _server.process is None:
        _server.start()
    return _server


@pytest.fixture
def ssh(server):
    """The way to it."""
    return Ssh(
        host="127.0.0.1",
        user=getpass.getuser(),
        port=server.port,
        identity=str(server.folder / "user_key"),
        known_hosts=str(server.folder / "known_hosts"),
    )

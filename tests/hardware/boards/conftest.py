"""A board that is this machine, behind a real sshd; and an `adb` that works on a local folder."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hardware.boards.adb import Adb
from hardware.boards.ssh import Ssh
from hardware.export.weights import random_weights
from hardware.runtimes.artifact import Artifact
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
        """Ends it with its connections and all that runs there, as pulling the plug does."""
        if self.process is None:
            return
        with suppress(psutil.NoSuchProcess):
            for each in [*psutil.Process(self.process.pid).children(recursive=True), self.process]:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        self.process.wait()
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
def plain_ssh(server):
    """The way to it, one connection a call."""
    return Ssh(
        host="127.0.0.1",
        user=getpass.getuser(),
        port=server.port,
        identity=str(server.folder / "user_key"),
        known_hosts=str(server.folder / "known_hosts"),
    )


@pytest.fixture
def ssh(plain_ssh):
    """The way to it, one connection for all calls, as README.md has it: quicker."""
    with tempfile.TemporaryDirectory(prefix="edgenas-") as place:  # short, for sockets' names may not be long
        way = replace(plain_ssh, options=("ControlMaster=auto", f"ControlPath={place}/%C", "ControlPersist=60"))
        yield way
        subprocess.run([*way.arguments()[:-1], "-O", "exit", way.host], capture_output=True)


RUNTIME = '''
"""Stands for onnxruntime: runs anything in no time, but dies of some files and never ends with others."""
import os, time
__version__ = "0.9.1"
class ExecutionMode: ORT_SEQUENTIAL = 0
class GraphOptimizationLevel: ORT_ENABLE_ALL = 99
class SessionOptions:
    def add_session_config_entry(self, name, value): pass
class Tensor: name, shape = "image", [1, 3, 8, 8]
class Binding:
    def bind_cpu_input(self, name, values): pass
    def bind_output(self, name, where): pass
class InferenceSession:
    def __init__(self, model, options, providers):
        if b"deadly" in model: os.kill(os.getpid(), 9)
        if b"endless" in model: time.sleep(60)
        if b"refused" in model: raise RuntimeError("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model failed")
        self.pause = 0.01 if b"slow" in model else 0.0001
    def get_inputs(self): return [Tensor]
    get_outputs = get_inputs
    def io_binding(self): return Binding()
    def run_with_iobinding(self, binding): time.sleep(self.pause)
'''


@pytest.fixture
def python_with(tmp_path):
    """A Python that finds the given onnxruntime first."""

    def make(runtime):
        folder = tmp_path / "python dir"
        folder.mkdir()
        (folder / "onnxruntime.py").write_text(runtime)
        script = folder / "python"
        script.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
        script.chmod(0o755)
        return str(script)

    return make


@pytest.fixture
def quick_python(python_with):
    """A Python whose onnxruntime is a stand-in."""
    return python_with(RUNTIME)


@pytest.fixture
def artifact():
    """Makes a file that stands for a network."""
    return lambda content, kind="onnx": Artifact(content=content, format=kind, precision="fp32", input_shape=(8, 8, 3))


@pytest.fixture
def eavesdropper():
    """Wraps a transport."""
    return Eavesdropper


class Eavesdropper:
    """A transport that shows each line to `act` before the board hears it, and keeps all lines."""

    def __init__(self, transport, act=lambda line: None):
        self.transport, self.act, self.lines = transport, act, []
        self.name, self.push, self.pull = transport.name, transport.push, transport.pull

    def run(self, command, timeout_s, on_line=None):
        def heard(line):
            self.lines.append(line)
            self.act(line)
            if on_line:
                on_line(line)

        return self.transport.run(command, timeout_s, heard)


ADB = '''#!{python}
"""Stands for adb: the phone is this machine's folders. `ADB_MODE` says what is wrong with it."""
import os, shutil, subprocess, sys
mode, words = os.environ.get("ADB_MODE", ""), sys.argv[1:]
def fail(text, code=1):
    print(text, file=sys.stderr)
    sys.exit(code)
if words[0] == "-s":
    if words[1] != "phone1": fail(f"error: device '{{words[1]}}' not found")
    words = words[2:]
if mode == "absent" and words[0] == "shell": fail("error: no devices/emulators found")
if mode == "absent":
    print("adb: error: failed to get feature set: no devices/emulators found")  # as version 29.0.6 does: no error
    sys.exit(1)
if mode == "offline": fail("error: device offline")
if mode == "unauthorized":
    fail("error: device unauthorized.\\nThis adb server's $ADB_VENDOR_KEYS is not set\\nTry 'adb kill-server'")
verb, words = words[0], words[1:]
if verb == "shell":
    done = subprocess.run(["sh", "-c", words[0]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    out = done.stdout.replace(b"\\n", b"\\r\\n")  # as old phones' terminals do
    if mode == "unplugged": out = out[: len(out) // 2]
    sys.stdout.buffer.write(out)
    sys.exit(0)  # of old phones, whatever the command ended with
if verb == "push":
    for path in words[:-1]:
        if mode == "full":
            fail(f"adb: error: failed to copy '{{path}}' to '{{words[-1]}}': remote No space left on device")
        shutil.copy(path, words[-1])
    print(f"{{len(words) - 1}} files pushed, 0 skipped. 11.2 MB/s (14 bytes in 0.001s)")
if verb == "pull":
    try: shutil.copy(words[0], words[1])
    except OSError: fail(f"adb: error: failed to stat remote object '{{words[0]}}': No such file or directory")
    print(f"{{words[0]}}: 1 file pulled, 0 skipped. 0.0 MB/s (14 bytes in 0.003s)")
'''


@pytest.fixture
def adb(tmp_path, monkeypatch):
    """The way to a phone that is this machine."""
    monkeypatch.delenv("ADB_MODE", raising=False)
    script = tmp_path / "adb"
    script.write_text(ADB.format(python=sys.executable))
    script.chmod(0o755)
    return Adb(program=str(script))

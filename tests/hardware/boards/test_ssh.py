"""The way over SSH, to a real sshd on this machine."""

from dataclasses import replace

import pytest

from hardware.boards.ssh import Ssh
from hardware.boards.transport import Lost, Overdue, Refused


def test_files_and_commands_get_there_and_back(ssh, tmp_path):
    content = {"a": bytes(range(256)) * 5000, "empty": b""}  # more than a pipe holds, and no text
    folder = tmp_path / "a folder; with 'blanks'"
    folder.mkdir()
    ssh.push(content, str(folder), 30.0, "mv a b")
    assert (folder / "b").read_bytes() == content["a"]
    assert ssh.pull(f"{folder}/b", 30.0) == content["a"]
    assert ssh.pull(f"{folder}/empty", 30.0) == b""
    lines = []
    done = ssh.run("echo one; echo 'it''s two' >&2; echo \"$HOME\" three; exit 7", 30.0, lines.append)
    assert done.code == 7
    assert lines[0] == "one"
    assert lines[1].endswith(" three")
    assert done.errors == "its two\n"


def test_what_ends_by_a_signal_is_no_lost_connection(ssh):
    # ssh itself ends with 255 when what it ran was killed, as when the connection is lost: so a shell stays above.
    assert ssh.run("sh -c 'kill -9 $$'; exit $?", 30.0).code == 128 + 9


def test_what_the_board_refuses_is_told(ssh, tmp_path):
    with pytest.raises(Refused, match=r"cannot write 1 files to `/nowhere`: .*/nowhere"):
        ssh.push({"a": b""}, "/nowhere", 30.0)
    with pytest.raises(Refused, match=r"cannot read `\S*/missing`: .*No such file"):
        ssh.pull(f"{tmp_path}/missing", 30.0)


def test_what_takes_too_long_is_ended(ssh):
    with pytest.raises(Overdue, match=r"not done after 0.5 s"):
        ssh.run("sleep 20", 0.5)


def test_a_board_that_does_not_let_us_in_is_lost(plain_ssh, server, tmp_path):
    with pytest.raises(
        Lost, match=r"127.0.0.1:\d+ cannot be reached \(.*Permission denied \(publickey\).*by hand: ssh"
    ):
        replace(plain_ssh, identity=str(server.folder / "host_key")).run("true", 30.0)
    (tmp_path / "none").write_text("")
    with pytest.raises(Lost, match=r"Host key verification failed"):
        replace(plain_ssh, known_hosts=str(tmp_path / "none")).run("true", 30.0)
    server.stop()
    with pytest.raises(Lost, match=r"[Cc]onnection refused"):
        plain_ssh.run("true", 30.0)


def test_a_connection_that_breaks_is_lost(plain_ssh, server):
    with pytest.raises(Lost, match="cannot be reached"):
        plain_ssh.run("echo here; sleep 20", 30.0, lambda line: server.stop())


def test_a_client_that_is_missing_says_what_to_install(plain_ssh):
    with pytest.raises(
        ValueError, match=r"`no-ssh` cannot be run \(No such file or directory\); install OpenSSH's client"
    ):
        replace(plain_ssh, program="no-ssh").run("true", 30.0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": "-oProxyCommand=x"}, "`host` must be a plain name"),
        ({"host": "pi@board"}, "`host` must be a plain name"),
        ({"host": "b", "user": "-l"}, "`user` must be a plain name"),
        ({"host": "b", "port": 0}, "`port` must be 1 to 65535, got 0"),
        ({"host": "b", "alive_s": 0}, "`alive_s` must be 1 or more"),
    ],
)
def test_settings_are_checked(settings, said):
    with pytest.raises(ValueError, match=said):
        Ssh(**settings)


def test_a_host_of_the_users_own_settings_needs_no_more():
    # What is not set is left to ~/.ssh/config.
    assert Ssh(host="my-pi").arguments()[-1] == "my-pi"
    assert not {"-p", "-i", "-l"} & set(Ssh(host="my-pi").arguments())
    assert Ssh(host="10.0.0.2", user="pi", port=2222).name == "pi@10.0.0.2:2222"

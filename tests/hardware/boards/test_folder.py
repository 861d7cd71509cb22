"""What lies on a board, and what must go where there is little room."""

import os
import time

import pytest

from hardware.boards.folder import Folder, Held, file_name, plan

MANY = 10**9


@pytest.fixture
def folder(adb, tmp_path):
    return Folder(transport=adb, path=str(tmp_path / "board"), timeout_s=30.0)


def test_only_what_is_missing_is_sent():
    held = Held({"a": 10, "b": 20}, free_bytes=100)
    todo = plan({"a": 10, "b": 25, "c": 30}, held, reserve_bytes=0, cache_bytes=MANY)
    assert todo == ((), ("b", "c"), ())  # `b` is of another size: it did not arrive whole


def test_old_files_go_for_new_ones_the_longest_unused_first():
    held = Held({"recent": 40, "old": 30, "oldest": 30}, free_bytes=50)
    # 50 free less 20 that must stay is 30; 45 are needed: the oldest makes it 60.
    assert plan({"new": 45}, held, reserve_bytes=20, cache_bytes=MANY) == (("oldest",), ("new",), ())
    # The cache may hold 100 in all: 45 and 40 leave no room for the others.
    assert plan({"new": 45}, held, reserve_bytes=0, cache_bytes=100) == (("oldest", "old"), ("new",), ())


def test_what_never_fits_is_refused_and_the_rest_is_not():
    held = Held({"old": 30, "mine": 5}, free_bytes=50)
    todo = plan({"mine": 5, "huge": 81, "small": 60}, held, reserve_bytes=0, cache_bytes=MANY)
    assert todo == (("old",), ("small",), ("huge",))
    # What the batch needs is never dropped for its own sake, whatever the cache may hold.
    assert plan({"mine": 5}, held, reserve_bytes=0, cache_bytes=0) == (("old",), (), ())


def test_a_board_says_what_it_holds(folder, artifact, tmp_path):
    assert folder.open("job-1").files == {}
    networks = {name: artifact(name.encode() * size) for name, size in (("ref", 1), ("b", 200))}
    assert (
        folder.stock("job-1", folder.open("job-1"), networks, {"job.json": b"{}"}, reserve_bytes=0, cache_bytes=0) == {}
    )
    files = tmp_path / "board" / "files"
    os.utime(files / file_name(networks["ref"]), (0, 0))
    held = folder.open("job-2")
    assert list(held.files.items()) == [(file_name(networks["b"]), 200), (file_name(networks["ref"]), 3)]
    stat = os.statvfs(files)
    assert held.free_bytes == pytest.approx(stat.f_bavail * stat.f_frsize, rel=0.05)
    assert (tmp_path / "board" / "job-1" / "job.json").read_bytes() == b"{}"
    folder.close("job-1")
    assert not (tmp_path / "board" / "job-1").exists()


def test_what_a_lost_job_left_behind_goes_after_a_day(folder, tmp_path):
    folder.open("job-1")
    folder.open("job-2")
    long_ago = time.time() - 2 * 86400
    os.utime(tmp_path / "board" / "job-1", (long_ago, long_ago))
    folder.open("job-3")
    assert sorted(path.name for path in (tmp_path / "board").glob("job-*")) == ["job-2", "job-3"]


def test_a_file_that_broke_off_is_never_kept(folder, artifact, tmp_path, monkeypatch):
    held = folder.open("job-1")
    monkeypatch.setenv("ADB_MODE", "full")
    with pytest.raises(ValueError, match="No space left"):
        folder.stock("job-1", held, {"ref": artifact(b"ref")}, {}, reserve_bytes=0, cache_bytes=0)
    assert list((tmp_path / "board" / "files").iterdir()) == []


def test_a_network_that_does_not_fit_says_so(folder, artifact):
    held = folder.open("job-1")._replace(free_bytes=10)
    batch = {"ref": artifact(b"ref"), "big": artifact(b"b" * 1234)}
    reasons = folder.stock("job-1", held, batch, {}, reserve_bytes=0, cache_bytes=0)
    assert list(reasons) == ["big"]
    assert "no room on the phone for its 1,234 bytes: 10 are free" in reasons["big"]
    with pytest.raises(ValueError, match="the reference network: no room on the phone for its 3 bytes"):
        folder.stock(
            "job-1", held._replace(free_bytes=1), {"ref": artifact(b"REF")}, {}, reserve_bytes=0, cache_bytes=0
        )

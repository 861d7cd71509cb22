"""One program of this machine: all it says arrives, and it never outlives its time."""

import sys
import time

import pytest

from hardware.boards.program import run_program
from hardware.boards.transport import Overdue


def run(code, **settings):
    return run_program([sys.executable, "-c", code], missing="", **{"timeout_s": 30.0, **settings})


def test_lines_come_as_they_are_written():
    seen = []
    done = run(
        "import time; print('a', flush=True); time.sleep(0.5); print('b', end='')",
        on_line=lambda line: seen.append((line, time.monotonic())),
    )
    assert [line for line, _ in seen] == ["a", "b"]
    assert seen[1][1] - seen[0][1] > 0.2
    assert done.code == 0


def test_much_input_and_output_do_not_wait_for_each_other():
    big = bytes(range(256)) * 10_000
    done = run(
        "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()); print('e' * 10**6, file=sys.stderr)", stdin=big
    )
    assert done.output == big
    assert 0 < len(done.errors) <= 65_536
    assert run("print(1)", stdin=big).code == 0  # it need not read


def test_a_program_and_what_it_started_end_when_their_time_is_up(tmp_path):
    mark = tmp_path / "mark"
    code = f"import subprocess; subprocess.run(['sh', '-c', 'sleep 2; touch {mark}'])"
    with pytest.raises(Overdue, match=r"not done after 0\.5 s"):
        run(code, timeout_s=0.5)
    with pytest.raises(RuntimeError, match="enough"):
        run("import time\nwhile True: print(1, flush=True); time.sleep(0.1)", on_line=_enough)
    time.sleep(2)
    assert not mark.exists()


def test_a_server_that_it_leaves_behind_holds_nothing_up():
    begin = time.monotonic()
    done = run("import subprocess; print('done'); subprocess.Popen(['sleep', '20'])")  # it has our pipes
    assert done.output == b"done\n"
    assert time.monotonic() - begin < 15


def test_a_signal_is_told_as_shells_tell_it():
    assert run("import os; os.kill(os.getpid(), 15)").code == 143


def _enough(line):
    raise RuntimeError("enough")

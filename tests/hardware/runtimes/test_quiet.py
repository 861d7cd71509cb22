"""What libraries write to the standard error themselves is dropped for a while, and only for a while."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from hardware.runtimes.quiet import quiet


def test_the_descriptor_is_silent_meanwhile(capfd):
    os.write(2, b"before ")
    with quiet():
        os.write(2, b"during ")
    os.write(2, b"after")
    assert capfd.readouterr().err == "before after"


def test_errors_come_through_and_the_descriptor_comes_back(capfd):
    with pytest.raises(ValueError, match="as it was"), quiet():
        raise ValueError("as it was")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_threads_that_overlap_leave_the_descriptor_as_it_was(capfd):
    def run(number):
        with quiet():
            os.write(2, b"during ")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(50)))
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"

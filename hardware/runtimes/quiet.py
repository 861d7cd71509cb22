"""Keeps what libraries written in C++ chat about off the terminal; their errors come as exceptions all the same."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.RLock()  # two that overlap would put each other's descriptor back


@contextmanager
def quiet() -> Iterator[None]:
    """While it lasts, what this process writes to the standard error's file descriptor is dropped.

    Python's own `sys.stderr` writes there too, whatever thread it comes from: keep it around single calls.
    """
    with _ONE_AT_A_TIME:
        sys.stderr.flush()
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)

"""How many threads a runtime may be given."""

import os


def check_threads(threads: int) -> None:
    """Raises unless it is a number of threads.

    Raises:
      ValueError: when `threads` is below 1.
    """
    if threads < 1:
        raise ValueError(f"`threads` must be 1 or more, got {threads}")


def check_cores(threads: int) -> None:
    """Raises unless this machine has a core for each thread: on fewer, times would say nothing.

    Raises:
      ValueError: when `threads` is above this machine's cores.
    """
    cores = os.cpu_count() or 1
    if threads > cores:
        raise ValueError(f"`threads` must be 1 to {cores} (the cores of this machine), got {threads}")

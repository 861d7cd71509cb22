"""Times calls that take turns, so that what slows the machine for a while slows them all."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def interleaved(
    calls: Mapping[str, Callable[[], Any]], rounds: int, *, warm_up: int, seed: int
) -> dict[str, list[float]]:
    """Milliseconds of each call in each round; in every round all take a turn, in an order drawn anew.

    Args:
      calls: by name; each returns when its work is done.
      rounds: that count.
      warm_up: rounds before them, that don't.
      seed: of the orders.
    """
    rng = np.random.default_rng(seed)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(warm_up + rounds):
        for name in rng.permutation(list(calls)).tolist():
            begun = time.perf_counter()
            calls[name]()
            elapsed = (time.perf_counter() - begun) * 1e3
            if number >= warm_up:
                times[name].append(elapsed)
    return times

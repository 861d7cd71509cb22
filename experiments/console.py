"""What a run says while it works: a headed line for each step, bars for long ones, and the seconds each took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from experiments.files import read_json, write_json


class Console:
    """Prints steps and keeps their seconds in the run folder.

    A run that goes on adds to them; a step that was killed outright (not by Ctrl-C) leaves no seconds of that try.
    """

    def __init__(self, folder: Path, steps: int):
        """Continues the seconds that the folder holds, if any."""
        self.path = folder / "seconds.json"
        self.seconds: dict[str, float] = read_json(self.path) if self.path.exists() else {}
        self.steps, self.number = steps, 0

    @contextmanager
    def step(self, name: str, what: str) -> Iterator[None]:
        """One step of the run: announced, timed."""
        self.number += 1
        print(f"\n[{self.number}/{self.steps}] {name}: {what}", flush=True)
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - begin, 2)
            write_json(self.path, self.seconds)

    @staticmethod
    def say(line: str) -> None:
        """A line beneath the step."""
        tqdm.write(f"      {line}")

    @staticmethod
    @contextmanager
    def bar(total: int, what: str, unit: str) -> Iterator[tqdm]:
        """A progress bar; where no terminal shows it, a line every ten seconds."""
        seconds = 0.2 if sys.stderr.isatty() else 10.0
        with tqdm(total=total, desc=f"      {what}", unit=unit, leave=False, mininterval=seconds, ncols=100) as bar:
            yield bar

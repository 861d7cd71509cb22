"""Trees of files as Linux shows them, written by the tests, and a clock that goes when it is told to."""

import pytest

MODULES = ("hardware.energy.sampling", "hardware.energy.per_run", "hardware.energy.rapl")


class Clock:
    """Seconds that pass only in `sleep`."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    """Takes the place of the system's clock in everything that reads energy."""
    fake = Clock()
    for module in MODULES:
        monkeypatch.setattr(f"{module}.perf_counter", fake)
    monkeypatch.setattr("hardware.energy.per_run.sleep", fake.sleep)
    return fake


def files(root, content):
    """Writes a tree, by relative path; returns where it is, as settings want it."""
    for name, text in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return str(root)


@pytest.fixture(name="files")
def _files():
    return files

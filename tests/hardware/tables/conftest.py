"""The published tables, each read once; those whose files are not here are skipped."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest

from hardware.tables import EXAMPLES, HwNasBench360
from hardware.tables.table import Table, TableSource

FOLDERS = {
    "HelpNasBench201": "help_latency",
    "HelpFbNet": "help_latency",
    "HelpOfa": "help_latency",
    "HwNasBench360": "hw_nas_bench_360",
    "HatLatency": "hat_latency",
    "AccelNasBench": "accel_nasbench",
    "MlperfTiny": "mlperf_tiny",
    "TfNasOperators": "op_luts",
    "SinglePathNasOperators": "op_luts",
}


@pytest.fixture(scope="session")
def table(data_root: Path) -> Callable[[type[TableSource]], Table]:
    """Reads the table of a class."""

    @lru_cache
    def read(cls):
        root = data_root / FOLDERS[cls.__name__]
        if not root.is_dir():
            pytest.skip(f"no {root}")
        more = {"cells": data_root / "nas_bench_201"} if cls is HwNasBench360 else {}
        return cls(root=root, **more).load()

    return read


@pytest.fixture(params=EXAMPLES, ids=lambda cls: cls.__name__, scope="session")
def each(request: pytest.FixtureRequest, table: Callable[[type[TableSource]], Table]) -> Table:
    """Every table in turn."""
    return table(request.param)

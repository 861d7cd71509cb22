"""The published table of NAS-Bench-201: the index of every cell, and what was measured of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from search_spaces.nas_bench_201 import EDGES, OPERATIONS, NasBench201, arch_of
from search_spaces.space import check_arch

COUNTS = (len(OPERATIONS),) * len(EDGES)


@dataclass(frozen=True, kw_only=True)
class Table:
    """All cells in the order of the published index, which follows no rule.

    Attributes:
      archs: a cell a row.
      columns: what was measured, by name, e.g. `cifar10_test_200ep`: test accuracy in % after 200 epochs of training.

    References:
      NAS-Bench-201 (arXiv:2001.00326).
    """

    archs: Int[np.ndarray, "cells edges"]
    columns: Mapping[str, Float[np.ndarray, " cells"]]

    def arch_of(self, index: int) -> Int[np.ndarray, " edges"]:
        """The architecture of a published index.

        Raises:
          IndexError: when there is no such index.
        """
        if not 0 <= index < len(self.archs):
            raise IndexError(f"NAS-Bench-201 has indices 0 to {len(self.archs) - 1}, got {index}")
        return self.archs[index].copy()

    def index_of(self, arch: Int[np.ndarray, " edges"] | Sequence[int]) -> int:
        """The published index of an architecture.

        Raises:
          ValueError: when it is no architecture of the space.
        """
        return int(self._indices[tuple(check_arch(NasBench201(), arch))])

    @cached_property
    def _indices(self) -> Int[np.ndarray, "..."]:
        indices = np.empty(COUNTS, np.int32)
        indices[tuple(self.archs.T)] = np.arange(len(self.archs))
        return indices


def read_table(path: str | Path) -> Table:
    """Reads a table from an npz file.

    Args:
      path: an npz with `arch_str`, the published string of every cell in order of its index; every other array of
        floats with one value a cell becomes a column.

    Raises:
      ValueError: when the file has no `arch_str` or not every cell once.
    """
    with np.load(path, allow_pickle=False) as arrays:
        if "arch_str" not in arrays:
            raise ValueError(f"`{path}` has no array `arch_str`, the string of every cell; it has {sorted(arrays)}")
        archs = np.stack([arch_of(cell) for cell in arrays["arch_str"].tolist()])
        columns = {
            name: arrays[name]
            for name in arrays.files
            if arrays[name].shape == archs.shape[:1] and arrays[name].dtype.kind == "f"
        }
    distinct = len(np.unique(archs, axis=0))
    if distinct != np.prod(COUNTS) or len(archs) != distinct:
        raise ValueError(f"`{path}` must hold all {np.prod(COUNTS)} cells once, got {len(archs)}, {distinct} distinct")
    return Table(archs=archs, columns=columns)

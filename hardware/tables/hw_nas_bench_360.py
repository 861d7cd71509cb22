"""HW-NAS-Bench-360's latencies and energies of NAS-Bench-201 cells on a Raspberry Pi 5 and a Pixel phone.

github.com/roldebijvank/HW-NAS-Bench-360 at a9b243e. Isomorphic cells carry one measurement, of the cell that stands for
them: 6,466 are independent, and `groups` says which.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware.tables.files import arrays_of, content_of, damaged
from hardware.tables.table import Column, Table
from search_spaces.nas_bench_201 import NasBench201, arch_of

SHA256 = "a1b523def03e8f09603579a51beab56c11e95bf1ed3fb0acac653e10d3b35587"
CELLS_SHA256 = "61755e299e8e13cca52b61b63f8056824b56e2a3eadc66dadfa98a2f36004bd6"

DEVICES = {"pi5": "Raspberry Pi 5, one core, batch 1", "pixel": "a Pixel phone that is not named, batch 1"}
RUNTIMES = {"litert": "LiteRT", "onnx": "ONNX Runtime", "torchmobile": "PyTorch Mobile"}
IMAGES = {"cifar100": "32x32x3", "ninapro": "52x16x1", "darcy": "88x88x1"}
FOLDED = "cells without a way from input to output take about 0 with LiteRT: leave them out"
CORE_RAIL = "core rail only (VDD_CORE of the PMIC), idle power subtracted: not the board's power"


@dataclass(frozen=True, kw_only=True)
class HwNasBench360:
    """All 15,625 cells on 12 columns of latency and 9 of energy.

    A row's architecture gives the layers for CIFAR-100 (32x32x3); the other tasks' images are of other sizes, so of
    those columns only the layers' proportions hold.

    Attributes:
      root: the folder of `hwnb360.npz`.
      cells: the folder of `nb201_acc.npz`, whose strings say which cell an index is.
      verify: whether other copies of the files are refused.
    """

    root: str | Path
    cells: str | Path
    verify: bool = True

    def load(self) -> Table:
        """The table, its rows in order of NAS-Bench-201's published index.

        Raises:
          FileNotFoundError: when a file isn't there.
          ValueError: when it is another, or damaged.
        """
        path, content = content_of(self.root, "hwnb360.npz", SHA256, "HW-NAS-Bench-360's table", self.verify)
        names = ("rep_arch_idx", "iso_rep", "column", "latency_ms", "latency_var_ms2", "energy_mj")
        arrays = arrays_of(path, content, names)
        archs = self._archs()
        representatives = arrays["iso_rep"].astype(np.int64)
        row = np.full(len(archs), -1)
        cells = np.arange(len(archs))
        if np.isin(arrays["rep_arch_idx"], cells).all():
            row[arrays["rep_arch_idx"]] = np.arange(len(arrays["rep_arch_idx"]))
        if representatives.shape != row.shape or not np.isin(representatives, cells[row >= 0]).all():
            raise damaged(path, f"`iso_rep` must name a measured cell for each of {len(archs)}")
        labels = [str(each) for each in arrays["column"].tolist()]
        for name in names[3:]:
            if arrays[name].shape != (len(arrays["rep_arch_idx"]), len(labels)):
                raise damaged(path, f"`{name}` must have shape {(len(arrays['rep_arch_idx']), len(labels))}")
        latency, variance, energy = (arrays[name].astype(np.float64)[row[representatives]] for name in names[3:])
        known = np.asarray(np.isfinite(energy).any(axis=0))
        columns = [self._column(path, label, "latency_ms") for label in labels]
        columns += [
            self._column(path, label, "energy_mj") for label, there in zip(labels, known.tolist(), strict=True) if there
        ]
        return Table(
            name="hw_nas_bench_360",
            source="github.com/roldebijvank/HW-NAS-Bench-360 at a9b243e (no licence: do not republish)",
            keys={c.name: genes for c, genes in zip(NasBench201().choices, archs.T, strict=True)},
            columns=tuple(columns),
            values=np.concatenate([latency, energy[:, known]], 1),
            std=np.concatenate([np.sqrt(variance), np.full_like(energy[:, known], np.nan)], 1),
            space=NasBench201(classes=100),
            groups=representatives,
        )

    def _archs(self) -> np.ndarray:
        path, content = content_of(
            self.cells, "nb201_acc.npz", CELLS_SHA256, "NAS-Bench-201's table, the index of its cells,", self.verify
        )
        strings = arrays_of(path, content, ("arch_str",))["arch_str"].tolist()
        try:
            return np.stack([arch_of(cell) for cell in strings])
        except ValueError as error:
            raise damaged(path, error) from error

    def _column(self, path: Path, label: str, metric: str) -> Column:
        device, runtime, task = label.split("/") if label.count("/") == 2 else ("", "", "")
        if device not in DEVICES or runtime not in RUNTIMES or task not in IMAGES:
            raise damaged(path, f"`column` has `{label}`, which is none of HW-NAS-Bench-360's")
        notes = [f"{IMAGES[task]} images"]
        if runtime == "litert":
            notes.append(FOLDED)
        if metric == "energy_mj":
            notes.append(CORE_RAIL)
        if device == "pixel":
            notes.append("its source once called the column litert-npu")
        return Column(
            name=label,
            metric=metric,
            unit="ms" if metric == "latency_ms" else "mJ",
            device=f"{DEVICES[device]}, {RUNTIMES[runtime]}",
            origin="measured",
            note="; ".join(notes),
        )

"""HELP's latencies of NAS-Bench-201, FBNet and Once-for-All networks on some 40 devices and batch sizes.

HELP: Hardware-Adaptive Efficient Latency Prediction for NAS via Meta-Learning (arXiv:2106.08630). The columns `raspi4`,
`pixel3`, `eyeriss` and `fpga` are HW-NAS-Bench's (arXiv:2103.10584), which HELP copied.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from hardware.tables.files import arrays_of, content_of, damaged
from hardware.tables.table import Column, Origin, Table
from search_spaces.fbnet import FbNet
from search_spaces.nas_bench_201 import OPERATIONS, NasBench201
from search_spaces.ofa_mobilenet import OfaMobileNet
from search_spaces.space import Space

TITLE = "HELP's latency table"
SOURCE = "HELP (arXiv:2106.08630), github.com/HayeonLee/HELP at 45f70eb"

SHA256 = {
    "nb201.npz": "502e0a183fc85c9fdd20e1b28209a9e7e223222344a75e58a3f752350dec713f",
    "fbnet.npz": "a39caf636ff5ade2ef5b8310ccbb54c300aa5529ffdd4256419eed52d34ded95",
    "ofa.npz": "9f6e39e31ef0e4cc7d13ae7579836f0a5d3b8717fb94c0d6fe0aa56bee049e64",
}

PHONES = {
    "essential_ph_1": "Essential PH-1",
    "samsung_a50": "Samsung Galaxy A50",
    "samsung_s7": "Samsung Galaxy S7",
    "pixel2": "Google Pixel 2",
}
"""Timed in whole milliseconds."""
PROCESSORS = {
    "gold_6226": "Intel Xeon Gold 6226",
    "gold_6240": "Intel Xeon Gold 6240",
    "silver_4114": "Intel Xeon Silver 4114",
    "silver_4210r": "Intel Xeon Silver 4210R",
}
GPUS = {
    "1080ti": "NVIDIA GTX 1080 Ti",
    "2080ti": "NVIDIA RTX 2080 Ti",
    "titan_rtx": "NVIDIA Titan RTX",
    "titanx": "NVIDIA Titan X",
    "titanxp": "NVIDIA Titan Xp",
    "titan_xp": "NVIDIA Titan Xp",
    "v100": "NVIDIA V100",
}
OF_HW_NAS_BENCH = {
    "raspi4": "Raspberry Pi 4, TFLite",
    "pixel3": "Google Pixel 3, TFLite",
    "eyeriss": "Eyeriss, simulated",
    "fpga": "FPGA, by an analytical model",
}
FOLDED = "cells without a way from input to output (341 of them) were folded to about 0 ms: leave them out, or say both"
SIMULATED = "exactly linear in the operations: a predictor shows nothing here"
SUMMED = "a sum over a table of blocks, exactly linear in the operations: a predictor shows nothing here"
NO_IMAGE_SIZE = "the size of the images is not said"


@dataclass(frozen=True, kw_only=True)
class HelpNasBench201:
    """All 15,625 cells, 32x32 colour images, on 25 columns.

    Attributes:
      root: the folder of `nb201.npz`.
      verify: whether another copy of the file is refused.
    """

    root: str | Path
    verify: bool = True

    def load(self) -> Table:
        """The table, its rows in order of the published index.

        Raises:
          FileNotFoundError: when the file isn't there.
          ValueError: when it is another, or damaged.
        """
        path, arrays = _read(self.root, "nb201.npz", ("ops", "op_names"), self.verify)
        names = [OPERATIONS.index(name) if name in OPERATIONS else -1 for name in arrays["op_names"].tolist()]
        archs = _picked(path, "ops", arrays["ops"], np.array(names, np.int32)[None].repeat(6, 0))
        origins: Mapping[str, Origin] = {"eyeriss": "simulated", "fpga": "simulated"}
        notes = {"raspi4": FOLDED, "pixel3": FOLDED, "eyeriss": SIMULATED, "fpga": SIMULATED}
        return _table(path, "help_nas_bench_201", NasBench201(), archs, arrays, origins, notes, "")


@dataclass(frozen=True, kw_only=True)
class HelpFbNet:
    """5,000 networks of FBNet's space on 27 columns.

    Attributes:
      root: the folder of `fbnet.npz`.
      verify: whether another copy of the file is refused.
    """

    root: str | Path
    verify: bool = True

    def load(self) -> Table:
        """The table.

        Raises:
          FileNotFoundError: when the file isn't there.
          ValueError: when it is another, or damaged.
        """
        path, arrays = _read(self.root, "fbnet.npz", ("ops", "op_names"), self.verify)
        space, names = FbNet(), arrays["op_names"].tolist()
        options = [[c.options.index(name) if name in c.options else -1 for name in names] for c in space.choices]
        archs = _picked(path, "ops", arrays["ops"], np.array(options, np.int32))
        origins: dict[str, Origin] = dict.fromkeys(OF_HW_NAS_BENCH, "sum_of_table")
        notes = dict.fromkeys(OF_HW_NAS_BENCH, f"{SUMMED}; CIFAR-100, 32x32 images")
        return _table(path, "help_fbnet", space, archs, arrays, origins, notes, NO_IMAGE_SIZE)


@dataclass(frozen=True, kw_only=True)
class HelpOfa:
    """5,000 networks of Once-for-All's MobileNetV3 space, resolution included, on 12 columns.

    Attributes:
      root: the folder of `ofa.npz`.
      verify: whether another copy of the file is refused.
    """

    root: str | Path
    verify: bool = True

    def load(self) -> Table:
        """The table; genes of blocks that depth leaves out are 0.

        Raises:
          FileNotFoundError: when the file isn't there.
          ValueError: when it is another, or damaged.
        """
        path, arrays = _read(self.root, "ofa.npz", ("ks", "e", "d", "r"), self.verify)
        space = OfaMobileNet()
        archs = _ofa_archs(path, space, arrays)
        return _table(path, "help_ofa", space, archs, arrays, {}, {}, "")


def _ofa_archs(path: Path, space: OfaMobileNet, arrays: Mapping[str, np.ndarray]) -> Int[np.ndarray, "rows choices"]:
    def indices(name: str, options: tuple[int, ...]) -> np.ndarray:
        found = np.searchsorted(options, arrays[name]).clip(max=len(options) - 1)
        if (np.array(options)[found] != arrays[name]).any():
            raise damaged(path, f"`{name}` must be among {options}")
        return found.astype(np.int32)

    kernels, expansions = indices("ks", space.kernels), indices("e", space.expansions)
    depths, sides = indices("d", space.depths), indices("r", space.resolutions)
    stages, most = len(space.stages), max(space.depths)
    if kernels.shape != (len(sides), stages * most) or expansions.shape != kernels.shape:
        raise damaged(path, f"`ks` and `e` must have {stages * most} columns")
    columns: list[np.ndarray] = [sides]
    for stage in range(stages):
        columns.append(depths[:, stage])
        for block in range(most):
            there = np.array(space.depths)[depths[:, stage]] > block
            columns += [genes[:, stage * most + block] * there for genes in (kernels, expansions)]
    return np.stack(columns, 1).astype(np.int32)


def _read(root: str | Path, file: str, names: tuple[str, ...], verify: bool) -> tuple[Path, dict[str, np.ndarray]]:
    path, content = content_of(root, file, SHA256[file], TITLE, verify)
    arrays = arrays_of(path, content, ("latency_ms", "device", *names))
    rows = arrays[names[0]].shape[:1]
    if arrays["latency_ms"].shape != (*rows, *arrays["device"].shape):
        raise damaged(path, f"`latency_ms` must have a row for each of {rows[0] if rows else 0} networks")
    return path, arrays


def _picked(
    path: Path, name: str, ops: np.ndarray, options: Int[np.ndarray, "choices operations"]
) -> Int[np.ndarray, "rows choices"]:
    """Genes for the operations of the file: `options[choice, operation]` is the index that a choice has it at."""
    choices, operations = options.shape
    if ops.shape[1:] != (choices,) or ops.min(initial=0) < 0 or ops.max(initial=0) >= operations or options.min() < 0:
        raise damaged(path, f"`{name}` must hold operations of the space, {choices} in a row")
    return options[np.arange(choices), ops].astype(np.int32)


def _table(
    path: Path,
    name: str,
    space: Space,
    archs: Int[np.ndarray, "rows choices"],
    arrays: Mapping[str, Any],
    origins: Mapping[str, Origin],
    notes: Mapping[str, str],
    otherwise: str,
) -> Table:
    """The table of one file; `otherwise` is the note of columns that have none of their own."""
    values: Float[np.ndarray, "rows columns"] = arrays["latency_ms"].astype(np.float64)
    names = [str(each) for each in arrays["device"].tolist()]
    columns = tuple(
        Column(
            name=each,
            device=_device(path, each),
            origin=origins.get(each, "measured"),
            resolution=1.0 if each in PHONES else None,
            note=notes.get(each, otherwise),
        )
        for each in names
    )
    return Table(
        name=name,
        source=SOURCE,
        keys={choice.name: genes for choice, genes in zip(space.choices, archs.T, strict=True)},
        columns=columns,
        values=values,
        std=np.full_like(values, np.nan),
        space=space,
        groups=np.arange(len(archs)),
    )


def _device(path: Path, column: str) -> str:
    known = {**PHONES, **PROCESSORS, **OF_HW_NAS_BENCH, **dict(_batches(column))}
    if column not in known:
        raise damaged(path, f"`device` has `{column}`, which is none of HELP's")
    return known[column]


def _batches(column: str) -> Iterator[tuple[str, str]]:
    gpu, _, batch = column.rpartition("_")
    if gpu in GPUS and batch.isdigit():
        yield column, f"{GPUS[gpu]}, a batch of {batch}"

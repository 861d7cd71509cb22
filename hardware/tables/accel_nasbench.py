"""Accel-NASBench's networks on two FPGA boards, and their throughput on those, GPUs and TPUs.

Accel-NASBench: Sustainable Benchmarking for Accelerator-Aware NAS (arXiv:2404.08005),
github.com/afzalxo/Accel-NASBench at 4260357. Its space is MnasNet's backbone with one expansion, kernel, depth and gate
for each of seven blocks; ours differ from it in what may be chosen, so rows are features.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware.tables.files import arrays_of, content_of, damaged
from hardware.tables.table import Column, Table

SHA256 = "fe487a7186410ce114ac0df4182aa77e2c658c5bde9c72b24478e9546ac4f971"
DEVICES = {
    "vck190": "AMD Versal VCK190, DPU",
    "zcu102": "AMD Zynq UltraScale+ ZCU102, DPU",
    "3090": "NVIDIA RTX 3090",
    "a100": "NVIDIA A100",
    "tpuv2": "Google TPU v2",
    "tpuv3": "Google TPU v3",
}
BOARDS = ("vck190", "zcu102")
INVERTED = "1000 over the published throughput in images a second, the batch of which is not in the table"


@dataclass(frozen=True, kw_only=True)
class AccelNasBench:
    """5,138 networks, 13 of them twice, on 2 columns of latency and 6 of time an image.

    Throughput is turned round, so that lower is better as everywhere here. The keys are the published choices, and
    `macs_m` and `params_m` in millions.

    Attributes:
      root: the folder of `anb.npz`.
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
        path, content = content_of(self.root, "anb.npz", SHA256, "Accel-NASBench's table", self.verify)
        names = ("arch", "arch_columns", "perf", "perf_std", "perf_columns", "macs_m", "params_m")
        arrays = arrays_of(path, content, names)
        choices, said = (arrays[name].tolist() for name in ("arch_columns", "perf_columns"))
        rows = len(arrays["arch"])
        shapes = {"arch": (rows, len(choices)), **dict.fromkeys(("perf", "perf_std"), (rows, len(said)))}
        for name, shape in {**shapes, "macs_m": (rows,), "params_m": (rows,)}.items():
            if arrays[name].shape != shape:
                raise damaged(path, f"`{name}` must have shape {shape}, got {arrays[name].shape}")
        columns, values, stds = [], [], []
        for device in BOARDS:
            at = _place(path, said, f"latency_{device}")
            columns.append(Column(name=device, device=DEVICES[device], origin="measured"))
            values.append(arrays["perf"][:, at].astype(np.float64))
            stds.append(arrays["perf_std"][:, at].astype(np.float64))
        for device, title in DEVICES.items():
            at = _place(path, said, f"throughput_{device}")
            throughput, std = (arrays[name][:, at].astype(np.float64) for name in ("perf", "perf_std"))
            columns.append(Column(name=device, metric="ms_per_image", device=title, origin="measured", note=INVERTED))
            values.append(1000 / throughput)
            stds.append(1000 * std / throughput**2)  # a small relative spread stays what it is
        return Table(
            name="accel_nasbench",
            source="Accel-NASBench (arXiv:2404.08005), github.com/afzalxo/Accel-NASBench at 4260357",
            keys={
                **{str(name): arrays["arch"][:, i] for i, name in enumerate(choices)},
                **{name: arrays[name].astype(np.float64) for name in ("macs_m", "params_m")},
            },
            columns=tuple(columns),
            values=np.stack(values, 1),
            std=np.stack(stds, 1),
            groups=np.unique(arrays["arch"], axis=0, return_inverse=True)[1].reshape(-1),
        )


def _place(path: Path, names: list[str], name: str) -> int:
    if name not in names:
        raise damaged(path, f"`perf_columns` lacks `{name}`")
    return names.index(name)

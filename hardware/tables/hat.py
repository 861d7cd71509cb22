"""HAT's latencies of translation Transformers on a Raspberry Pi 4, a Xeon and a Titan Xp.

HAT: Hardware-Aware Transformers for Efficient Natural Language Processing (arXiv:2005.14187). Differs: the published
rows have the mean over layers of widths and heads, so that no network can be built from them; they are features.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware.tables.files import arrays_of, content_of, damaged
from hardware.tables.table import Column, Table

SHA256 = "2d0230c8fd3903a12b77c287ede50f949c1ea54569b7d76b5adf10fb39cf9fea"
DEVICES = {
    "cpu_raspberrypi": "Raspberry Pi 4 (Cortex-A72)",
    "cpu_xeon": "Intel Xeon",
    "gpu_titanxp": "NVIDIA Titan Xp",
}
TASKS = {
    "iwslt14deen": "IWSLT'14 De-En",
    "wmt14ende": "WMT'14 En-De",
    "wmt14enfr": "WMT'14 En-Fr",
    "wmt19ende": "WMT'19 En-De",
}
MEASURED = (
    ("iwslt14deen", "gpu_titanxp"),
    ("wmt14ende", "cpu_raspberrypi"),
    ("wmt14ende", "cpu_xeon"),
    ("wmt14ende", "gpu_titanxp"),
    ("wmt14enfr", "cpu_xeon"),
    ("wmt14enfr", "gpu_titanxp"),
    ("wmt19ende", "gpu_titanxp"),
)
PARTS = ("encoder", "decoder")


@dataclass(frozen=True, kw_only=True)
class HatLatency:
    """Seven times 2,000 random Transformers, each on one task and device, encoder and decoder apart.

    The keys are `set` (task and device) and ten features; the columns are `<task>_<device>/encoder` and `/decoder`, and
    have no values where the set is another.

    Attributes:
      root: the folder of `hat_latency.npz`.
      verify: whether another copy of the file is refused.
    """

    root: str | Path
    verify: bool = True

    def load(self) -> Table:
        """The table, its rows set by set in the order of their files.

        Raises:
          FileNotFoundError: when the file isn't there.
          ValueError: when it is another, or damaged.
        """
        path, content = content_of(self.root, "hat_latency.npz", SHA256, "HAT's latency table", self.verify)
        sets = [f"{task}_{device}" for task, device in MEASURED]
        arrays = arrays_of(path, content, ("columns", *sets))
        names = [str(each) for each in arrays["columns"].tolist()]
        taken = [f"latency_{what}_{part}" for what in ("mean", "std") for part in PARTS]
        missing = [name for name in taken if name not in names]
        wrong = [name for name in sets if arrays[name].ndim != 2 or arrays[name].shape[1] != len(names)]
        if missing or wrong:
            what = f"`columns` lacks `{missing[0]}`" if missing else f"`{wrong[0]}` must have {len(names)} columns"
            raise damaged(path, what)
        rows = np.concatenate([arrays[name] for name in sets]).astype(np.float64)
        of_set = np.repeat(sets, [len(arrays[name]) for name in sets])
        features = {name: rows[:, names.index(name)] for name in names if name not in taken}
        columns = tuple(
            Column(name=f"{task}_{device}/{part}", device=f"{DEVICES[device]}, {TASKS[task]}", origin="measured")
            for task, device in MEASURED
            for part in PARTS
        )
        mean, std = (
            np.stack(
                [
                    np.where(of_set == name, rows[:, names.index(f"latency_{what}_{part}")], np.nan)
                    for name in sets
                    for part in PARTS
                ],
                1,
            )
            for what in ("mean", "std")
        )
        return Table(
            name="hat",
            source="HAT (arXiv:2005.14187), github.com/mit-han-lab/hardware-aware-transformers at 70e5a27",
            keys={"set": of_set, **features},
            columns=columns,
            values=mean,
            std=std,
            groups=np.arange(len(rows)),
        )

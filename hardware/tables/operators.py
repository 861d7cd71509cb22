"""Tables of single operators: what a network takes is, for those who made them, the sum over its blocks."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware.tables.files import content_of, damaged, numbers_of, rows_of
from hardware.tables.table import Column, Table

SHA256 = {
    "tfnas_cpu.csv.gz": "b66472eedab175af9d0bf1f606716c4981ce4ba2c2f50d7e8b335135e8d8812c",
    "tfnas_gpu.csv.gz": "6574d6190b828f5cb568f3c24f4a89e9ff45cbada2dede08e794929e98c6cbb6",
    "single_path_nas_pixel1.csv": "fa31a465afe8e3e1954e09b156bba4dc5eb211976cbae701e9fb096cfdd7cd87",
}
BLOCK = re.compile(r"MBInvertedResBlock_(\d+)_(\d+)_(\d+)_(\d+)_k(\d+)_s(\d+)_(\w+)")
FIELDS = ("image_size", "in_channels", "squeeze_channels", "out_channels", "kernel", "stride")
INTERPOLATED = "interpolated over the hidden channels by its authors; some of the smallest are below 0"


@dataclass(frozen=True, kw_only=True)
class TfNasOperators:
    """36,481 rows: inverted bottlenecks by shape and hidden channels, and `base`, a network's stem and head.

    The keys are `op` as published, `mid_channels`, and what `op` says: `image_size`, `in_channels`, `squeeze_channels`
    (0 for none), `out_channels`, `kernel`, `stride`, `activation`; all 0 or empty for `base`.

    Attributes:
      root: the folder of `tfnas_cpu.csv.gz` and `tfnas_gpu.csv.gz`.
      verify: whether other copies of the files are refused.

    References:
      TF-NAS (arXiv:2008.05314), github.com/AberHu/TF-NAS at 08b31a2, MIT.
    """

    root: str | Path
    verify: bool = True

    def load(self) -> Table:
        """The table, with the columns `cpu` and `gpu`.

        Raises:
          FileNotFoundError: when a file isn't there.
          ValueError: when it is another, or damaged.
        """
        keys, values = {}, []
        for device in ("cpu", "gpu"):
            name = f"tfnas_{device}.csv.gz"
            path, content = content_of(self.root, name, SHA256[name], "TF-NAS's table of operators", self.verify)
            texts = rows_of(path, content, ("op", "mid_channels", "latency_ms"))
            if keys and any((keys[each] != texts[each]).any() for each in ("op", "mid_channels")):
                raise damaged(path, "its operators are not those of the processor's file")
            keys = {each: texts[each] for each in ("op", "mid_channels")}
            values.append(numbers_of(path, texts["latency_ms"]))
        read = [_block(path, op) for op in keys["op"].tolist()]
        devices = {"cpu": "a server's processor that is not named", "gpu": "NVIDIA Titan RTX"}
        return Table(
            name="tf_nas_operators",
            source="TF-NAS (arXiv:2008.05314), github.com/AberHu/TF-NAS at 08b31a2, MIT",
            keys={
                "op": keys["op"],
                "mid_channels": np.nan_to_num(numbers_of(path, keys["mid_channels"])).astype(np.int64),
                **{name: np.array([row[i] for row in read], np.int64) for i, name in enumerate(FIELDS)},
                "activation": np.array([str(row[-1]) for row in read]),
            },
            columns=tuple(
                Column(name=name, device=device, origin="interpolated", note=INTERPOLATED)
                for name, device in devices.items()
            ),
            values=np.stack(values, 1),
            std=np.full((len(read), 2), np.nan),
            groups=np.arange(len(read)),
        )


def _block(path: Path, op: str) -> tuple[int | str, ...]:
    if op == "base":
        return (*([0] * len(FIELDS)), "")
    found = BLOCK.fullmatch(op)
    if not found:
        raise damaged(path, f"`{op}` is no operator of TF-NAS")
    *numbers, activation = found.groups()
    return (*map(int, numbers), activation)


@dataclass(frozen=True, kw_only=True)
class SinglePathNasOperators:
    """88 rows: four choices for each of 22 layers on a Pixel 1.

    Attributes:
      root: the folder of `single_path_nas_pixel1.csv`.
      verify: whether another copy of the file is refused.

    References:
      Single-Path NAS (arXiv:1904.02877), github.com/dstamoulis/single-path-nas at 21c1f3e, Apache-2.0.
    """

    root: str | Path
    verify: bool = True

    def load(self) -> Table:
        """The table, with the keys `layer` and `choice` and the column `pixel1`.

        Raises:
          FileNotFoundError: when the file isn't there.
          ValueError: when it is another, or damaged.
        """
        name = "single_path_nas_pixel1.csv"
        path, content = content_of(self.root, name, SHA256[name], "Single-Path NAS's table of operators", self.verify)
        texts = rows_of(path, content, ("layer", "choice", "latency_ms"))
        keys = {each: numbers_of(path, texts[each]).astype(np.int64) for each in ("layer", "choice")}
        values = numbers_of(path, texts["latency_ms"])[:, None]
        note = (
            "choices are kernels of 3 and 5 times expansions of 3 and 6; by the values, in the order (3, 3), (3, 6),"
            " (5, 3), (5, 6)"
        )
        return Table(
            name="single_path_nas_operators",
            source="Single-Path NAS (arXiv:1904.02877), github.com/dstamoulis/single-path-nas at 21c1f3e, Apache-2.0",
            keys=keys,
            columns=(Column(name="pixel1", device="Google Pixel 1", origin="measured", note=note),),
            values=values,
            std=np.full_like(values, np.nan),
            groups=np.arange(len(values)),
        )

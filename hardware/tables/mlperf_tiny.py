"""MLPerf Tiny's submissions: four reference networks on 85 systems, mostly microcontrollers.

MLPerf Tiny Benchmark (arXiv:2106.07597), results of rounds 0.5 to 1.3 (github.com/mlcommons/tiny_results_v*).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware.tables.files import content_of, numbers_of, rows_of
from hardware.tables.table import Column, Table

SHA256 = "74b907783e73625435a3e97a1bd6926a156696cb1c5418269bffd74995ec2d0e"
KEYS = ("version", "division", "submitter", "system", "task", "processor", "frequency", "software")
NETWORKS = {"ad": "autoencoder", "ic": "resnet_8", "kws": "ds_cnn", "vww": "mobilenet_v1_0.25_vww"}
"""The closed division's network for each task, by its name in `search_spaces/networks`."""


@dataclass(frozen=True, kw_only=True)
class MlperfTiny:
    """350 results, 341 with a latency and 153 with an energy.

    A row is a submission's result for one task; its key `network` names the network where the rules fix it (closed
    division, one of the four tasks), and is empty elsewhere. The device is the key `system`.

    Attributes:
      root: the folder of `mlperf_tiny.csv`.
      verify: whether another copy of the file is refused.
    """

    root: str | Path
    verify: bool = True

    def load(self) -> Table:
        """The table; its only column name is `submission`.

        Raises:
          FileNotFoundError: when the file isn't there.
          ValueError: when it is another, or damaged.
        """
        path, content = content_of(self.root, "mlperf_tiny.csv", SHA256, "MLPerf Tiny's results", self.verify)
        texts = rows_of(path, content, (*KEYS, "latency_ms", "energy_uj_per_inf"))
        networks = [
            NETWORKS.get(task, "") if division == "closed" else ""
            for division, task in zip(texts["division"].tolist(), texts["task"].tolist(), strict=True)
        ]
        latency_ms = numbers_of(path, texts["latency_ms"])
        energy_mj = numbers_of(path, texts["energy_uj_per_inf"]) / 1000
        values = np.stack([latency_ms, energy_mj], 1)
        device = "as the key `system` says"
        return Table(
            name="mlperf_tiny",
            source="MLPerf Tiny (arXiv:2106.07597), github.com/mlcommons/tiny_results_v0.5 to v1.3, Apache-2.0",
            keys={**{name: texts[name] for name in KEYS}, "network": np.array(networks)},
            columns=(
                Column(
                    name="submission",
                    device=device,
                    origin="measured",
                    note="1000 over the published median throughput",
                ),
                Column(
                    name="submission",
                    metric="energy_mj",
                    unit="mJ",
                    device=device,
                    origin="measured",
                    note="of the board's supply; as submitted: what lies outside 0.001 to 100 mJ may be a slip",
                ),
            ),
            values=values,
            std=np.full_like(values, np.nan),
            groups=np.arange(len(values)),
        )

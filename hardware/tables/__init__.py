"""Published tables of costs, read from where they lie: nothing of them comes with the package."""

from hardware.tables.accel_nasbench import AccelNasBench
from hardware.tables.hat import HatLatency
from hardware.tables.help_latency import HelpFbNet, HelpNasBench201, HelpOfa
from hardware.tables.hw_nas_bench_360 import HwNasBench360
from hardware.tables.mlperf_tiny import MlperfTiny
from hardware.tables.operators import SinglePathNasOperators, TfNasOperators
from hardware.tables.table import TableSource

EXAMPLES: tuple[type[TableSource], ...] = (
    HelpNasBench201,
    HelpFbNet,
    HelpOfa,
    HwNasBench360,
    HatLatency,
    AccelNasBench,
    MlperfTiny,
    TfNasOperators,
    SinglePathNasOperators,
)

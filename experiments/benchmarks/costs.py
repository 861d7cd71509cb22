"""How fast are all costs of a population, peak memory included, beside computing them network by network?

    python -m experiments.benchmarks.costs [--population 100000] [--rounds 7] [--sample 200] [--precision int8]
        [--spaces ofa_mobilenet ...] [--json]

Architectures are drawn uniformly over genes. Both ways take turns, warm; the tables, found once, are timed beside. All
costs of a sample must be equal both ways. Where a space has no tables for a cost, it is computed network by network
in a population too: `direct` names such costs, and the population is the turn's sample then, nothing kept from before.

On two cores of a shared machine beside other work (load 3 to 6): the Once-for-All space 1.44 million architectures/s
(lowest of 7 turns 1.28), one by one 239; its tables 8 s. The other spaces 1.4 to 3.6 million, their tables 2 to 18 s;
every cost of 200 architectures is equal in all. NAS-Bench-201 and DARTS have no tables for what is moved and alive at
once (what runs inside what hangs on all choices of a cell), so that they get no faster than one by one, 220 and 75/s;
DARTS takes 92 s to find that out.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from experiments.benchmarks.timing import interleaved
from experiments.environment import environment
from hardware.costs.network import network_costs
from hardware.costs.population import COUNTED, CostTables, cost_tables, forget, population
from hardware.costs.precision import Precision
from search_spaces.darts import Darts
from search_spaces.fbnet import FbNet
from search_spaces.ghostnet import GhostNet
from search_spaces.hybrid import Hybrid
from search_spaces.mcunet import McuNet
from search_spaces.mnasnet import MnasNet
from search_spaces.mobile import Mobile
from search_spaces.nas_bench_201 import NasBench201
from search_spaces.ofa_mobilenet import OfaMobileNet
from search_spaces.proxyless import Proxyless
from search_spaces.resnet import ResNet50D
from search_spaces.shufflenet import ShuffleNetV2
from search_spaces.space import Space, option_counts, size
from search_spaces.squeezenet import SqueezeNet
from search_spaces.vision_transformer import VisionTransformer

SPACES: Mapping[str, Callable[[], Space]] = {  # the first is summed up
    "ofa_mobilenet": OfaMobileNet,
    "mobile": Mobile,
    "vision_transformer": VisionTransformer,
    "hybrid": Hybrid,
    "proxyless": Proxyless,
    "mcunet": McuNet,
    "mnasnet": MnasNet,
    "fbnet": FbNet,
    "shufflenet": ShuffleNetV2,
    "ghostnet": GhostNet,
    "squeezenet": SqueezeNet,
    "resnet": ResNet50D,
    "nas_bench_201": NasBench201,
    "darts": Darts,
}
TURN = 20  # architectures computed network by network in a turn


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is timed.

    Attributes:
      population: architectures.
      rounds: turns that count.
      sample: architectures whose costs are compared.
      precision: of weights and activations.
    """

    population: int
    rounds: int
    sample: int
    precision: Precision

    def __post_init__(self) -> None:
        for name in ("population", "rounds", "sample"):
            if getattr(self, name) < 1:
                raise ValueError(f"`--{name}` must be at least 1, got {getattr(self, name)}")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs the benchmark, prints its table and returns the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.costs", description=__doc__)
    parser.add_argument("--population", type=int, default=100_000, help="architectures; default 100000")
    parser.add_argument("--rounds", type=int, default=7, help="turns that count; default 7")
    parser.add_argument("--sample", type=int, default=200, help="architectures compared; default 200")
    parser.add_argument("--precision", choices=get_args(Precision), default="int8", help="default int8")
    parser.add_argument("--spaces", nargs="+", choices=SPACES, default=list(SPACES), help="default: all")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    given = parser.parse_args(arguments)
    try:
        setting = Setting(
            population=given.population, rounds=given.rounds, sample=given.sample, precision=given.precision
        )
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{'space':<20}{'tables s':>9}{'architectures/s':>17}{'lowest':>12}{'one by one/s':>14}  equal  direct")
    rows = []
    for name in dict.fromkeys(given.spaces):
        rows.append(timed(name, SPACES[name](), setting))
        _print(rows[-1])
    kept = ("space", "population", "architectures_per_s", "direct_per_s", "tables_s", "sample", "equal")
    result = {
        "benchmark": "costs",
        "rows": rows,
        "summary": {name: rows[0][name] for name in kept} | {"all_equal": all(row["equal"] for row in rows)},
        "environment": environment(),
    }
    if given.json:
        print(json.dumps(result))
    return result


def timed(name: str, space: Space, setting: Setting) -> dict[str, Any]:
    """One row of the result."""
    begun = time.perf_counter()
    found = cost_tables(space, setting.precision)
    tables_s = time.perf_counter() - begun
    rng = np.random.default_rng(0)
    shape = (max(setting.population, setting.sample), len(space.choices))
    archs = rng.integers(0, option_counts(space), shape).astype(np.int32)
    sample = archs[: setting.sample]
    one_by_one = [network_costs(space.layers(row), setting.precision) for row in sample]
    together = population(found, sample)
    differ = [n for n in COUNTED if not np.array_equal(together[n], np.array([each[n] for each in one_by_one]))]
    asked = archs[:TURN] if found.direct else archs[: setting.population]
    calls = {"population": _gathered(found, asked), "one by one": _computed(space, archs[:TURN], setting.precision)}
    times = interleaved(calls, setting.rounds, warm_up=1, seed=0)
    rates = [len(asked) / (ms / 1e3) for ms in times["population"]]
    return {
        "space": name,
        "networks": size(space),
        "choices": len(space.choices),
        "precision": setting.precision,
        "population": len(asked),
        "tables": len(found.joined.terms),
        "tables_s": tables_s,
        "architectures_per_s": statistics.median(rates),
        "lowest_per_s": min(rates),
        "direct_per_s": statistics.median(min(TURN, len(archs)) / (ms / 1e3) for ms in times["one by one"]),
        "sample": len(sample),
        "equal": not differ,
        "differ": differ,
        "direct": list(found.direct),
    }


def _gathered(found: CostTables, archs: np.ndarray) -> Callable[[], Any]:
    def call() -> None:
        forget()
        population(found, archs)

    return call


def _computed(space: Space, archs: np.ndarray, precision: Precision) -> Callable[[], Any]:
    return lambda: [network_costs(space.layers(row), precision) for row in archs]


def _print(row: Mapping[str, Any]) -> None:
    print(
        f"{row['space']:<20}{row['tables_s']:>9.1f}{row['architectures_per_s']:>17,.0f}{row['lowest_per_s']:>12,.0f}"
        f"{row['direct_per_s']:>14,.0f}  {'yes' if row['equal'] else 'NO':<5}  {', '.join(row['direct']) or '-'}",
        flush=True,
    )


if __name__ == "__main__":
    main()

"""Do two campaigns agree on the same networks, measured by the protocol or one by one with a median?

    python -m experiments.benchmarks.measurement [--networks 40] [--repetitions 3] [--seed 0]
        [--space mobile] [--json]

Networks are drawn uniformly over a space's distinct networks; those that a short look says are not within a factor 4
of each other (around the draw's median) are drawn again. Each repetition is four campaigns on this machine: protocol,
naive, protocol, naive. The naive way is a script's: networks one after the other, each warmed up and timed alone as
often as in the protocol, the median counts. Differences are fractions in the JSON: 0.01 is 1 %.

Last measured on two cores of an AMD EPYC, otherwise at rest, onnxruntime 1.32.0, 40 networks of 0.04-0.10 ms, medians
of 10 repetitions: two campaigns differ by 0.7 % (median; 2.7 % at most), Kendall's tau 0.979, the worst repetition by
1.2 %, tau 0.946; naive ones by 0.7 % (47 % at most), tau 0.645. A campaign takes 2 s, a naive one 1.6 s. How
far naive ones differ hangs on the hour: 37 % (median) and tau 0.33 in another.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import jax
import numpy as np
from jaxtyping import Float
from scipy.stats import kendalltau

from experiments.build import build, nearest
from experiments.environment import environment
from experiments.options import names, tree
from hardware.export.weights import random_weights
from hardware.measuring.campaign import measure_networks, reference_time
from hardware.measuring.store import MeasurementStore
from hardware.runtimes.artifact import Network
from hardware.target import Target
from search_spaces.derived.sampling import sample_networks
from search_spaces.space import Space

FACTOR = 4.0  # of the slowest network's latency over the fastest's, at most
MARGIN = 1.1  # the short look may be wrong by so much
LOOK = 20  # runs of the short look
DRAWS = 50  # times as many networks as are wanted are drawn, at most


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is compared.

    Attributes:
      networks: in each campaign.
      repetitions: of the four campaigns.
      seed: of the networks drawn.
    """

    networks: int
    repetitions: int
    seed: int

    def __post_init__(self) -> None:
        for name, least in (("networks", 3), ("repetitions", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`--{name}` must be at least {least}, got {getattr(self, name)}")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs the benchmark, prints its table and returns the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.measurement", description=__doc__)
    parser.add_argument("--networks", type=int, default=40, help="default 40")
    parser.add_argument("--repetitions", type=int, default=3, help="of the four campaigns; default 3")
    parser.add_argument("--seed", type=int, default=0, help="of the networks drawn; default 0")
    parser.add_argument("--space", default="mobile", help="an option of search_space; default mobile")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    given = parser.parse_args(arguments)
    try:
        setting = Setting(networks=given.networks, repetitions=given.repetitions, seed=given.seed)
        if given.space not in names("search_space"):
            raise ValueError(
                f"`--space`: no space is called `{given.space}`{nearest(given.space, names('search_space'))}"
            )
        target: Target = build(tree("target", "host_cpu"))
        space: Space = build(tree("search_space", given.space), image_size=32, image_channels=1, classes=10)
        networks = drawn(target, space, setting)
        found = compared(target, networks, setting)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    result = {"benchmark": "measurement", **found, "environment": environment()}
    if given.json:
        print(json.dumps(result))
    return result


def drawn(target: Target, space: Space, setting: Setting) -> dict[str, Network]:
    """Networks drawn uniformly whose latencies lie within the factor, by a short look."""
    most = DRAWS * setting.networks
    archs = np.unique(np.asarray(sample_networks(jax.random.key(setting.seed), space, most)), axis=0)
    archs = np.random.default_rng(setting.seed).permutation(archs)
    seen: list[tuple[Network, float]] = []
    for arch in archs:
        layers = space.layers(arch)
        network = (layers, random_weights(layers))
        seen.append((network, _look_ms(target, network)))
        if len(seen) < setting.networks:
            continue
        reach = (FACTOR**0.5) / MARGIN
        middle = statistics.median(ms for _, ms in seen)
        kept = [network for network, ms in seen if middle / reach <= ms <= middle * reach]
        if len(kept) >= setting.networks:
            return {f"network {i}": network for i, network in enumerate(kept[: setting.networks])}
    raise ValueError(
        f"of {len(seen)} networks drawn, too few are within a factor {FACTOR:g} in latency; ask for fewer `--networks`"
        f" than {setting.networks}"
    )


def _look_ms(target: Target, network: Network) -> float:
    call = target.instruments()[0].ready(target.prepare(network))
    return min(_times_ms(call, LOOK))


def _times_ms(call: Any, runs: int) -> list[float]:
    times = []
    for _ in range(runs):
        begin = perf_counter()
        call()
        times.append((perf_counter() - begin) * 1e3)
    return times


def compared(target: Target, networks: Mapping[str, Network], setting: Setting) -> dict[str, Any]:
    """Rows and summary: each repetition's four campaigns, and how well two of a kind agree."""
    times: dict[str, list[np.ndarray]] = {"protocol": [], "naive": []}
    seconds: dict[str, list[float]] = {"protocol": [], "naive": []}
    loads: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        store = MeasurementStore(path=Path(folder) / "measurements.sqlite")
        print(f"{'':<14}{'protocol':^34}{'naive':^34}")
        print(f"{'repetition':<14}" + 2 * f"{'median':>10}{'largest':>10}{'tau':>8}{'':6}")
        for repetition in range(setting.repetitions):
            names = [f"{repetition}a", f"{repetition}b"]
            for campaign in names:
                scale = None if campaign == names[0] else reference_time(target, store, names[0])
                begun = perf_counter()
                found = measure_networks(target, networks, store, campaign=campaign, reuse=False, reference_ms=scale)
                seconds["protocol"].append(perf_counter() - begun)
                for name, failure in found.failures.items():
                    raise ValueError(f"`{name}` cannot be measured: {failure.reason}")
                times["protocol"].append(np.array([found.costs[name].value for name in networks]))
                begun = perf_counter()
                times["naive"].append(np.array([_naive_ms(target, network) for network in networks.values()]))
                seconds["naive"].append(perf_counter() - begun)
            pairs = {way: agreement(*ran[-2:]) for way, ran in times.items()}
            cells = (f"{p['diff']:>10.2%}{p['largest']:>10.2%}{p['kendall']:>8.3f}{'':6}" for p in pairs.values())
            print(f"{repetition + 1:<14}" + "".join(cells))
        loads = [load for row in store.rows() for load in row.conditions.get("load", [])]
    each = {way: [agreement(*ran[i : i + 2]) for i in range(0, len(ran), 2)] for way, ran in times.items()}

    def middle(way: str, name: str) -> float:
        return statistics.median(pair[name] for pair in each[way])

    first = np.median(times["protocol"], axis=0)
    summary = {
        "median_diff": middle("protocol", "diff"),
        "kendall": middle("protocol", "kendall"),
        "naive_median_diff": middle("naive", "diff"),
        "naive_kendall": middle("naive", "kendall"),
        "largest_diff": middle("protocol", "largest"),
        "naive_largest_diff": middle("naive", "largest"),
        "worst_median_diff": max(pair["diff"] for pair in each["protocol"]),
        "worst_kendall": min(pair["kendall"] for pair in each["protocol"]),
        "diffs_are": "fractions: 0.01 is 1 %; median over the repetitions",
        "networks": len(networks),
        "repetitions": setting.repetitions,
        "latency_ms": [float(first.min()), float(first.max())],
        "factor": float(first.max() / first.min()),
        "load": [min(loads), max(loads)] if loads else None,
        "campaign_s": statistics.median(seconds["protocol"]),
        "naive_campaign_s": statistics.median(seconds["naive"]),
    }
    print(
        f"\n{len(networks)} networks of {first.min():.3f} to {first.max():.3f} ms (factor {summary['factor']:.1f}); a"
        f" campaign takes {summary['campaign_s']:.1f} s, a naive one {summary['naive_campaign_s']:.1f} s"
    )
    rows = [
        {"network": name, **{f"{way}_ms": [round(float(ran[i]), 6) for ran in times[way]] for way in times}}
        for i, name in enumerate(networks)
    ]
    return {"rows": rows, "summary": summary}


def agreement(first: Float[np.ndarray, " networks"], second: Float[np.ndarray, " networks"]) -> dict[str, float]:
    """How well two campaigns agree: `diff`, the median of the differences as fractions; `largest`; `kendall`."""
    diffs, tau = np.abs(second / first - 1), cast("Any", kendalltau(first, second))
    return {
        "diff": float(np.median(diffs)),
        "largest": float(diffs.max()),
        "kendall": float(tau.statistic),
    }


def _naive_ms(target: Target, network: Network) -> float:
    """The median of a network timed alone, as often as the protocol times it."""
    runtime, protocol = target.instruments()
    call = runtime.ready(target.prepare(network))
    once = min(_times_ms(call, protocol.warm_up))
    of_turn = max(protocol.runs_per_round, math.ceil(protocol.min_sample_ms / once))
    return statistics.median(_times_ms(call, protocol.rounds * of_turn))


if __name__ == "__main__":
    main()

"""How fast is what every space gets from its choices: draws, variation, encodings, costs, and draws under a limit?

    python -m experiments.benchmarks.space_ops [--population 100000] [--rounds 7] [--spaces ofa_mobilenet ...] [--json]

Each operation is done to a whole population and timed warm, all of a space in turn. The limit is the lowest share (1 %
by default) of the MACs of networks drawn uniformly: as many networks as that are below it. Once-for-All's own sampler
(`make peers`), which draws uniformly over genes one by one in Python, takes turns with ours at its own space.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.peers import ofa
from experiments.benchmarks.timing import interleaved
from experiments.environment import environment
from search_spaces.derived.constrained import under
from search_spaces.derived.encoding import from_one_hot, from_sequence, one_hot, sequence
from search_spaces.derived.factors import factors, gather
from search_spaces.derived.sampling import crossover, mutate, sample, sample_networks
from search_spaces.mobile import Mobile
from search_spaces.nas_bench_201 import NasBench201
from search_spaces.ofa_mobilenet import OfaMobileNet
from search_spaces.space import Space, size
from search_spaces.trace.blocks import traced_layers
from search_spaces.vision_transformer import VisionTransformer

SPACES: Mapping[str, Callable[[], Space]] = {  # the first is summed up
    "ofa_mobilenet": OfaMobileNet,
    "mobile": Mobile,
    "vision_transformer": VisionTransformer,
    "nas_bench_201": NasBench201,
}
RATE = 0.1  # of mutation
LAYERS = 20  # architectures whose layers are written in a turn
PEER_DRAWS = 200  # architectures that `ofa` draws in a turn
OPERATIONS = {  # by name: what it is
    "sample": "uniform over genes",
    "sample_networks": "uniform over distinct networks",
    "mutate": f"at a rate of {RATE}",
    "crossover": "of two populations",
    "one_hot": "float32",
    "sequence": "tokens",
    "from_one_hot": "and checked",
    "from_sequence": "and checked",
    "macs": "gathered from tables",
    "constrained": "uniform over the networks below the limit",
    "layers": "one by one",
    "traced_layers": "one by one, all blocks met",
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is timed.

    Attributes:
      population: rows an operation is done to.
      rounds: turns that count.
      share: of the networks, that keep the limit on MACs.
    """

    population: int
    rounds: int
    share: float

    def __post_init__(self) -> None:
        for name, least in (("population", 10), ("rounds", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"`--{name}` must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.share < 1:
            raise ValueError(f"`--share` must lie between 0 and 1, got {self.share}")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs the benchmark, prints its table and returns the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.space_ops", description=__doc__)
    parser.add_argument("--population", type=int, default=100_000, help="rows; default 100000")
    parser.add_argument("--rounds", type=int, default=7, help="turns that count; default 7")
    parser.add_argument("--share", type=float, default=0.01, help="of the networks below the limit; default 0.01")
    parser.add_argument("--spaces", nargs="+", choices=SPACES, default=list(SPACES), help="default: all")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    given = parser.parse_args(arguments)
    try:
        setting = Setting(population=given.population, rounds=given.rounds, share=given.share)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    rows, peer, absent = [], None, ofa.missing()
    for name in dict.fromkeys(given.spaces):
        row = timed(name, SPACES[name](), setting, with_peer=name == next(iter(SPACES)) and absent is None)
        peer = row.pop("peer_per_s", peer)
        rows.append(row)
        _print(row)
    ours = rows[0]["per_s"]
    result = {
        "benchmark": "space_ops",
        "rows": rows,
        "summary": {
            "space": rows[0]["space"],
            "population": setting.population,
            "sample_per_s": ours["sample"],
            "encode_per_s": ours["one_hot"],
            "sequence_per_s": ours["sequence"],
            "constrained_1pct_per_s": ours["constrained"],
            "layers_per_s": ours["layers"],
            "traced_layers_per_s": ours["traced_layers"],
            "ofa_per_s": peer,
            "sample_over_ofa": None if peer is None else ours["sample"] / peer,
            "ofa_missing": absent,
        },
        "environment": environment(),
    }
    ratio = "not measured" if peer is None else f"{peer:,.0f} architectures/s, ours {ours['sample'] / peer:,.0f} times"
    print(f"\nofa's sampler: {ratio}{f' ({absent})' if absent else ''}")
    if given.json:
        print(json.dumps(result))
    return result


def timed(name: str, space: Space, setting: Setting, *, with_peer: bool) -> dict[str, Any]:
    """One row of the result: how many architectures each operation does in a second, median and spread."""
    n, keys = setting.population, jax.random.split(jax.random.key(0), 4)
    begun = time.perf_counter()
    tables = factors(space, "macs")
    tables_s = time.perf_counter() - begun
    drawn = np.asarray(jax.jit(sample_networks, static_argnums=(1, 2))(keys[0], space, max(n, 20_000)))
    limit = int(np.quantile(gather(tables, drawn), setting.share, method="higher"))
    begun = time.perf_counter()
    sampler = under(space, "macs", at_most=limit)
    counting_s = time.perf_counter() - begun
    rows = drawn[:n]
    calls = _calls(space, rows, keys, sampler)
    sizes = dict.fromkeys(calls, n) | {"layers": LAYERS, "traced_layers": LAYERS}
    if with_peer:
        calls["peer"], sizes["peer"] = _peer(), PEER_DRAWS
    times = interleaved(calls, setting.rounds, warm_up=1, seed=0)
    rates = {name: [sizes[name] / (ms / 1e3) for ms in spent] for name, spent in times.items()}
    found = {
        "space": name,
        "networks": size(space),
        "choices": len(space.choices),
        "tables_s": tables_s,
        "counting_s": counting_s,
        "macs_limit": limit,
        "per_s": {name: statistics.median(each) for name, each in rates.items() if name != "peer"},
        "lowest_per_s": {name: min(each) for name, each in rates.items() if name != "peer"},
    }
    kept = gather(tables, sampler(1, n)) <= limit
    found["constrained_within"] = float(kept.mean())
    if with_peer:
        found["peer_per_s"] = statistics.median(rates["peer"])
    return found


def _calls(space: Space, rows: np.ndarray, keys: Any, sampler: Callable[..., Any]) -> dict[str, Callable[[], Any]]:
    """The operations, by name, each of which returns when its work is done."""
    tables, n = factors(space, "macs"), len(rows)
    draw, draw_networks = (jax.jit(run, static_argnums=(1, 2)) for run in (sample, sample_networks))
    vary, cross = jax.jit(mutate, static_argnums=1), jax.jit(crossover, static_argnums=1)
    a, b = jax.numpy.asarray(rows), jax.numpy.asarray(rows[::-1].copy())
    encoded, tokens = one_hot(space, rows), sequence(space, rows)
    ready = jax.block_until_ready
    return {
        "sample": lambda: ready(draw(keys[1], space, n)),
        "sample_networks": lambda: ready(draw_networks(keys[1], space, n)),
        "mutate": lambda: ready(vary(keys[2], space, a, RATE)),
        "crossover": lambda: ready(cross(keys[3], space, a, b)),
        "one_hot": lambda: one_hot(space, rows),
        "sequence": lambda: sequence(space, rows),
        "from_one_hot": lambda: from_one_hot(space, encoded),
        "from_sequence": lambda: from_sequence(space, tokens),
        "macs": lambda: gather(tables, rows),
        "constrained": lambda: sampler(keys[1], n),
        "layers": lambda: [space.layers(row) for row in rows[:LAYERS]],
        "traced_layers": lambda: [traced_layers(space, row) for row in rows[:LAYERS]],
    }


def _peer() -> Callable[[], Any]:
    """Once-for-All's `sample_active_subnet`, with the resolution that its training code draws beside it."""
    network, sizes = ofa.supernet(), OfaMobileNet().resolutions

    def draw() -> None:
        for _ in range(PEER_DRAWS):
            random.choice(sizes)
            network.sample_active_subnet()

    return draw


def _print(row: Mapping[str, Any]) -> None:
    print(
        f"\n{row['space']}: {row['networks']:,} networks, {row['choices']} choices; tables {row['tables_s']:.1f} s,"
        f" counting {row['counting_s']:.1f} s, limit {row['macs_limit']:,} MACs"
    )
    for name, what in OPERATIONS.items():
        print(f"  {name:<16}{row['per_s'][name]:>14,.0f}/s  lowest {row['lowest_per_s'][name]:>14,.0f}/s  {what}")


if __name__ == "__main__":
    main()

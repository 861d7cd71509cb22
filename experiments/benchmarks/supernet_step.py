"""What does a training step of a supernet cost? Ours, sliced and masked, beside PyTorch's `ofa`, on the same weights.

    python -m experiments.benchmarks.supernet_step [--architectures 12] [--rounds 7] [--growth] [--json]

The same sampled architectures, batch and resolution for all: forward, gradient, SGD; weights are copied and logits
compared first. All take turns, after warm-up; times are medians over the rounds. `make peers` installs PyTorch and
`ofa`; without them their columns are left out. `summary` holds means of ratios over the architectures of all settings:
`sliced_over_torch` below 1 is faster than PyTorch. Peak memory is that of a process of its own, above what its imports
take, with compiled programs read from a cache. `--growth` adds a step's cost as batch, depth and devices grow.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental.compilation_cache import compilation_cache

from experiments.benchmarks.peers import ofa
from experiments.benchmarks.stepping import CLASSES, WAYS, Ours, Setting, Theirs, space_of
from experiments.benchmarks.timing import interleaved
from experiments.environment import environment
from search_spaces.derived.sampling import sample
from search_spaces.ofa_weights import convert, entries
from search_spaces.sliced import distinct_blocks
from search_spaces.space import largest

SETTINGS = ((32, 32), (8, 64))  # batch, px
TOLERANCE = 1e-3  # of logits, which are of order 1


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs the benchmark, prints its tables and returns the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.supernet_step", description=__doc__)
    parser.add_argument("--architectures", type=int, default=12, help="sampled uniformly over genes, for each setting")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch, and processors for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--setting", type=int, nargs=2, action="append", metavar=("BATCH", "PX"), help=f"of {SETTINGS}")
    parser.add_argument("--growth", action="store_true", help="also cost by batch, depth and devices")
    parser.add_argument(
        "--no-memory", action="store_true", help="leaves peak memory out: it takes processes of its own"
    )
    parser.add_argument(
        "--child", nargs=4, help=argparse.SUPPRESS
    )  # way, batch, px, devices: of one of those processes
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    given = parser.parse_args(arguments)
    if given.child:
        return _child(given)
    try:
        for name in ("architectures", "rounds", "threads"):
            if getattr(given, name) < 1:
                raise ValueError(f"`--{name}` must be at least 1, got {getattr(given, name)}")
        for batch, size in given.setting or ():
            if batch < 1 or size < 32:
                raise ValueError(f"`--setting` must be at least 1 image of 32 px, got {batch} of {size} px")
        result = compare(given)
    except ValueError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    if given.json:
        print(json.dumps(result))
    return result


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """All settings.

    Raises:
      ValueError: when the ways answer differently.
    """
    if (reason := ofa.missing()) is not None:
        print(f"PyTorch's columns are left out: {reason}")
    processors = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as cache:
        os.sched_setaffinity(0, sorted(processors)[: given.threads])  # JAX takes as many threads as it sees processors
        before = _cache_programs(cache)
        try:
            settings = [
                _setting(given, Setting(batch=batch, size=size, threads=given.threads), cache)
                for batch, size in given.setting or SETTINGS
            ]
            growth = _growth(given, cache) if given.growth else {}
        finally:
            os.sched_setaffinity(0, processors)
            _cache_programs(*before)
    rows = [row for setting in settings for row in setting.pop("rows")]
    return {
        "rows": rows,
        "summary": {**_summary(rows), **_counts(settings), "device": environment()["device"]},
        "settings": settings,
        **growth,
        "threads": given.threads,
        "rounds": given.rounds,
        "seed": given.seed,
        "load_average": os.getloadavg()[0],
        **environment(),
    }


def _cache_programs(folder: str | None, least_s: float = 0.0) -> tuple[Any, ...]:
    """Keeps compiled programs in a folder; returns where they were kept before, and from how many seconds on."""
    names = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = tuple(getattr(jax.config, name) for name in names)
    for name, value in zip(names, (folder, least_s), strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    return before


def _start(setting: Setting, ways: Sequence[str]) -> dict[str, Any]:
    """The ways by name, all with the same weights."""
    state = ofa.random_state(entries(space_of(setting.size)), seed=0, gain=1.0)
    params = nnx.split(convert(space_of(setting.size), state)[0])[1]
    return {way: Theirs(setting, state) if way == "torch" else Ours(setting, way, params) for way in ways}


def _setting(given: argparse.Namespace, setting: Setting, cache: str) -> dict[str, Any]:
    ways = [way for way in WAYS if way != "torch" or ofa.missing() is None]
    space, stepped = space_of(setting.size), _start(setting, ways)
    drawn = np.asarray(sample(jax.random.key(given.seed), space, given.architectures))
    print(f"\nbatch {setting.batch} at {setting.size} px, {CLASSES} classes, {given.threads} threads")
    differ = max(_difference(stepped, arch) for arch in (largest(space), drawn[0]))
    print(f"logits differ by at most {differ:.1e}; ms a step, medians of {given.rounds} rounds:")
    compile_s = {way: _first_steps(stepped[way], drawn) for way in ways if way != "torch"}
    rows = []
    for number, arch in enumerate(drawn):
        calls: dict[str, Callable[[], None]] = {way: partial(stepped[way].step, arch) for way in ways}
        times = interleaved(calls, given.rounds, warm_up=2, seed=given.seed + number)
        row: dict[str, Any] = {"batch": setting.batch, "size": setting.size, "arch": arch.tolist()}
        row |= {f"{way}_ms": statistics.median(each) for way, each in times.items()}
        row["least_and_most"] = {way: [min(each), max(each)] for way, each in times.items()}
        rows.append(row)
        print(f"{number:>4}  " + "  ".join(f"{way} {row[f'{way}_ms']:>7.1f}" for way in ways), flush=True)
    sliced, masked = stepped["sliced"].trainer, stepped["masked"].trainer
    blocks = sliced.engines["sliced"].sliced
    result = {
        "batch": setting.batch,
        "size": setting.size,
        "rows": rows,
        "summary": _summary(rows),
        "logits_differ": differ,
        "compile_s": compile_s,
        "compiles_masked": masked.traces,
        "compiles_sliced": blocks.compiles["gradient"],
        "distinct_blocks": distinct_blocks(space, (setting.size, setting.size, 3)),
    }
    print(
        f"compiles: masked {masked.traces} in {compile_s['masked']:.0f} s; sliced {blocks.compiles['gradient']} of"
        f" {result['distinct_blocks']} distinct blocks in {compile_s['sliced']:.0f} s"
    )
    if not given.no_memory:
        result["peak_mib"] = {way: _in_child(way, setting, cache)["peak_mib"] for way in ways}
        print("peak memory, MiB: " + ", ".join(f"{way} {mib:.0f}" for way, mib in result["peak_mib"].items()))
    print(", ".join(f"{name} {value:.2f}" for name, value in result["summary"].items()), flush=True)
    return result


def _difference(stepped: dict[str, Any], arch: np.ndarray) -> float:
    logits = {way: each.logits(arch) for way, each in stepped.items()}
    difference = max(float(np.abs(each - logits["masked"]).max()) for each in logits.values())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(logits["masked"]).max())):
        raise ValueError(f"logits differ by {difference:.1e}, more than {TOLERANCE}; nothing was timed")
    return difference


def _first_steps(ours: Ours, archs: np.ndarray) -> float:
    """Seconds until all programs are compiled: what the first steps take beyond the second ones."""
    seconds = []
    for _ in range(2):
        begun = time.perf_counter()
        for arch in archs:
            ours.step(arch)
        seconds.append(time.perf_counter() - begun)
    return seconds[0] - seconds[1]


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    pairs = [("sliced", "masked")] + [(way, "torch") for way in ("sliced", "masked") if "torch_ms" in rows[0]]
    return {
        f"{one}_over_{other}": statistics.fmean(row[f"{one}_ms"] / row[f"{other}_ms"] for row in rows)
        for one, other in pairs
    }


def _counts(settings: Sequence[dict[str, Any]]) -> dict[str, int]:
    return {
        name: max(setting[name] for setting in settings)
        for name in ("compiles_masked", "compiles_sliced", "distinct_blocks")
    }


# In processes of their own: peak memory, and numbers of devices


def _in_child(way: str, setting: Setting, cache: str) -> dict[str, Any]:
    """Peak memory and time of a way; the first run fills the cache, for compiling takes memory too."""
    words = [sys.executable, "-m", "experiments.benchmarks.supernet_step", "--threads", str(setting.threads)]
    words += ["--child", way, str(setting.batch), str(setting.size), str(setting.devices)]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={setting.devices}"
    surroundings = {**os.environ, "JAX_COMPILATION_CACHE_DIR": cache, "XLA_FLAGS": flags.strip()}
    found: dict[str, Any] = {}
    for _ in range(2):
        done = subprocess.run(words, env=surroundings, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"the process that measures `{way}` ended: {done.stderr.strip().splitlines()[-1:]}")
        found = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _child(given: argparse.Namespace) -> dict[str, Any]:
    way, (batch, size, devices) = given.child[0], map(int, given.child[1:])
    if cache := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        _cache_programs(cache)
    setting = Setting(batch=batch, size=size, threads=given.threads, devices=devices)
    if way == "torch":
        ofa.load()
    arch = largest(space_of(size))
    before = _peak_mib()
    stepped = _start(setting, [way])[way]
    for _ in range(3):
        stepped.step(arch)
    times = interleaved({way: partial(stepped.step, arch)}, 5, warm_up=0, seed=0)[way]
    result = {"peak_mib": _peak_mib() - before, "ms": statistics.median(times)}
    print(json.dumps(result))
    return result


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _growth(given: argparse.Namespace, cache: str) -> dict[str, Any]:
    """The largest architecture's step as the batch grows, architectures by depth, and the masked step by devices."""
    ways = [way for way in WAYS if way != "torch" or ofa.missing() is None]
    print(f"\nms a step at 32 px as things grow\n{'':>22}" + "".join(f"{way:>9}" for way in ways))
    tables: dict[str, list[dict[str, Any]]] = {"by_batch": [], "by_depth": [], "by_devices": []}

    def timed(table: str, grown: dict[str, int], setting: Setting, arch: np.ndarray) -> None:
        stepped = _start(setting, ways)
        times = interleaved({w: partial(stepped[w].step, arch) for w in ways}, given.rounds, warm_up=2, seed=given.seed)
        row = {**grown, **{f"{way}_ms": statistics.median(each) for way, each in times.items()}}
        tables[table].append(row)
        print(f"{grown!s:>22}" + "".join(f"{row[f'{way}_ms']:>9.1f}" for way in ways), flush=True)

    space = space_of(32)
    for batch in (8, 16, 32, 64):
        timed("by_batch", {"batch": batch}, Setting(batch=batch, size=32, threads=given.threads), largest(space))
    for index, depth in enumerate(space.depths):
        arch = np.array(
            [index if choice.name.endswith(".depth") else len(choice.options) // 2 for choice in space.choices],
            np.int32,
        )
        timed("by_depth", {"blocks a stage": depth}, Setting(batch=32, size=32, threads=given.threads), arch)
    for devices in (1, 2, 4, 8):  # of one processor: what sharing costs, not what more processors bring
        setting = Setting(batch=32, size=32, threads=given.threads, devices=devices)
        found = _in_child("masked", setting, cache)
        tables["by_devices"].append({"devices": devices, "masked_ms": found["ms"]})
        print(f"{f'{devices} host devices':>22}{'':>9}{found['ms']:>9.1f}", flush=True)
    return tables


if __name__ == "__main__":
    main()

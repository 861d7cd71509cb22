"""How far are modelled activation bytes from what tflite-micro's arena takes, for int8 networks?

    python -m experiments.benchmarks.arena [--networks resnet_8 ...] [--samples 3] [--seed 0] [--json]

Networks by name, and some drawn from two spaces, are written as int8 TFLite with random weights (memory does not hang
on them), and run once by tflite-micro, which records its arena. `modelled` follows tflite-micro's rules
(`hardware/costs/arena.py`); `peak` is what has to be alive at once under the best rules (`hardware/costs/memory.py`):
in place where it can be, no copy for padding, no gaps. Both are compared with the arena's activation part.

Last (tflite-micro 0.dev20261023, TensorFlow 2.21): 19 of 19 modelled to the byte; `peak` within 10 % for 5 of 19, those
whose peak holds no padded copy, and 0.43-0.75 of the arena for the others.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.build import build, nearest
from experiments.environment import environment
from experiments.options import tree
from hardware.costs.arena import arena_activation_bytes
from hardware.costs.memory import peak_bytes
from hardware.export.weights import random_images, random_weights
from hardware.runtimes.micro import Micro
from search_spaces.derived.sampling import sample_networks
from search_spaces.layers import Layer
from search_spaces.networks import NAMED
from search_spaces.space import Space

NETWORKS = (
    "resnet_8",
    "ds_cnn",
    "mobilenet_v1_0.25_vww",
    "autoencoder",
    "mcunet_in0",
    "mcunet_in2",
    "mcunet_in4",
    "mcunet_mobilenet_v2_0.35",
    "mcunet_proxyless_0.3",
    "mobilenet_v2_0.35",
    "mobilenet_v3_small",
    "shufflenet_v2_0.5",
    "squeezenet_1.1",
)
SPACES: Mapping[str, Mapping[str, Any]] = {  # sampled: settings beyond the option's
    "mobile_micro": {},
    "mcunet": {"resolutions": [48, 64, 80, 96], "width_mults": [0.2, 0.3, 0.4]},
}
CLOSE = 0.1


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs the benchmark, prints its table and returns the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.arena", description=__doc__)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), help="by name; default: those of the list")
    parser.add_argument("--samples", type=int, default=3, help="drawn from each space; default 3")
    parser.add_argument("--seed", type=int, default=0, help="of the networks drawn; default 0")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    given = parser.parse_args(arguments)
    try:
        named = {name: _named(name) for name in given.networks}
        networks = named | drawn(given.samples, given.seed)
        if not networks:
            raise ValueError("no networks; name some, or set `--samples` to 1 or more")
        micro = Micro()
        version = micro.version
        rows = told(networks, micro)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    result = {"benchmark": "arena", "rows": rows, "summary": summed_up(rows), "environment": environment()}
    result["environment"] = {**result["environment"], "tflite_micro": version}
    said = result["summary"]
    print(
        f"\n{said['within_10_percent']} of {said['networks']} within 10 %, worst {said['worst']:.3f}; of the peak under"
        f" the best rules {said['peak_within_10_percent']}, worst {said['peak_worst']:.3f}"
    )
    if given.json:
        print(json.dumps(result))
    return result


def drawn(samples: int, seed: int) -> dict[str, tuple[Layer, ...]]:
    """Networks drawn uniformly from each space's distinct ones, by a name of their own.

    Raises:
      ValueError: when `samples` is below 0.
    """
    if samples < 0:
        raise ValueError(f"`--samples` must be 0 or more, got {samples}")
    networks: dict[str, tuple[Layer, ...]] = {}
    for name, settings in SPACES.items():
        described = {**tree("search_space", name), **settings}
        space: Space = build(described, image_size=32, image_channels=3, classes=10)
        rows = np.asarray(sample_networks(jax.random.key(seed), space, samples)) if samples else ()
        networks |= {f"{name}_{i}": tuple(space.layers(row)) for i, row in enumerate(rows)}
    return networks


def told(networks: Mapping[str, tuple[Layer, ...]], micro: Micro) -> list[dict[str, Any]]:
    """All rows of the result, each printed once it is known.

    Raises:
      ValueError: on a network that tflite-micro does not run, by its name.
    """
    rows = []
    print(f"{'network':<28}{'modelled':>10}{'activation':>12}{'ratio':>8}{'peak':>10}{'ratio':>8}{'arena':>10}")
    for name, layers in networks.items():
        try:
            rows.append(row := compared(name, layers, micro))
        except ValueError as error:
            raise ValueError(f"`{name}`: {error}") from error
        print(
            f"{name:<28}{row['modelled_bytes']:>10}{row['activation_bytes']:>12}{row['ratio']:>8.3f}"
            f"{row['peak_bytes']:>10}{row['peak_ratio']:>8.3f}{row['arena_bytes']:>10}",
            flush=True,
        )
    return rows


def compared(name: str, layers: tuple[Layer, ...], micro: Micro) -> dict[str, Any]:
    """One row of the result."""
    arena = micro.arena(micro.prepare(layers, random_weights(layers), "int8", random_images(layers, 2)))
    modelled, peak = arena_activation_bytes(layers), peak_bytes(layers, "int8")
    return {
        "network": name,
        "modelled_bytes": modelled,
        "arena_bytes": arena.total_bytes,
        "activation_bytes": arena.activation_bytes,
        "ratio": modelled / arena.activation_bytes,
        "peak_bytes": peak,
        "peak_ratio": peak / arena.activation_bytes,
    }


def summed_up(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many networks are within 10 %, and the ratio that is furthest from 1."""
    found: dict[str, Any] = {"networks": len(rows)}
    for prefix, key in (("", "ratio"), ("peak_", "peak_ratio")):
        ratios = [row[key] for row in rows]
        found[f"{prefix}within_10_percent"] = sum(abs(ratio - 1) <= CLOSE for ratio in ratios)
        found[f"{prefix}worst"] = max(ratios, key=lambda ratio: abs(ratio - 1))
    return found


def _named(name: str) -> tuple[Layer, ...]:
    if name not in NAMED:
        raise ValueError(f"`--networks`: no network is called `{name}`{nearest(name, list(NAMED))}")
    return tuple(NAMED[name]().layers())


if __name__ == "__main__":
    main()

"""Records what `ofa` answers with random weights: the expected numbers of `tests/search_spaces/test_ofa_weights.py`.

    make peers
    python -m experiments.benchmarks.peers.ofa_logits tests/search_spaces/ofa_logits.json

Weights and images come from seeds (`ofa.random_state`, `images_of`), so that only sub-networks and logits are kept, and
the test needs no PyTorch.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.peers import ofa

SEED, CLASSES, SIZE, BATCH = 0, 10, 160, 2
BLOCKS, STAGES = 20, 5
GAINS = np.linspace(1.2, 3.2, 11)


def images_of(seed: int = SEED, size: int = SIZE, batch: int = BATCH) -> np.ndarray:
    """Noise, NHWC."""
    return np.random.default_rng(seed).normal(size=(batch, size, size, 3)).astype(np.float32)


def subnetworks(drawn: int, seed: int = SEED) -> list[dict[str, list[int]]]:
    """The smallest, the largest, and some drawn at random: kernels and expansions by block, depths by stage."""
    rng = np.random.default_rng(seed)
    ends = [
        {"kernels": [k] * BLOCKS, "expansions": [e] * BLOCKS, "depths": [d] * STAGES}
        for k, e, d in ((3, 3, 2), (7, 6, 4))
    ]
    return ends + [
        {
            "kernels": rng.choice(ofa.KERNELS, BLOCKS).tolist(),
            "expansions": rng.choice(ofa.EXPANSIONS, BLOCKS).tolist(),
            "depths": rng.choice(ofa.DEPTHS, STAGES).tolist(),
        }
        for _ in range(drawn)
    ]


def record(drawn: int) -> dict[str, Any]:
    """Logits with the given statistics (`eval`) and with the batch's own (`train`).

    Raises:
      ImportError: when the peers are not installed.
    """
    shapes = {
        name: value.shape
        for name, value in ofa.state_of(ofa.supernet(classes=CLASSES)).items()
        if not name.endswith("num_batches_tracked")
    }
    cases = []
    for chosen in subnetworks(drawn):
        gain = min(GAINS.tolist(), key=lambda gain: abs(np.log(_spread(shapes, gain, chosen, SIZE // 2))))
        case: dict[str, Any] = {**chosen, "gain": round(gain, 3)}
        for mode in ("eval", "train"):
            network = ofa.supernet(classes=CLASSES, state=ofa.random_state(shapes, SEED, case["gain"]))
            ofa.activate(network, **chosen)
            case[mode] = np.round(ofa.logits_of(network, images_of(), train=mode == "train"), 6).tolist()
        cases.append(case)
    return {"seed": SEED, "classes": CLASSES, "size": SIZE, "batch": BATCH, "cases": cases}


def _spread(shapes: dict[str, tuple[int, ...]], gain: float, chosen: dict[str, list[int]], size: int) -> float:
    """How much the logits of two images differ at most."""
    network = ofa.supernet(classes=CLASSES, state=ofa.random_state(shapes, SEED, gain))
    ofa.activate(network, **chosen)
    return float(np.ptp(ofa.logits_of(network, images_of(size=size)), axis=0).max())


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.peers.ofa_logits", description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--drawn", type=int, default=6, help="sub-networks beside the smallest and the largest")
    given = parser.parse_args(arguments)
    given.target.write_text(json.dumps(record(given.drawn)) + "\n")


if __name__ == "__main__":
    main()

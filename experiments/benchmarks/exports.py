"""What is a network as a file of each runtime and precision: how large, how long written, how fast, how far off?

    python -m experiments.benchmarks.exports [--networks resnet_8 deit_t ...] [--threads 1] [--rounds 30] [--json]

Networks by name with random weights: size and time hang on the layers alone. Integers are calibrated on 16 random
images, and `off` is the largest difference from ONNX in fp32 on four others, as a share of what logits span: it shows
that the files compute one and the same thing. How well integers answer, only trained networks say
(`tests/contracts/test_int8.py`). All files of a network take turns under the project's protocol. Extra: `tflite`.

Last measured on one core of an AMD EPYC with AVX-512 VNNI at a load of 3, onnxruntime 1.32.0, ai-edge-litert 2.3.0,
TensorFlow 2.21.0, medians over the seven networks: int8 has 0.28 times the bytes of fp32 in both formats, and takes
0.64 times as long in onnxruntime (0.40-1.05) and 0.69 in LiteRt (0.29-2.37; slow with hard-swish and attention). LiteRT
over onnxruntime: 0.97 in fp32 (0.75-1.13), 0.86 in int8. fp32 differs by 8e-7 at most. All of it took 2 minutes.
"""

import argparse
import difflib
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from time import perf_counter
from typing import Any

import numpy as np

from experiments.environment import environment
from hardware.costs.precision import Precision
from hardware.export.weights import random_images, random_weights
from hardware.measuring.protocol import Failure, Protocol
from hardware.runtimes.artifact import Artifact
from hardware.runtimes.litert import LiteRt
from hardware.runtimes.onnx_runtime import OnnxRuntime
from hardware.runtimes.runtime import Runtime
from search_spaces.layers import total_macs
from search_spaces.networks import NAMED

NETWORKS = (
    "resnet_8",
    "ds_cnn",
    "mobilenet_v2_0.35",
    "mobilenet_v3_small",
    "shufflenet_v2_0.5",
    "squeezenet_1.1",
    "deit_t",
)
CALIBRATION, COMPARED = 16, 4
REFERENCE = "onnx fp32"


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs the benchmark, prints its table and returns the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.exports", description=__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="by name; see `search_spaces.networks`")
    parser.add_argument("--threads", type=int, default=1, help="of each runtime; default 1")
    parser.add_argument("--rounds", type=int, default=Protocol().rounds, help=f"default {Protocol().rounds}")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    given = parser.parse_args(arguments)
    try:
        protocol = replace(Protocol(), rounds=given.rounds, pin=given.threads == 1)
        runtimes: tuple[Runtime, ...] = (OnnxRuntime(threads=given.threads), LiteRt(threads=given.threads))
        if unknown := [name for name in given.networks if name not in NAMED]:
            near = difflib.get_close_matches(unknown[0], NAMED, 1, 0.0)[0]
            raise ValueError(f"`--networks` must be names of networks, got `{unknown[0]}`; did you mean `{near}`?")
        rows = [row for name in given.networks for row in exported(name, runtimes, protocol)]
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    result = {
        "benchmark": "exports",
        "rows": rows,
        "summary": summary(rows),
        "environment": {**environment(), "runtimes": [runtime.version for runtime in runtimes]},
    }
    result["environment"]["tensorflow"] = metadata.version("tensorflow-cpu")
    for key, value in result["summary"].items():
        print(f"{key}: {value:.3g}")
    if given.json:
        print(json.dumps(result))
    return result


def exported(name: str, runtimes: Sequence[Runtime], protocol: Protocol) -> list[dict[str, Any]]:
    """A row for each runtime and precision of one network."""
    layers = NAMED[name]().layers()
    weights = random_weights(layers)
    images, others = random_images(layers, CALIBRATION), random_images(layers, COMPARED, seed=1)
    files: dict[str, tuple[Runtime, Artifact, float]] = {}
    for runtime in runtimes:
        for precision in runtime.precisions:
            begun = perf_counter()
            artifact = runtime.prepare(layers, weights, _precision(precision), images)
            files[f"{artifact.format} {precision}"] = (runtime, artifact, perf_counter() - begun)
    calls = {label: runtime.ready(artifact) for label, (runtime, artifact, _) in files.items()}
    timings = protocol.measure(calls, reference=REFERENCE)
    runtime, artifact, _ = files[REFERENCE]
    expected = runtime.run(artifact, others)
    rows = []
    for label, (runtime, artifact, seconds) in files.items():
        timing = timings[label]
        if isinstance(timing, Failure):
            raise ValueError(f"{name} as {label} could not be timed: {timing.reason}")
        row = {
            "network": name,
            "mega_macs": total_macs(layers) / 1e6,
            "file": artifact.format,
            "precision": artifact.precision,
            "bytes": len(artifact.content),
            "seconds": seconds,
            "latency_ms": timing.value_ms,
            "std_ms": timing.std_ms,
            "off": float(abs(runtime.run(artifact, others) - expected).max() / np.ptp(expected)),
        }
        print(
            "{network:24} {mega_macs:8.1f} MMACs  {file:6} {precision:5} {bytes:11,} B  written in {seconds:5.1f} s "
            " {latency_ms:8.3f} +- {std_ms:.3f} ms  off {off:.1e}".format(**row),
            flush=True,
        )
        rows.append(row)
    return rows


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Over the networks, medians of sizes and times: of one file over another's."""
    by = {(row["network"], row["file"], row["precision"]): row for row in rows}
    networks = dict.fromkeys(row["network"] for row in rows)

    def ratio(of: str, one: tuple[str, str], other: tuple[str, str]) -> float:
        return statistics.median(by[name, *one][of] / by[name, *other][of] for name in networks)

    return {
        "onnx_int8_bytes_over_fp32": ratio("bytes", ("onnx", "int8"), ("onnx", "fp32")),
        "tflite_int8_bytes_over_fp32": ratio("bytes", ("tflite", "int8"), ("tflite", "fp32")),
        "onnx_int8_ms_over_fp32": ratio("latency_ms", ("onnx", "int8"), ("onnx", "fp32")),
        "tflite_int8_ms_over_fp32": ratio("latency_ms", ("tflite", "int8"), ("tflite", "fp32")),
        "tflite_ms_over_onnx_fp32": ratio("latency_ms", ("tflite", "fp32"), ("onnx", "fp32")),
        "tflite_ms_over_onnx_int8": ratio("latency_ms", ("tflite", "int8"), ("onnx", "int8")),
        "fp32_off": max(row["off"] for row in rows if row["precision"] == "fp32"),
        "int8_off": max(row["off"] for row in rows if row["precision"] == "int8"),
    }


def _precision(name: str) -> Precision:
    return name  # pyright: ignore[reportReturnType]  # a runtime's own


if __name__ == "__main__":
    main()

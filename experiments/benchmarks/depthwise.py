"""How fast is a depthwise convolution with its gradients on a CPU? Ours beside XLA's and PyTorch's.

    python -m experiments.benchmarks.depthwise [--shapes] [--threads 2] [--repeats 15] [--json]

One call is the output and the gradients of images and weight, in float32. Results are compared first; then all take
turns, after warm-up. `--shapes` adds a table over the shapes of a mobile network. Ratios are of medians:
`speedup_over_xla_mean` is XLA's time over ours, `over_torch_mean` ours over PyTorch's channels_last (below 1: faster).
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import jax
import numpy as np
from jax import lax

from experiments.benchmarks.timing import interleaved
from experiments.environment import environment
from search_spaces.blocks.depthwise import depthwise

SIZE = (64, 16, 16, 96)
MOBILE_SIZES = (
    (8, 32, 32, 48),
    (8, 16, 16, 120),
    (8, 8, 8, 240),
    (8, 4, 4, 960),
    (32, 16, 16, 64),
    (32, 8, 8, 240),
    (32, 4, 4, 480),
    (32, 2, 2, 672),
    (32, 1, 1, 960),
)
TORCH = "torch==2.13.0"  # the version that the published figures were taken with

Call = Callable[[], Any]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs the benchmark, prints its tables and returns the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.depthwise", description=__doc__)
    parser.add_argument("--size", type=int, nargs=4, default=SIZE, metavar=("BATCH", "HEIGHT", "WIDTH", "CHANNELS"))
    parser.add_argument("--kernels", type=int, nargs="+", default=(3, 5, 7))
    parser.add_argument("--strides", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--shapes", action="store_true", help="also the shapes of a mobile network")
    parser.add_argument("--threads", type=int, default=2, help="and processors, for everyone")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    given = parser.parse_args(arguments)
    processors = os.sched_getaffinity(0)
    try:
        for name in ("threads", "repeats"):
            if getattr(given, name) < 1:
                raise ValueError(f"`--{name}` must be at least 1, got {getattr(given, name)}")
        # JAX takes as many threads as it sees processors when it starts.
        os.sched_setaffinity(0, sorted(processors)[: given.threads])
        with jax.default_device(jax.devices("cpu")[0]):
            result = compare(given)
    except ValueError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    finally:
        os.sched_setaffinity(0, processors)
    if given.json:
        print(json.dumps(result))
    return result


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """Both tables.

    Raises:
      ValueError: for a shape that is none, or when the answers differ.
    """
    if find_spec("torch") is None:
        print(f"PyTorch's columns are left out; to have them: pip install {TORCH}")
    rows = _table([tuple(given.size)], given)
    result: dict[str, Any] = {"rows": rows, "summary": _summary(rows)}
    if given.shapes:
        result["shapes"] = _table(MOBILE_SIZES, given)
        result["shapes_summary"] = _summary(result["shapes"])
    versions = {"torch": import_module("torch").__version__} if find_spec("torch") else {}
    return {
        **result,
        "threads": given.threads,
        "repeats": given.repeats,
        "load_average": os.getloadavg()[0],
        "peers": versions,
        **environment(),
    }


def _table(sizes: Sequence[tuple[int, ...]], given: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for size in sizes:
        for stride in given.strides:
            for kernel in given.kernels:
                row = _measured(size, kernel, stride, given.threads, given.repeats)
                names = [name for name in row if name.endswith("_ms")]
                if not rows:
                    print(f"{'images':>16} kernel stride  " + "  ".join(f"{name:>19}" for name in names))
                print(
                    f"{'x'.join(map(str, size)):>16} {kernel:>6} {stride:>6}  "
                    + "  ".join(f"{row[name]:>19.2f}" for name in names),
                    flush=True,
                )
                rows.append(row)
    print(", ".join(f"{name} {value:.2f}" for name, value in _summary(rows).items()))
    return rows


def _summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    summary = {"speedup_over_xla_mean": statistics.fmean(row["xla_ms"] / row["ours_ms"] for row in rows)}
    if "torch_ms" in rows[0]:
        summary["over_torch_mean"] = statistics.fmean(row["ours_ms"] / row["torch_ms"] for row in rows)
        summary["over_torch_contiguous_mean"] = statistics.fmean(
            row["ours_ms"] / row["torch_contiguous_ms"] for row in rows
        )
    return summary


def _measured(size: tuple[int, ...], kernel: int, stride: int, threads: int, repeats: int) -> dict[str, Any]:
    if min(*size, kernel, stride) < 1 or kernel % 2 == 0:
        raise ValueError(f"sizes and strides must be at least 1 and kernels odd, got {size}, {kernel} and {stride}")
    batch, height, width, channels = size
    rng = np.random.default_rng(0)
    x, weight, cotangent = (
        rng.normal(size=shape).astype(np.float32)
        for shape in (
            size,
            (kernel, kernel, 1, channels),
            (batch, -(-height // stride), -(-width // stride), channels),
        )
    )
    compile_s, calls = {}, {}
    for name, convolve in (("ours", depthwise), ("xla", _grouped)):
        calls[name], compile_s[name] = _jax_call(convolve, x, weight, cotangent, stride)
    if find_spec("torch"):
        calls["torch"] = _torch_call(x, weight, cotangent, stride, threads, channels_last=True)
        calls["torch_contiguous"] = _torch_call(x, weight, cotangent, stride, threads, channels_last=False)
    _must_agree(calls)
    times = interleaved(calls, repeats, warm_up=2, seed=0)
    return {
        "size": size,
        "kernel": kernel,
        "stride": stride,
        **{f"{name}_ms": statistics.median(each) for name, each in times.items()},
        "least_and_most": {name: [min(each), max(each)] for name, each in times.items()},
        "compile_s": compile_s,
    }


def _grouped(x: Any, weight: Any, stride: int) -> Any:
    pad = weight.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _jax_call(convolve: Any, x: Any, weight: Any, cotangent: Any, stride: int) -> tuple[Call, float]:
    """The compiled call, and the seconds it took to compile."""

    def both(x: Any, weight: Any, cotangent: Any) -> Any:
        y, pull = jax.vjp(lambda x, weight: convolve(x, weight, stride), x, weight)
        return y, *pull(cotangent)

    arrays = [jax.device_put(array) for array in (x, weight, cotangent)]
    begun = time.perf_counter()
    compiled = jax.jit(both).lower(*arrays).compile()
    return lambda: jax.block_until_ready(compiled(*arrays)), time.perf_counter() - begun


def _torch_call(x: Any, weight: Any, cotangent: Any, stride: int, threads: int, channels_last: bool) -> Call:
    torch: Any = import_module("torch")
    torch.set_num_threads(threads)
    memory = torch.channels_last if channels_last else torch.contiguous_format
    images, kernels, pulled = (
        torch.from_numpy(np.ascontiguousarray(array.transpose(order))).contiguous(memory_format=memory)
        for array, order in ((x, (0, 3, 1, 2)), (weight, (3, 2, 0, 1)), (cotangent, (0, 3, 1, 2)))
    )
    images.requires_grad_()
    kernels.requires_grad_()

    def call() -> Any:
        y = torch.nn.functional.conv2d(
            images, kernels, stride=stride, padding=weight.shape[0] // 2, groups=weight.shape[3]
        )
        return y, *torch.autograd.grad(y, (images, kernels), pulled)

    return call


def _must_agree(calls: dict[str, Call]) -> None:
    expected = [np.asarray(array) for array in calls["xla"]()]
    for name, call in calls.items():
        answer = [array.detach().numpy() if hasattr(array, "detach") else np.asarray(array) for array in call()]
        if name.startswith("torch"):
            orders = (0, 2, 3, 1), (0, 2, 3, 1), (2, 3, 1, 0)
            answer = [array.transpose(order) for array, order in zip(answer, orders, strict=True)]
        for ours, theirs in zip(answer, expected, strict=True):
            # Sums of up to 10^4 products of two normal numbers, in different orders.
            if not np.allclose(ours, theirs, rtol=1e-4, atol=1e-3 * np.abs(theirs).max()):
                raise ValueError(f"`{name}` and XLA's convolution give different answers; nothing was timed")


if __name__ == "__main__":
    main()

"""A finished network in other formats and precisions: each file run on the test images and held against the ONNX."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from experiments.build import nearest
from hardware.costs.precision import Precision
from hardware.runtimes.artifact import Artifact, Network
from hardware.runtimes.litert import EXTRA, LiteRt
from hardware.runtimes.missing import need
from hardware.runtimes.onnx_runtime import OnnxRuntime
from hardware.runtimes.quiet import quiet
from hardware.runtimes.runtime import Runtime
from nas.data.dataset import Dataset
from nas.training import normalise
from nas.winners import accuracy, pieces
from search_spaces.static import resize

PARITY = 1e-4  # largest difference allowed between the logits of two runtimes, both in fp32
CALIBRATION = 256  # training images that integers take their ranges from
FLOAT = "onnx_fp32"
"""What every winner has, and the others are held against."""


class Export(NamedTuple):
    """One kind of file.

    Attributes:
      runtime: writes and runs it.
      precision: of weights and activations.
      modules: those of an extra that it needs.
    """

    runtime: Runtime
    precision: Precision
    modules: tuple[str, ...] = ()


TFLITE = ("tensorflow", "ai_edge_litert")
EXPORTS: Mapping[str, Export] = {
    "onnx_int8": Export(OnnxRuntime(), "int8"),
    "tflite_fp32": Export(LiteRt(), "fp32", TFLITE),
    "tflite_fp16": Export(LiteRt(), "fp16", TFLITE),
    "tflite_int8": Export(LiteRt(), "int8", TFLITE),
}
"""By the name that the setting `exports` knows them by."""


class Seen(NamedTuple):
    """What files are judged by.

    Attributes:
      images: test images, normalised.
      labels: theirs.
      calibration: training images, normalised.
      size: the side that images are resized to, px: the network's resolution, where that was a choice.
    """

    images: Float[np.ndarray, "images height width channels"]
    labels: Int[np.ndarray, " images"]
    calibration: Float[np.ndarray, "training height width channels"]
    size: int | None

    @classmethod
    def of(cls, data: Dataset, size: int | None) -> "Seen":
        """All test images and the first training images, whose order is random."""
        return cls(
            images=np.asarray(normalise(data.test.images, data)),
            labels=data.test.labels,
            calibration=_resized(np.asarray(normalise(data.train.images[:CALIBRATION], data)), size),
            size=size,
        )

    def logits(self, runtime: Runtime, artifact: Artifact) -> Float[np.ndarray, "images classes"]:
        """What a file answers to the test images."""
        return np.concatenate([runtime.run(artifact, _resized(piece, self.size)) for piece in pieces(self.images)])


def check_exports(names: Sequence[str]) -> None:
    """Refuses, before any work, kinds of files that there are not, or whose libraries are not installed.

    Raises:
      ValueError: naming what is wrong and the nearest that is right, or the command that installs what is missing.
    """
    for name in names:
        if name not in EXPORTS:
            raise ValueError(f"`exports` has no `{name}`{nearest(name, list(EXPORTS))}")
        if names.count(name) > 1:
            raise ValueError(f"`exports` names `{name}` twice; name it once")
    for module in dict.fromkeys(module for name in names for module in EXPORTS[name].modules):
        with quiet():
            need(module, EXTRA)


def export(
    names: Iterable[str], network: Network, seen: Seen, reference: Float[np.ndarray, "images classes"]
) -> Iterable[tuple[Artifact | None, dict[str, Any]]]:
    """Writes a network in each of the kinds named, and says how each file answers.

    A kind that cannot be written of this network is told and left out: a trained network is worth having without it.

    Args:
      names: of `EXPORTS`.
      network: layers and trained weights.
      seen: what the files are judged by.
      reference: logits of the float ONNX.

    Raises:
      ValueError: when a file in fp32 answers otherwise than the float ONNX.
    """
    for name in names:
        runtime, precision, _ = EXPORTS[name]
        images = seen.calibration if precision == "int8" else None
        try:
            artifact = runtime.prepare(*network, precision, images)
        except ValueError as error:
            yield None, {**_of(name), "failure": str(error)}
            continue
        logits = seen.logits(runtime, artifact)
        difference = float(np.abs(logits - reference).max())
        if precision == "fp32" and not difference <= PARITY:  # or it is no number
            raise ValueError(f"{name} differs from the float ONNX by {difference:.2g}, more than {PARITY}; report this")
        if not np.isfinite(logits).all():
            yield None, {**_of(name), "failure": f"its answers in {precision} are not finite numbers"}
            continue
        same, floats = float((logits.argmax(1) == reference.argmax(1)).mean()), precision != "int8"
        said = judged(name, artifact, runtime, logits, seen.labels)
        yield artifact, {**said, "same_top1": same, "max_abs_diff": difference if floats else None}


def judged(
    name: str,
    artifact: Artifact,
    runtime: Runtime,
    logits: Float[np.ndarray, "images classes"],
    labels: Int[np.ndarray, " images"],
) -> dict[str, Any]:
    """What the summary says of a file.

    `test_accuracy`, `same_top1` (the share of test images whose largest logit is the float ONNX's) and `max_abs_diff`
    (of logits, from it) are measured, by running the file. The last is None where integers have a scale of their own,
    and both are of the float ONNX itself.
    """
    return {
        "export": name,
        "file": "model.onnx" if name == FLOAT else f"model_{name}.{artifact.format}",
        "precision": artifact.precision,
        "runtime": runtime.version,
        "kind": "measured",
        "bytes": len(artifact.content),
        "test_accuracy": accuracy(logits, labels),
        "same_top1": None,
        "max_abs_diff": None,
    }


def _of(name: str) -> dict[str, Any]:
    """What the summary says of a kind of file that could not be had, beside the reason."""
    runtime, precision, _ = EXPORTS[name]
    return {"export": name, "file": None, "precision": precision, "runtime": runtime.version}


def _resized(
    images: Float[np.ndarray, "images height width channels"], size: int | None
) -> Float[np.ndarray, "images rows columns channels"]:
    return np.asarray(resize(jnp.asarray(images), size))

"""Runs TFLite files with LiteRT (TensorFlow Lite) and its XNNPACK routines on this machine's CPU."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from hardware.costs.precision import Precision
from hardware.export.tflite import PRECISIONS, to_tflite
from hardware.runtimes.artifact import Artifact
from hardware.runtimes.missing import need
from hardware.runtimes.quiet import quiet
from hardware.runtimes.threads import check_cores, check_threads
from search_spaces.layers import Layer

EXTRA = "tflite"


@dataclass(frozen=True, kw_only=True)
class LiteRt:
    """LiteRT's interpreter, with XNNPACK for all operators that it has, on one image at a time.

    fp16 halves the file; XNNPACK computes in fp32 all the same. int8 takes and gives int8: `run` converts from floats
    and back, and what `ready` times does not.

    Attributes:
      threads: how many threads one operator may use.

    Raises:
      ValueError: when `threads` is below 1, and where it is above this machine's cores when a model is loaded here.
    """

    threads: int = 1

    def __post_init__(self) -> None:
        check_threads(self.threads)

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions it runs networks in."""
        return PRECISIONS

    @property
    def version(self) -> str:
        """Name and version of the runtime, e.g. `ai-edge-litert 2.3.0`."""
        need("ai_edge_litert", EXTRA)
        return f"ai-edge-litert {version('ai-edge-litert')}"

    def prepare(
        self,
        layers: Sequence[Layer],
        weights: Mapping[str, np.ndarray],
        precision: Precision = "fp32",
        calibration: Float[np.ndarray, "images height width channels"] | None = None,
    ) -> Artifact:
        """The network as TFLite; see `Runtime`.

        Raises:
          ValueError: when the network cannot be written.
        """
        content = to_tflite(layers, weights, precision, calibration)
        return Artifact(content=content, format="tflite", precision=precision, input_shape=layers[0].shape)

    def load(self, model: bytes) -> Any:
        """An interpreter that is ready to run the model.

        Raises:
          ValueError: when LiteRT refuses the model, or this machine has fewer cores than `threads`.
        """
        check_cores(self.threads)
        interpreters = need("ai_edge_litert.interpreter", EXTRA)
        try:
            with quiet():
                interpreter = interpreters.Interpreter(model_content=model, num_threads=self.threads)
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            why = " ".join(str(error).split())
            raise ValueError(f"{self.version} refuses the model of {len(model)} bytes: {why}") from error
        return interpreter

    def run(
        self, artifact: Artifact, images: Float[np.ndarray, "batch height width channels"]
    ) -> Float[np.ndarray, "batch *shape"]:
        """The network's output for a batch of images, one after the other; see `Runtime`.

        Raises:
          ValueError: when LiteRT refuses the model, or the images are not those that the network reads.
        """
        interpreter = self.load(artifact.content)
        (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
        if images.shape[1:] != artifact.input_shape:
            raise ValueError(f"the model reads images of {artifact.input_shape}, got {images.shape[1:]}")
        outputs = []
        for image in images:
            interpreter.set_tensor(into["index"], quantised(image[None], into))
            interpreter.invoke()
            outputs.append(dequantised(interpreter.get_tensor(out["index"]), out))
        if not outputs:
            return np.zeros((0, *out["shape"][1:]), np.float32)
        return np.concatenate(outputs)

    def ready(self, artifact: Artifact) -> Callable[[], Any]:
        """A call that runs the network once on one fixed image, with nothing left to prepare: what is timed.

        The image lies in the model's input already, in the model's own numbers. A call returns the interpreter, which
        holds the output.

        Raises:
          ValueError: when LiteRT refuses the model.
        """
        interpreter = self.load(artifact.content)
        (into,) = interpreter.get_input_details()
        values = np.random.default_rng(0).normal(size=into["shape"]).astype(np.float32)
        interpreter.set_tensor(into["index"], quantised(values, into))

        def call() -> Any:
            interpreter.invoke()
            return interpreter

        return call


def quantised(values: Float[np.ndarray, "*shape"], details: Mapping[str, Any]) -> Shaped[np.ndarray, "*shape"]:
    """Numbers as a tensor of a model holds them: integers where its details (`get_input_details`) give a scale."""
    scale, zero = details["quantization"]
    if not scale:
        return values.astype(details["dtype"])
    limits = np.iinfo(details["dtype"])
    return np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(details["dtype"])


def dequantised(values: Shaped[np.ndarray, "*shape"], details: Mapping[str, Any]) -> Float[np.ndarray, "*shape"]:
    """The numbers that a tensor of a model stands for."""
    scale, zero = details["quantization"]
    return (values.astype(np.float32) - zero) * np.float32(scale) if scale else values.astype(np.float32)

"""Runs ONNX models with onnxruntime on this machine's CPU."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from jaxtyping import Float

from hardware.costs.precision import Precision
from hardware.export.onnx_export import to_onnx
from hardware.export.onnx_int8 import to_onnx_int8
from hardware.runtimes.artifact import Artifact
from hardware.runtimes.threads import check_cores, check_threads
from search_spaces.layers import Layer


@dataclass(frozen=True, kw_only=True)
class OnnxRuntime:
    """onnxruntime's CPU provider with all graph optimisations, one operator after the other.

    With one thread everything runs on the caller's own thread. With more, the workers sleep while they wait instead of
    spinning: an embedded device has better uses for its cores, and spinning workers of one session would disturb the
    times of the next.

    It has no fp16: onnxruntime's CPU provider has next to no routines for it, and casts to fp32 and back around others.

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
        return ("fp32", "int8")

    @property
    def version(self) -> str:
        """Name and version of the runtime, e.g. `onnxruntime 1.32.0`."""
        return f"onnxruntime {ort.__version__}"

    def prepare(
        self,
        layers: Sequence[Layer],
        weights: Mapping[str, np.ndarray],
        precision: Precision = "fp32",
        calibration: Float[np.ndarray, "images height width channels"] | None = None,
    ) -> Artifact:
        """The network as ONNX; see `Runtime`.

        Raises:
          ValueError: when the network cannot be written.
        """
        if precision not in self.precisions:
            raise ValueError(f"onnxruntime runs {', '.join(self.precisions)} here, got `{precision}`")
        model = to_onnx_int8(layers, weights, calibration) if precision == "int8" else to_onnx(layers, weights)
        content = model.SerializeToString()
        return Artifact(content=content, format="onnx", precision=precision, input_shape=layers[0].shape)

    def load(self, model: bytes) -> ort.InferenceSession:
        """Reads and optimises a model.

        Raises:
          ValueError: when onnxruntime refuses the model, or this machine has fewer cores than `threads`.
        """
        check_cores(self.threads)
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no base but Exception
            why = " ".join(str(error).split())
            raise ValueError(f"{self.version} refuses the model of {len(model)} bytes: {why}") from error

    def run(
        self, artifact: Artifact, images: Float[np.ndarray, "batch height width channels"]
    ) -> Float[np.ndarray, "batch *shape"]:
        """The network's output for a batch of images; see `Runtime`.

        Raises:
          ValueError: when onnxruntime refuses the model, or the images are not those that the network reads.
        """
        if images.shape[1:] != artifact.input_shape:
            raise ValueError(f"the model reads images of {artifact.input_shape}, got {images.shape[1:]}")
        return self.run_session(self.load(artifact.content), images)

    def run_session(
        self, session: ort.InferenceSession, images: Float[np.ndarray, "batch height width channels"]
    ) -> Float[np.ndarray, "batch *shape"]:
        """The output of a model that is loaded."""
        (output,) = session.run(None, {session.get_inputs()[0].name: images.transpose(0, 3, 1, 2)})
        output = np.asarray(output)
        return output.transpose(0, 2, 3, 1) if output.ndim == 4 else output

    def ready(self, artifact: Artifact) -> Callable[[], Any]:
        """A call that runs the network once on one fixed image, with nothing left to prepare: what is timed.

        Input and output are bound beforehand: feeding numpy arrays through Python costs 7 us a call, which is a fifth
        of the smallest networks' time and no part of it. What a call returns holds the output
        (`copy_outputs_to_cpu`).

        Raises:
          ValueError: when onnxruntime refuses the model.
        """
        session = self.load(artifact.content)
        image = session.get_inputs()[0]
        values = np.random.default_rng(0).normal(size=(1, *image.shape[1:])).astype(np.float32)
        binding = session.io_binding()
        binding.bind_cpu_input(image.name, values)
        binding.bind_output(session.get_outputs()[0].name, "cpu")

        def call() -> ort.IOBinding:
            session.run_with_iobinding(binding)
            return binding

        return call

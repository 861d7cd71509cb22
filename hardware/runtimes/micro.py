"""tflite-micro: what an int8 network answers on a microcontroller, and how much memory its arena takes there."""

import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float

from hardware.costs.cost import Cost
from hardware.costs.precision import Precision
from hardware.export.tflite import to_tflite
from hardware.runtimes.artifact import Artifact
from hardware.runtimes.missing import need
from search_spaces.alive import alive
from search_spaces.layers import Activation, Layer

EXTRA = "micro"
WORKER = Path(__file__).with_name("micro_worker.py")
OUT_OF_MEMORY = ("Failed to resize buffer", "Failed to allocate", "Arena size is too small")


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Bytes of the one piece of memory that tflite-micro runs a network in.

    Attributes:
      activation_bytes: tensors that come and go, and kernels' scratch buffers: planned, so that they share places. The
        same on every processor with the same kernels.
      persistent_bytes: what stays: the structures of tensors and operators, and kernels' own data. Pointers are 8 bytes
        here, and 4 on a microcontroller, where this part is smaller.
    """

    activation_bytes: int
    persistent_bytes: int

    @property
    def total_bytes(self) -> int:
        """Both."""
        return self.activation_bytes + self.persistent_bytes


@dataclass(frozen=True, kw_only=True)
class Micro:
    """tflite-micro's interpreter with its reference kernels, int8, one image at a time.

    Answers and memory are those of a microcontroller with the same kernels (CMSIS-NN's take scratch buffers besides);
    times on this machine say nothing of one there, so none are taken.

    Attributes:
      arena_limit_bytes: the largest arena that is tried.

    Raises:
      ValueError: when the limit is below 1.
    """

    arena_limit_bytes: int = 2**28

    def __post_init__(self) -> None:
        if self.arena_limit_bytes < 1:
            raise ValueError(f"`arena_limit_bytes` must be 1 or more, got {self.arena_limit_bytes}")

    @property
    def threads(self) -> int:
        """One."""
        return 1

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions it runs networks in."""
        return ("int8",)

    @property
    def version(self) -> str:
        """Name and version, e.g. `tflite-micro 0.dev20261023182759`."""
        need("tflite_micro", EXTRA)
        return f"tflite-micro {metadata.version('tflite-micro')}"

    def prepare(
        self,
        layers: Sequence[Layer],
        weights: Mapping[str, np.ndarray],
        precision: Precision = "int8",
        calibration: Float[np.ndarray, "images height width channels"] | None = None,
    ) -> Artifact:
        """The network as an int8 TFLite file; see `Runtime`.

        Raises:
          ValueError: when the network cannot be written, or has a layer that tflite-micro has no operator for.
        """
        if precision not in self.precisions:
            raise ValueError(f"tflite-micro runs {', '.join(self.precisions)} here, got `{precision}`")
        for position, layer in enumerate(alive(layers)):
            if isinstance(layer, Activation) and layer.kind in LACKS:
                raise ValueError(
                    f"layer {position} is a {layer.kind}, which tflite-micro has no operator for; use another"
                    " nonlinearity, e.g. hard_swish"
                )
        content = to_tflite(layers, weights, precision, calibration)
        return Artifact(content=content, format="tflite", precision=precision, input_shape=layers[0].shape)

    def run(
        self, artifact: Artifact, images: Float[np.ndarray, "batch height width channels"]
    ) -> Float[np.ndarray, "batch *shape"]:
        """The network's output for a batch of images, one after the other; see `Runtime`."""
        if images.shape[1:] != artifact.input_shape:
            raise ValueError(f"the model reads images of {artifact.input_shape}, got {images.shape[1:]}")
        return self._invoked(artifact, images)[0]

    def ready(self, artifact: Artifact) -> Callable[[], Any]:
        """Nothing: there is no time to take here; see `Runtime`.

        Raises:
          ValueError: always.
        """
        raise ValueError(
            "tflite-micro's times on this machine say nothing of a microcontroller's; take its arena (`Micro.arena`),"
            " and times on a board"
        )

    def arena(self, artifact: Artifact) -> Arena:
        """What the network takes of memory, as tflite-micro recorded it while it ran one image.

        Raises:
          ValueError: when the artifact is damaged or refused, or takes more than the limit.
        """
        image = np.zeros((1, *artifact.input_shape), np.float32)
        said = self._invoked(artifact, image)[1]
        parts = dict(re.findall(r"Arena allocation (head|tail) (\d+) bytes", said))
        if set(parts) != {"head", "tail"}:
            raise ValueError(f"{self.version} records no allocations of the kind known here; try another version")
        return Arena(activation_bytes=int(parts["head"]), persistent_bytes=int(parts["tail"]))

    def arena_bytes(self, artifact: Artifact) -> int:
        """All of the arena; see `arena`."""
        return self.arena(artifact).total_bytes

    def costs(self, artifact: Artifact, target: str) -> dict[str, Cost]:
        """`arena_bytes` and `activation_bytes`, measured here; on the target itself the first is smaller (`Arena`).

        Args:
          artifact: an int8 TFLite file.
          target: its name.
        """
        arena = self.arena(artifact)
        values = {"arena_bytes": arena.total_bytes, "activation_bytes": arena.activation_bytes}
        return {
            name: Cost(name=name, value=float(value), std=None, unit="bytes", kind="measured", target=target)
            for name, value in values.items()
        }

    def _invoked(
        self, artifact: Artifact, images: Float[np.ndarray, "batch height width channels"]
    ) -> tuple[Float[np.ndarray, "batch *shape"], str]:
        """Outputs, and what tflite-micro said meanwhile."""
        if artifact.format != "tflite" or artifact.precision != "int8":
            raise ValueError(f"tflite-micro takes int8 TFLite files, got {artifact.precision} {artifact.format}")
        need("tflite_micro", EXTRA)
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "network.tflite").write_bytes(artifact.content)
            np.save(folder / "images.npy", images)
            command = [sys.executable, "-P", str(WORKER), "network.tflite", "images.npy", "outputs.npy"]
            command.append(str(self.arena_limit_bytes))
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
            if done.returncode:
                raise ValueError(
                    f"{self.version} refuses the model of {len(artifact.content)} bytes: {self._why(done)}"
                )
            return np.load(folder / "outputs.npy", allow_pickle=False), done.stderr

    def _why(self, done: "subprocess.CompletedProcess[str]") -> str:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        if lacking := re.search(r"Didn't find op for builtin opcode '(\w+)'", done.stderr):
            return f"it has no operator {lacking[1]}"
        if any(words in done.stderr for words in OUT_OF_MEMORY):
            return f"its arena takes more than {self.arena_limit_bytes} bytes; raise `arena_limit_bytes`"
        if done.returncode < 0:
            return f"its interpreter was ended by signal {-done.returncode}"
        return lines[-1] if lines else "no word why"


LACKS = ("gelu",)
"""Nonlinearities without an operator in tflite-micro; all other layers have theirs."""

"""What a runtime must offer for networks to be run and timed on it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from hardware.costs.precision import Precision
from hardware.runtimes.artifact import Artifact
from search_spaces.layers import Layer


@runtime_checkable
class Runtime(Protocol):
    """Writes networks as files and runs these on this machine, as `onnx_runtime.py` does."""

    @property
    def threads(self) -> int:
        """How many threads a network may use."""
        ...

    @property
    def version(self) -> str:
        """Name and version: times of different versions do not compare."""
        ...

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions it runs networks in."""
        ...

    def prepare(
        self,
        layers: Sequence[Layer],
        weights: Mapping[str, np.ndarray],
        precision: Precision = "fp32",
        calibration: Float[np.ndarray, "images height width channels"] | None = None,
    ) -> Artifact:
        """The network as a file.

        Args:
          layers: the network.
          weights: by name, as `hardware/export/weights.py` says.
          precision: one of `precisions`.
          calibration: images, normalised as in training, that the ranges of integers are taken from; needed for those.

        Raises:
          ValueError: when the network cannot be written: an operator that the runtime lacks is named, with its layer.
        """
        ...

    def run(
        self, artifact: Artifact, images: Float[np.ndarray, "batch height width channels"]
    ) -> Float[np.ndarray, "batch *shape"]:
        """The network's output for a batch of images, as floats: channels last, vectors as `[batch, channels]`.

        Raises:
          ValueError: when the file is damaged or refused.
        """
        ...

    def ready(self, artifact: Artifact) -> Callable[[], Any]:
        """A call that runs the network once on one image, with nothing left to prepare: what is timed.

        Raises:
          ValueError: when the file is damaged or refused.
        """
        ...

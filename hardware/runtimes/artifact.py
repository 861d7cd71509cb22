"""A network as a runtime takes it: the bytes of a file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hardware.costs.precision import Precision
from search_spaces.layers import Layer, Shape

Network = tuple[tuple[Layer, ...], Mapping[str, np.ndarray]]
"""Layers and their weights."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """What `Runtime.prepare` gives; it can be written to a file, sent to a board and run there.

    Attributes:
      content: of the file.
      format: the file's ending: `onnx`, `tflite`, `vmfb`.
      precision: of weights and activations.
      input_shape: `(height, width, channels)` of the image. How a file wants it laid out is known to its runtime.
    """

    content: bytes
    format: str
    precision: Precision
    input_shape: Shape

    @property
    def sha256(self) -> str:
        """Of the content: the file's name on a board."""
        return hashlib.sha256(self.content).hexdigest()

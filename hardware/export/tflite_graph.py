"""The TensorFlow graph that a TFLite file is converted from: each layer's tensor in the layout its reader wants.

One image at a time, as embedded runtimes run them: an image is `[1, height, width, channels]`, tokens are `[tokens,
channels]`, a vector `[1, channels]`, and what attention gives pairs of tokens `[heads, queries, keys]`. Channels lie
last, so all but pairs are one and the same row of numbers, and a reshape is all there is between them.
"""

import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np

from hardware.export.source import Source

Layout = Literal["image", "tokens", "vector", "pairs"]


class Tensor(NamedTuple):
    """The output of a layer.

    Attributes:
      value: TensorFlow's symbolic tensor.
      layout: of its axes.
    """

    value: Any
    layout: Layout


class TfGraph:
    """The tensors of the layers written so far.

    Attributes:
      tf: the TensorFlow module, which is imported where it is needed only.
      source: what is written.
      integers: whether the file will hold integers.
      tensors: of each layer.
    """

    def __init__(self, tf: Any, source: Source, integers: bool):
        self.tf = tf
        self.source = source
        self.integers = integers
        self.layers, self.readers = source.layers, source.readers
        self.tensors: list[Tensor] = []
        self._as: dict[tuple[int, Layout], Any] = {}

    def layout(self, position: int) -> Layout:
        """How the layer's tensor lies."""
        return self.tensors[position].layout

    def shared_layout(self, positions: Iterable[int]) -> Layout:
        """The layout of all these tensors; where they differ, that of an image, which all can be brought to."""
        layouts: list[Layout] = [self.layout(i) for i in positions]
        return layouts[0] if all(layout == layouts[0] for layout in layouts) else "image"

    def read(self, position: int, layout: Layout) -> Any:
        """The layer's tensor in a layout; what brings it there is written once."""
        if (position, layout) not in self._as:
            self._as[position, layout] = self._turned(position, layout)
        return self._as[position, layout]

    def _turned(self, position: int, layout: Layout) -> Any:
        value, lies = self.tensors[position]
        height, width, channels = self.layers[position].shape
        if lies == layout:
            return value
        if lies == "pairs":
            value = self.tf.transpose(value, (1, 2, 0))
        match layout:
            case "image":
                return self.tf.reshape(value, (1, height, width, channels))
            case "tokens":
                return self.tf.reshape(value, (height * width, channels))
            case "vector":
                return self.tf.reshape(value, (1, math.prod((height, width, channels))))
            case "pairs":
                return self.tf.transpose(self.tf.reshape(value, (height, width, channels)), (2, 0, 1))

    def constant(self, values: np.ndarray) -> Any:
        """Numbers of the network, in float32."""
        return self.tf.constant(np.ascontiguousarray(values, np.float32).reshape(values.shape))

    def bias(self, position: int, values: np.ndarray) -> Any:
        """What the layer at `position` adds to each channel, in float32.

        Equal constants become one tensor. As an integer a bias has the scale of its own layer's input, but a shared one
        gets that of the first: so that none are equal, each differs by some millionths.
        """
        return self.constant(np.asarray(values * (1 + position * 2.0**-22)) if self.integers else values)

    def weight(self, position: int, name: str) -> np.ndarray:
        """A weight of a layer, in float64."""
        return self.source.weight(self.layers[position], name).astype(np.float64)

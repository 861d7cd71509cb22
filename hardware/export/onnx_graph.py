"""The ONNX graph that is being written: nodes, constants, and each layer's tensor in the layout its reader wants.

An image is `[batch, channels, height, width]`, ONNX's own order; tokens are `[batch, tokens, channels]`, a vector
`[batch, channels]`, and what attention gives pairs of tokens `[batch, heads, queries, keys]`, an image like any other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hardware.export.source import Source
from search_spaces.layers import Shape

Layout = Literal["image", "tokens", "vector"]


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """The output of a layer, in the model.

    Attributes:
      name: in the model.
      layout: of its axes.
      channels_first: the shape of the image that was flattened as ONNX has it, channel by channel; None for a vector in
        the layers' order.
    """

    name: str
    layout: Layout
    channels_first: Shape | None = None


class OnnxGraph:
    """The nodes and weights written so far, and the tensors of the layers written so far."""

    def __init__(self, source: Source):
        self.source = source
        self.layers, self.readers = source.layers, source.readers
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.tensors: list[Tensor] = []
        self._as: dict[tuple[int, Layout], str] = {}
        self._whole_numbers: dict[Any, str] = {}

    def layout(self, position: int) -> Layout:
        """How the layer's tensor lies."""
        return self.tensors[position].layout

    def shared_layout(self, positions: Iterable[int]) -> Layout:
        """The layout of all these tensors; where they differ, that of an image, which all can be brought to."""
        layouts: list[Layout] = [self.layout(i) for i in positions]
        same = all(layout == layouts[0] for layout in layouts)
        return layouts[0] if same else "image"

    def read(self, position: int, layout: Layout) -> str:
        """The name of the layer's tensor in a layout; what brings it there is written once."""
        tensor = self.tensors[position]
        if tensor.layout == layout:
            return tensor.name
        if (position, layout) not in self._as:
            self._as[position, layout] = self._turned(position, tensor, layout)
        return self._as[position, layout]

    def _turned(self, position: int, tensor: Tensor, layout: Layout) -> str:
        writer, (height, width, channels) = self.writer(position), self.layers[position].shape
        match layout:
            case "vector":
                return writer.node("Flatten", [tensor.name])
            case "tokens":
                columns = writer.reshape(self.read(position, "image"), 0, channels, height * width)
                return writer.transpose(columns, 0, 2, 1)
            case "image":
                name = writer.transpose(tensor.name, 0, 2, 1) if tensor.layout == "tokens" else tensor.name
                return writer.reshape(name, 0, channels, height, width)

    def writer(self, position: int) -> "Writer":
        """What writes the layer at `position`."""
        return Writer(graph=self, position=position)

    def constant(self, values: np.ndarray, name: str) -> str:
        """Adds an initializer; whole numbers without a name (shapes and indices come again and again) share one."""
        whole = values.dtype.kind != "f"
        key = (values.shape, values.tobytes()) if whole and not name else None
        if key in self._whole_numbers:
            return self._whole_numbers[key]
        name = name or f"constant.{len(self.initializers)}"
        values = np.ascontiguousarray(values, np.int64 if whole else np.float32).reshape(values.shape)
        self.initializers.append(numpy_helper.from_array(values, name))
        if key:
            self._whole_numbers[key] = name
        return name


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Adds the nodes and constants of one layer.

    Attributes:
      graph: what it writes into.
      position: of the layer.
    """

    graph: OnnxGraph
    position: int

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Adds a node and returns the name of its output."""
        name = f"{self.position}.{op}.{len(self.graph.nodes)}"
        self.graph.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, values: np.ndarray, name: str = "") -> str:
        """Adds an initializer called by the layer's path and `name`, or by a number; returns its name."""
        return self.graph.constant(values, f"{self.graph.layers[self.position].path}.{name}" if name else "")

    def weight(self, name: str) -> np.ndarray:
        """A weight of the layer, in float64."""
        return self.graph.source.weight(self.graph.layers[self.position], name).astype(np.float64)

    def reshape(self, x: str, *shape: int) -> str:
        """`x` in another shape; 0 keeps an axis's size."""
        return self.node("Reshape", [x, self.constant(np.array(shape))])

    def transpose(self, x: str, *order: int) -> str:
        """`x` with its axes in another order."""
        return self.node("Transpose", [x], perm=list(order))

    def slice(self, x: str, axis: int, start: int, end: int) -> str:
        """A part of `x` along one axis."""
        return self.node("Slice", [x, *(self.constant(np.array([at])) for at in (start, end, axis))])

    def concatenate(self, parts: Sequence[str], axis: int) -> str:
        """The parts in one tensor."""
        return self.node("Concat", parts, axis=axis)

    def sum(self, x: str, axis: int) -> str:
        """The sum along one axis, which is gone then."""
        return self.node("ReduceSum", [x, self.constant(np.array([axis]))], keepdims=0)

"""The inverted bottleneck: expand, convolve depthwise, gate, project; elastic in all four, and fixed by its plan.

MobileNetV2 (arXiv:1801.04381), with squeeze-excite as in MobileNetV3 (arXiv:1905.02244).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from search_spaces.axes import Axis, Taps
from search_spaces.elastic import EPSILON, NONLINEARITIES, Conv, Depthwise, Norm, SqueezeExcite, make_divisible
from search_spaces.initialise import Draw
from search_spaces.layers import Graph, Nonlinearity
from search_spaces.reading import Cut, Reading


@dataclass(frozen=True, kw_only=True)
class BottleneckPlan:
    """What one inverted bottleneck may be. Its own choices: `ins`, `outs`, `kernel`, `expansion`, `squeeze_excite`.

    Attributes:
      ins: options for the channels before the block.
      outs: options for the channels after it.
      kernels: options for the depthwise kernel.
      expansions: options for the ratio of expanded to input channels.
      stride: of the depthwise convolution.
      residual: whether the input is added to the output.
      squeeze_excite: options for whether the block gates its channels.
      activation: `relu` or `hard_swish`.
      transformed: smaller kernels pass through matrices (see `Depthwise`).
      expands: False where there is no expanding convolution at all (an expansion of 1 in the published networks).
      epsilon: of batch norm.
    """

    ins: tuple[int, ...]
    outs: tuple[int, ...]
    kernels: tuple[int, ...]
    expansions: tuple[int, ...]
    stride: int
    residual: bool
    squeeze_excite: tuple[bool, ...]
    activation: Nonlinearity
    transformed: bool = False
    expands: bool = True
    epsilon: float = EPSILON

    @cached_property
    def hidden(self) -> Int[np.ndarray, "in_options expansions"]:
        """Expanded channels: the block's input channels times its expansion."""
        return np.array([[make_divisible(ins * e) for e in self.expansions] for ins in self.ins])

    @cached_property
    def squeezed(self) -> Int[np.ndarray, "in_options expansions"]:
        """Bottleneck of the squeeze-excite: a quarter of the expanded channels."""
        return np.array([[make_divisible(channels / 4) for channels in row] for row in self.hidden.tolist()])

    def gated(self, read: Cut) -> bool:
        """Whether the block of a known architecture gates its channels."""
        return self.squeeze_excite[read.index("squeeze_excite", self.squeeze_excite)]

    def read_ins(self, read: Reading) -> Axis:
        """The axis of channels before the block."""
        return read.axis(np.array(self.ins), "ins")

    def read_hidden(self, read: Reading) -> Axis:
        """The axis of expanded channels."""
        return read.axis(self.hidden, "ins", "expansion")

    def read_squeezed(self, read: Reading) -> Axis:
        """The axis of the squeeze-excite's bottleneck."""
        return read.axis(self.squeezed, "ins", "expansion")

    def read_outs(self, read: Reading) -> Axis:
        """The axis of channels after the block."""
        return read.axis(np.array(self.outs), "outs")

    def read_taps(self, read: Reading) -> Taps:
        """The taps of the depthwise kernel."""
        return read.taps(self.kernels, "kernel")

    def layers(self, graph: Graph, x: int, read: Cut, path: str) -> int:
        """Writes the block of a known architecture behind position `x`; returns the position of its output."""
        ins, expansion = read.index("ins", self.ins), read.index("expansion", self.expansions)
        kernel = self.kernels[read.index("kernel", self.kernels)]
        h = x
        if self.expands:
            h = graph.conv(h, int(self.hidden[ins, expansion]), f"{path}.expand")
            h = graph.activation(graph.norm(h, f"{path}.expand_norm", self.epsilon), self.activation)
        h = graph.depthwise(h, f"{path}.depthwise", kernel, self.stride)
        h = graph.activation(graph.norm(h, f"{path}.depthwise_norm", self.epsilon), self.activation)
        if self.gated(read):
            squeezed = int(self.squeezed[ins, expansion])
            gate = graph.dense(graph.global_pool(h), squeezed, f"{path}.squeeze_excite.reduce")
            gate = graph.activation(gate, "relu")
            gate = graph.dense(gate, graph.shape(h)[-1], f"{path}.squeeze_excite.expand")
            h = graph.scale(h, graph.activation(gate, "hard_sigmoid"))
        h = graph.conv(h, self.outs[read.index("outs", self.outs)], f"{path}.project")
        h = graph.norm(h, f"{path}.project_norm", self.epsilon)
        return graph.sum(x, h) if self.residual else h


class InvertedBottleneck(nnx.Module):
    """The block of a plan."""

    def __init__(self, plan: BottleneckPlan, **layers: nnx.Module | None):
        self.plan = plan
        self.expand: Conv | None
        self.expand_norm: Norm | None
        self.depthwise: Depthwise
        self.depthwise_norm: Norm
        self.squeeze_excite: SqueezeExcite | None
        self.project: Conv
        self.project_norm: Norm
        for name, layer in {"expand": None, "expand_norm": None, "squeeze_excite": None, **layers}.items():
            setattr(self, name, layer)

    @classmethod
    def init(cls, draw: Draw, plan: BottleneckPlan) -> "InvertedBottleneck":
        """A block wide enough for all its options."""
        ins, hidden, outs = max(plan.ins), int(plan.hidden.max()), max(plan.outs)
        layers: dict[str, nnx.Module] = {}
        if plan.expands:
            layers["expand"] = Conv.init(draw, ins, hidden)
            layers["expand_norm"] = Norm.init(hidden, plan.epsilon)
        smaller = plan.kernels[:-1] if plan.transformed else ()
        layers["depthwise"] = Depthwise.init(draw, hidden, max(plan.kernels), plan.stride, smaller)
        layers["depthwise_norm"] = Norm.init(hidden, plan.epsilon)
        if any(plan.squeeze_excite):
            layers["squeeze_excite"] = SqueezeExcite.init(draw, hidden, int(plan.squeezed.max()))
        layers["project"] = Conv.init(draw, hidden, outs)
        layers["project_norm"] = Norm.init(outs, plan.epsilon)
        return cls(plan, **layers)

    def cut(self, read: Reading) -> "InvertedBottleneck":
        """The block with the parameters that the reading uses."""
        plan = self.plan
        ins, hidden, outs = plan.read_ins(read), plan.read_hidden(read), plan.read_outs(read)
        layers: dict[str, nnx.Module] = {
            "depthwise": self.depthwise.cut(hidden, plan.read_taps(read)),
            "depthwise_norm": self.depthwise_norm.cut(hidden),
            "project": self.project.cut(hidden, outs),
            "project_norm": self.project_norm.cut(outs),
        }
        if self.expand is not None and self.expand_norm is not None:
            layers["expand"] = self.expand.cut(ins, hidden)
            layers["expand_norm"] = self.expand_norm.cut(hidden)
        if self.squeeze_excite is not None and not (isinstance(read, Cut) and not plan.gated(read)):
            layers["squeeze_excite"] = self.squeeze_excite.cut(hidden, plan.read_squeezed(read))
        return InvertedBottleneck(plan, **layers)

    def cut_stats(self, read: Reading, stats: dict[str, Any]) -> dict[str, Any]:
        """Batch-norm statistics of the channels that the reading uses."""
        hidden, outs = self.plan.read_hidden(read), self.plan.read_outs(read)
        axes = {"expand_norm": hidden, "depthwise_norm": hidden, "project_norm": outs}
        return {name: Norm.cut_stats(stats[name], axis) for name, axis in axes.items() if name in stats}

    def __call__(
        self, read: Reading, stats: dict[str, Any] | None, x: Float[Array, "..."]
    ) -> tuple[Array, dict[str, Any]]:
        """Returns the block's output and the batch-norm statistics used, by the norms' names."""
        plan = self.plan
        block, given = self.cut(read), stats or {}
        hidden, outs = plan.read_hidden(read), plan.read_outs(read)
        nonlinear = NONLINEARITIES[plan.activation]
        used: dict[str, Any] = {}

        h = x
        if block.expand is not None and block.expand_norm is not None:
            h, used["expand_norm"] = block.expand_norm(block.expand(h), given.get("expand_norm"))
            h = hidden.gate(nonlinear(h))
        h, used["depthwise_norm"] = block.depthwise_norm(block.depthwise(h), given.get("depthwise_norm"))
        h = hidden.gate(nonlinear(h))
        if block.squeeze_excite is not None:
            squeeze_excite, squeezed = block.squeeze_excite, plan.read_squeezed(read)

            def gate(x: Array) -> tuple[Array, None]:
                return squeeze_excite(x, squeezed), None

            h, _ = gate(h) if len(plan.squeeze_excite) == 1 else read.optional("squeeze_excite", 1, gate, h)
        h, used["project_norm"] = block.project_norm(block.project(h), given.get("project_norm"))
        h = outs.gate(h)
        return (x + h if plan.residual else h), used

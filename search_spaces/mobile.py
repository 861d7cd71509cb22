"""MobileNetV3-like space: inverted bottlenecks with elastic kernel, expansion, width and depth.

After MobileNetV3 (arXiv:1905.02244) and Once-for-All (arXiv:1908.09791). Differs: the width of every stage is a choice
of its own, the kernels of a block share their centre without transform matrices, and the sizes suit small images.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from search_spaces.elastic import EPSILON, Conv, Dense, Depthwise, Norm, SqueezeExcite, make_divisible
from search_spaces.layers import Graph, Layer, Nonlinearity
from search_spaces.reading import EVERYTHING, Axis, Cut, Reading, Taps
from search_spaces.space import Choice, check_arch, check_choices

NONLINEARITIES: dict[Nonlinearity, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "hard_swish": jax.nn.hard_swish,
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Blocks that share a width; the first of them changes width and stride.

    Attributes:
      widths: options for the output channels, increasing.
      depths: options for the number of blocks, increasing.
      stride: of the first block.
      squeeze_excite: options for whether a block gates its channels: (False,), (True,) or, a choice for every block as
        in MnasNet (arXiv:1807.11626), (False, True).
      activation: `relu` or `hard_swish`.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...] = (1, 2, 3, 4)
    stride: int = 1
    squeeze_excite: tuple[bool, ...] = (False,)
    activation: Nonlinearity = "relu"

    def __post_init__(self) -> None:
        if self.squeeze_excite not in ((False,), (True,), (False, True)):
            raise ValueError(
                f"`squeeze_excite` of a stage must be (False,), (True,) or (False, True), got {self.squeeze_excite}"
            )
        for name, values in (("widths", self.widths), ("depths", self.depths)):
            if not values or min(values) < 1 or list(values) != sorted(set(values)):
                better = tuple(sorted({value for value in values if value > 0})) or (1,)
                raise ValueError(
                    f"`{name}` of a stage must be positive and increase strictly, got {values}; did you mean {better}?"
                )
        if self.stride not in (1, 2):
            raise ValueError(f"`stride` of a stage must be 1 or 2, got {self.stride}")
        if self.activation not in NONLINEARITIES:
            raise ValueError(f"`activation` must be one of {tuple(NONLINEARITIES)}, got `{self.activation}`")


@dataclass(frozen=True, kw_only=True)
class BlockPlan:
    """One inverted bottleneck: which choices shape it, and how many channels each of their options gives.

    Attributes:
      ins: channel counts before the block, by the options of `in_choice` (a single count where that is None).
      outs: channel counts after it, by the options of `out_choice`.
      at_least: the index of `depth_choice` from which the block is there.
    """

    name: str
    ins: tuple[int, ...]
    in_choice: str | None
    outs: tuple[int, ...]
    out_choice: str
    depth_choice: str
    at_least: int
    kernels: tuple[int, ...]
    expansions: tuple[int, ...]
    stride: int
    residual: bool
    squeeze_excite: tuple[bool, ...]
    activation: Nonlinearity

    @property
    def gate_choice(self) -> str:
        """The choice whether the block gates its channels, where it is one."""
        return f"{self.name}.squeeze_excite"

    def gated(self, read: Cut) -> bool:
        """Whether the block of a known architecture gates its channels."""
        return self.squeeze_excite[read.indices.get(self.gate_choice, 0)]

    @cached_property
    def hidden(self) -> Int[np.ndarray, "in_options expansions"]:
        """Expanded channels: the block's input channels times its expansion."""
        return np.array([[make_divisible(ins * e) for e in self.expansions] for ins in self.ins])

    @cached_property
    def squeezed(self) -> Int[np.ndarray, "in_options expansions"]:
        """Bottleneck of the squeeze-excite: a quarter of the expanded channels."""
        return np.array([[make_divisible(channels / 4) for channels in row] for row in self.hidden.tolist()])

    def axis(self, read: Reading, counts: Int[np.ndarray, "in_options expansions"]) -> Axis:
        """The axis of channels that depend on the block's input and expansion."""
        if self.in_choice is None:
            return read.axis(counts[0], f"{self.name}.expansion")
        return read.axis(counts, self.in_choice, f"{self.name}.expansion")

    def read_ins(self, read: Reading) -> Axis:
        """The axis of channels before the block."""
        return EVERYTHING if self.in_choice is None else read.axis(np.array(self.ins), self.in_choice)

    def read_outs(self, read: Reading) -> Axis:
        """The axis of channels after the block."""
        return read.axis(np.array(self.outs), self.out_choice)

    def read_taps(self, read: Reading) -> Taps:
        """The taps of the depthwise kernel."""
        return read.taps(self.kernels, f"{self.name}.kernel")


class InvertedBottleneck(nnx.Module):
    """Expand, convolve depthwise, gate, project (MobileNetV2, arXiv:1801.04381; squeeze-excite as in MobileNetV3)."""

    def __init__(self, plan: BlockPlan, **layers: nnx.Module | None):
        self.plan = plan
        self.expand: Conv
        self.expand_norm: Norm
        self.depthwise: Depthwise
        self.depthwise_norm: Norm
        self.squeeze_excite: SqueezeExcite | None
        self.project: Conv
        self.project_norm: Norm
        for name, layer in {"squeeze_excite": None, **layers}.items():
            setattr(self, name, layer)

    @classmethod
    def init(cls, key: Array, plan: BlockPlan) -> "InvertedBottleneck":
        """A block wide enough for all its options."""
        expand_key, depthwise_key, gate_key, project_key = jax.random.split(key, 4)
        ins, hidden, outs = max(plan.ins), int(plan.hidden.max()), max(plan.outs)
        layers: dict[str, nnx.Module] = {
            "expand": Conv.init(expand_key, ins, hidden),
            "expand_norm": Norm.init(hidden),
            "depthwise": Depthwise.init(depthwise_key, hidden, max(plan.kernels), plan.stride),
            "depthwise_norm": Norm.init(hidden),
            "project": Conv.init(project_key, hidden, outs),
            "project_norm": Norm.init(outs),
        }
        if any(plan.squeeze_excite):
            layers["squeeze_excite"] = SqueezeExcite.init(gate_key, hidden, int(plan.squeezed.max()))
        return cls(plan, **layers)

    def cut(self, read: Reading) -> "InvertedBottleneck":
        """The block with the parameters that the reading uses."""
        plan = self.plan
        ins, outs, taps = plan.read_ins(read), plan.read_outs(read), plan.read_taps(read)
        hidden = plan.axis(read, plan.hidden)
        layers: dict[str, nnx.Module] = {
            "expand": self.expand.cut(ins, hidden),
            "expand_norm": self.expand_norm.cut(hidden),
            "depthwise": self.depthwise.cut(hidden, taps),
            "depthwise_norm": self.depthwise_norm.cut(hidden),
            "project": self.project.cut(hidden, outs),
            "project_norm": self.project_norm.cut(outs),
        }
        if self.squeeze_excite is not None and not (isinstance(read, Cut) and not plan.gated(read)):
            layers["squeeze_excite"] = self.squeeze_excite.cut(hidden, plan.axis(read, plan.squeezed))
        return InvertedBottleneck(plan, **layers)

    def cut_stats(self, read: Reading, stats: dict[str, Any]) -> dict[str, Any]:
        """Batch-norm statistics of the channels that the reading uses."""
        hidden, outs = self.plan.axis(read, self.plan.hidden), self.plan.read_outs(read)
        axes = {"expand_norm": hidden, "depthwise_norm": hidden, "project_norm": outs}
        return {name: Norm.cut_stats(stats[name], axis) for name, axis in axes.items()}

    def __call__(
        self, read: Reading, x: Float[Array, "..."], stats: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Returns the block's output and the batch-norm statistics used, by the norms' names."""
        plan = self.plan
        block, given = self.cut(read), stats or {}
        hidden, outs = plan.axis(read, plan.hidden), plan.read_outs(read)
        nonlinear = NONLINEARITIES[plan.activation]
        used: dict[str, Any] = {}

        h, used["expand_norm"] = block.expand_norm(block.expand(x), given.get("expand_norm"))
        h = hidden.gate(nonlinear(h))
        h, used["depthwise_norm"] = block.depthwise_norm(block.depthwise(h), given.get("depthwise_norm"))
        h = hidden.gate(nonlinear(h))
        if block.squeeze_excite is not None:
            squeeze_excite, squeezed = block.squeeze_excite, plan.axis(read, plan.squeezed)

            def gate(x: Array) -> tuple[Array, None]:
                return squeeze_excite(x, squeezed), None

            h, _ = gate(h) if len(plan.squeeze_excite) == 1 else read.optional(plan.gate_choice, 1, gate, h)
        h, used["project_norm"] = block.project_norm(block.project(h), given.get("project_norm"))
        h = outs.gate(h)
        return (x + h if plan.residual else h), used


class MobileNetwork(nnx.Module):
    """Stem, blocks, head and classifier; `network(read, images, stats)` gives logits and batch-norm statistics."""

    def __init__(
        self,
        stem: Conv,
        stem_norm: Norm,
        blocks: list[InvertedBottleneck],
        head: Conv,
        head_norm: Norm,
        classifier: Dense,
    ):
        self.stem, self.stem_norm = stem, stem_norm
        self.blocks = nnx.List(blocks)
        self.head, self.head_norm = head, head_norm
        self.classifier = classifier

    def cut(self, read: Cut) -> "MobileNetwork":
        """The network of one architecture, its absent blocks gone."""
        blocks = [block for block in self.blocks if read.has(block.plan.depth_choice, block.plan.at_least)]
        ins = blocks[-1].plan.read_outs(read)
        return MobileNetwork(
            self.stem,
            self.stem_norm,
            [block.cut(read) for block in blocks],
            self.head.cut(ins, EVERYTHING),
            self.head_norm,
            self.classifier,
        )

    def cut_stats(self, read: Cut, stats: dict[str, Any]) -> dict[str, Any]:
        """The statistics of the network that `cut` gives."""
        kept = [
            block.cut_stats(read, block_stats)
            for block, block_stats in zip(self.blocks, stats["blocks"], strict=True)
            if read.has(block.plan.depth_choice, block.plan.at_least)
        ]
        return {**stats, "blocks": kept}

    def __call__(
        self, read: Reading, images: Float[Array, "batch height width channels"], stats: dict[str, Any] | None = None
    ) -> tuple[Float[Array, "batch classes"], dict[str, Any]]:
        """Returns logits and the batch-norm statistics used.

        Args:
          read: how to run it: `Masked`, `Cut` or, once extracted, `Whole`.
          images: normalised, as `Dataset` says.
          stats: statistics to normalise with, in the structure that comes out; None takes each batch's own.
        """
        given = stats or {"blocks": [None] * len(self.blocks)}
        used: dict[str, Any] = {"blocks": []}
        x, used["stem_norm"] = self.stem_norm(self.stem(images), given.get("stem_norm"))
        x = jax.nn.hard_swish(x)
        for block, block_stats in zip(self.blocks, given["blocks"], strict=True):
            x, block_used = read.optional(
                block.plan.depth_choice, block.plan.at_least, _bound(block, read, block_stats), x
            )
            used["blocks"].append(block_used)
        head = self.head.cut(self.blocks[-1].plan.read_outs(read), EVERYTHING)
        x, used["head_norm"] = self.head_norm(head(x), given.get("head_norm"))
        return self.classifier(jax.nn.hard_swish(x).mean((1, 2))), used


def _bound(block: InvertedBottleneck, read: Reading, stats: dict[str, Any] | None) -> Callable[[Array], Any]:
    return lambda x: block(read, x, stats)


@dataclass(frozen=True, kw_only=True)
class Mobile:
    """The space. The default suits images of 24 to 40 px: 7.4 * 10^9 networks of 0.12 to 3.8 M MACs at 32 px.

    Attributes:
      image_size: height and width of the images, px.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      stem_channels: of the first convolution.
      stem_stride: of the first convolution.
      stages: what each stage may be.
      kernels: options for each block's depthwise kernel, odd.
      expansions: options for each block's ratio of expanded to input channels.
      head_channels: of the last convolution, before pooling.
    """

    image_size: int = 32
    image_channels: int = 1
    classes: int = 10
    stem_channels: int = 8
    stem_stride: int = 2
    stages: tuple[Stage, ...] = (
        Stage(widths=(8, 12, 20), stride=2),
        Stage(widths=(8, 16, 32), stride=2, squeeze_excite=(False, True), activation="hard_swish"),
    )
    kernels: tuple[int, ...] = (3, 5, 7)
    expansions: tuple[int, ...] = (3, 4, 6)
    head_channels: int = 64

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("`stages` must hold at least one stage, got none")
        for name in ("image_size", "image_channels", "classes", "stem_channels", "head_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if self.stem_stride not in (1, 2):
            raise ValueError(f"`stem_stride` must be 1 or 2, got {self.stem_stride}")
        for name, odd in (("kernels", True), ("expansions", False)):
            values = getattr(self, name)
            if not values or list(values) != sorted(set(values)) or min(values) < 1:
                raise ValueError(
                    f"`{name}` must be positive and increase strictly, got {values};"
                    f" did you mean {tuple(sorted({v for v in values if v > 0})) or (3,)}?"
                )
            if odd and any(value % 2 == 0 for value in values):
                better = tuple(sorted({value | 1 for value in values}))
                raise ValueError(f"`{name}` must be odd, got {values}; did you mean {better}?")
        check_choices(self.choices)

    @cached_property
    def plans(self) -> tuple[BlockPlan, ...]:
        """Every block that may be there, in order."""
        plans: list[BlockPlan] = []
        ins: tuple[int, ...] = (self.stem_channels,)
        in_choice: str | None = None
        for i, stage in enumerate(self.stages, 1):
            for j in range(max(stage.depths)):
                first = j == 0
                plans.append(
                    BlockPlan(
                        name=f"stage{i}.block{j + 1}",
                        ins=ins if first else stage.widths,
                        in_choice=in_choice if first else f"stage{i}.width",
                        outs=stage.widths,
                        out_choice=f"stage{i}.width",
                        depth_choice=f"stage{i}.depth",
                        at_least=next(index for index, depth in enumerate(stage.depths) if depth > j),
                        kernels=self.kernels,
                        expansions=self.expansions,
                        stride=stage.stride if first else 1,
                        residual=not first,
                        squeeze_excite=stage.squeeze_excite,
                        activation=stage.activation,
                    )
                )
            ins, in_choice = stage.widths, f"stage{i}.width"
        return tuple(plans)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Per stage its width and depth, then per block its kernel, its expansion and whether it gates its channels."""
        return self._choices

    @cached_property
    def _choices(self) -> tuple[Choice, ...]:
        choices: list[Choice] = []
        for plan in self.plans:
            stage = self.stages[int(plan.depth_choice.removeprefix("stage").removesuffix(".depth")) - 1]
            if not plan.residual:
                choices.append(Choice(name=plan.out_choice, options=plan.outs))
                choices.append(Choice(name=plan.depth_choice, options=stage.depths))
            requires = (plan.depth_choice, plan.at_least) if plan.at_least else None
            choices.append(Choice(name=f"{plan.name}.kernel", options=plan.kernels, requires=requires))
            choices.append(Choice(name=f"{plan.name}.expansion", options=plan.expansions, requires=requires))
            if len(plan.squeeze_excite) > 1:
                choices.append(Choice(name=plan.gate_choice, options=plan.squeeze_excite, requires=requires))
        return tuple(choices)

    def supernet(self, key: Array) -> MobileNetwork:
        """A new supernet: parameters for the largest of every option. Wrap in `jax.jit`: eager creation is slow."""
        stem_key, head_key, classifier_key, *block_keys = jax.random.split(key, 3 + len(self.plans))
        return MobileNetwork(
            Conv.init(stem_key, self.image_channels, self.stem_channels, kernel=3, stride=self.stem_stride),
            Norm.init(self.stem_channels),
            [InvertedBottleneck.init(k, plan) for k, plan in zip(block_keys, self.plans, strict=True)],
            Conv.init(head_key, max(self.stages[-1].widths), self.head_channels),
            Norm.init(self.head_channels),
            Dense.init(classifier_key, self.head_channels, self.classes),
        )

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        read = Cut.of(self.choices, check_arch(self, arch))
        graph = Graph((self.image_size, self.image_size, self.image_channels))
        x = graph.conv(0, self.stem_channels, "stem", kernel=3, stride=self.stem_stride)
        x = graph.activation(graph.norm(x, "stem_norm", EPSILON), "hard_swish")
        position = 0
        for plan in self.plans:
            if read.has(plan.depth_choice, plan.at_least):
                x = _block_layers(graph, x, plan, read, f"blocks.{position}")
                position += 1
        x = graph.norm(graph.conv(x, self.head_channels, "head"), "head_norm", EPSILON)
        graph.dense(graph.global_pool(graph.activation(x, "hard_swish")), self.classes, "classifier")
        return tuple(graph.layers)


def _block_layers(graph: Graph, x: int, plan: BlockPlan, read: Cut, path: str) -> int:
    ins = 0 if plan.in_choice is None else read.indices[plan.in_choice]
    expansion = read.indices[f"{plan.name}.expansion"]
    kernel = plan.kernels[read.indices[f"{plan.name}.kernel"]]
    h = graph.conv(x, int(plan.hidden[ins, expansion]), f"{path}.expand")
    h = graph.activation(graph.norm(h, f"{path}.expand_norm", EPSILON), plan.activation)
    h = graph.depthwise(h, f"{path}.depthwise", kernel, plan.stride)
    h = graph.activation(graph.norm(h, f"{path}.depthwise_norm", EPSILON), plan.activation)
    if plan.gated(read):
        gate = graph.dense(graph.global_pool(h), int(plan.squeezed[ins, expansion]), f"{path}.squeeze_excite.reduce")
        gate = graph.activation(gate, "relu")
        gate = graph.dense(gate, graph.shape(h)[-1], f"{path}.squeeze_excite.expand")
        h = graph.scale(h, graph.activation(gate, "hard_sigmoid"))
    outs = plan.outs[read.indices[plan.out_choice]]
    h = graph.norm(graph.conv(h, outs, f"{path}.project"), f"{path}.project_norm", EPSILON)
    return graph.sum(x, h) if plan.residual else h

"""Writes the layers that `trace` finds: what a variable may be, and how a layer comes to read one.

A batch norm written in primitives takes several steps, a bias comes behind its product: what is not known to be a whole
layer yet stays open until something else is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from search_spaces.layers import (
    Conv,
    Dense,
    Depthwise,
    Flatten,
    Layer,
    Norm,
    Padding,
    Shape,
    Shuffle,
    Tokens,
)
from search_spaces.trace.program import Known, Step
from search_spaces.trace.views import (
    View,
    axis_spans,
    is_permuted,
    plain_dims,
    plain_shape,
    shuffled_groups,
)

# Names that a layer's parameters have in a module of their own: the module's path is the layer's.
_OWN_NAMES = frozenset({"weight", "kernel", "bias", "scale", "mean", "var", "rows", "columns", "token"})
WAY_OUT = "name the function it belongs to for what it is (`named` of search_spaces/named.py)"


@dataclass(frozen=True, kw_only=True)
class Param:
    """A parameter, or what is computed of parameters alone.

    Attributes:
      names: dotted names of the parameters it is made of.
      root: shape of the first of these.
      shape: its own.
      varies: the dimensions along which its numbers differ.
      direct: whether it is one parameter, at the most in another shape.
      added: the number that has just been added.
      epsilon: the number that was added before a root was taken.
    """

    names: tuple[str, ...]
    root: tuple[int, ...]
    shape: tuple[int, ...]
    varies: frozenset[int]
    direct: bool = True
    added: float | None = None
    epsilon: float | None = None

    @staticmethod
    def of(name: str, shape: tuple[int, ...]) -> "Param":
        """A parameter of the network."""
        return Param(names=(name,), root=shape, shape=shape, varies=larger(shape))


def larger(shape: tuple[int, ...]) -> frozenset[int]:
    """The dimensions that are larger than 1."""
    return frozenset(i for i, size in enumerate(shape) if size > 1)


@dataclass(frozen=True, kw_only=True)
class Padded:
    """Activations with a number around the image: for the convolution or the pool that reads them."""

    view: View
    padding: Padding
    number: float | None


@dataclass(eq=False, kw_only=True)
class Chain:
    """Activations that have been multiplied by, or added to, numbers by channel made of parameters.

    Attributes:
      view: what it began with.
      params: of each step.
      step: the first one.
      settled: what it has become.
    """

    view: View
    params: tuple[Param, ...]
    step: Step
    settled: View | None = None


Value = View | Param | Known | Padded | Chain


@dataclass(kw_only=True)
class Writer:
    """The layers so far.

    Attributes:
      layers: in execution order.
      reads: how often each variable of the program is read.
      divisors: sums that are means once they have been divided: by layer, the number or the array.
      unbiased: patches that the bias they always have has yet to be added to.
      generations: how often a layer has got a bias after it was written: views of before are of no layer's output.
      open: activations that are becoming a batch norm.
    """

    layers: list[Layer]
    reads: Any = field(default_factory=dict)
    divisors: dict[int, np.ndarray] = field(default_factory=dict)
    unbiased: set[int] = field(default_factory=set)
    generations: dict[int, int] = field(default_factory=dict)
    open: Chain | None = None

    def shape(self, view: View) -> Shape:
        """The output shape of the layer that a view is of."""
        return self.layers[view.layer].shape

    def emit(self, layer: Layer, array: tuple[int, ...], dims: Any = None) -> View:
        """Appends a layer, whose output an array of this shape holds.

        Args:
          layer: the layer.
          array: shape of the array.
          dims: of its view; None for the plain one.
        """
        self.settle()
        self.layers.append(layer)
        return View(
            layer=len(self.layers) - 1, dims=plain_dims(layer.shape, array) if dims is None else dims, shape=array
        )

    def view(self, value: Value, step: Step) -> View:
        """Activations as something reads them.

        Raises:
          ValueError: when they are none, or not whole yet.
        """
        if isinstance(value, Chain):
            if value.settled is None:
                self.settle()
            value = value.settled or value.view
        if isinstance(value, Padded):
            raise refused(step, "reads an image with padding around it, which only convolutions and pools have")
        if not isinstance(value, View):
            raise refused(step, "reads a constant or a parameter where activations are expected")
        if value.layer in self.divisors:
            raise refused(
                step, "reads a sum over positions, of which layers know the mean; divide by their number first"
            )
        if value.layer in self.unbiased:
            raise refused(step, "reads patches that no bias has been added to, and the layer `PatchEmbed` has one")
        if value.generation != self.generations.get(value.layer, 0):
            raise refused(step, "reads what a layer gives before its bias, which is no layer's output")
        return value

    def read(self, value: Value, step: Step, permuted: bool = False) -> View:
        """Activations as a layer reads them: in the axes' own order, what moved them written as a layer.

        Args:
          value: what is read.
          step: who reads.
          permuted: axes may stand in any order (heads of attention, split off and moved).

        Raises:
          ValueError: when numbers are repeated, or the axes moved as no layer moves them.
        """
        view = self.view(value, step)
        shape, own = plain_shape(view.shape), self.shape(view)
        if shape is not None and not view.is_repeated:
            if shape == own and view.dims == plain_dims(own, view.shape):
                return view
            spans = tuple(dim for dim in view.dims if dim)
            if shape == (1, 1, own[0] * own[1] * own[2]) and spans == (axis_spans(own, 0, 1, 2),):
                return self.emit(Flatten(inputs=(view.layer,), shape=shape), view.shape)
            positions = (axis_spans(own, 0, 1), axis_spans(own, 2))
            if shape == (own[0] * own[1], 1, own[2]) and spans == tuple(filter(None, positions)):
                return self.emit(Tokens(inputs=(view.layer,), shape=shape), view.shape)
            groups = shuffled_groups(view, own)
            if groups is not None:
                return self.emit(Shuffle(inputs=(view.layer,), shape=own, groups=groups), view.shape)
        if permuted and is_permuted(view, own):
            return view
        what = "repeats numbers" if view.is_repeated else "moves axes"
        raise refused(step, f"reads an array {list(view.shape)} that {what} of a {list(own)} as no layer does")

    def add_bias(self, view: View) -> View | None:
        """The view behind a layer that now has a bias; None where its layer can't have (another) one."""
        layer = self.layers[view.layer]
        if view.layer in self.unbiased:
            self.unbiased.remove(view.layer)
        elif isinstance(layer, Conv | Depthwise | Dense) and not layer.bias:
            if any(view.layer in later.inputs for later in self.layers[view.layer + 1 :]):
                return None
            self.layers[view.layer] = replace(layer, bias=True)
        else:
            return None
        self.generations[view.layer] = view.generation + 1
        return replace(view, generation=view.generation + 1)

    def settle(self) -> None:
        """Writes the batch norm that has been open, if there is one.

        Raises:
          ValueError: when it is none.
        """
        chain, self.open = self.open, None
        if chain is None:
            return
        names = tuple(dict.fromkeys(name for param in chain.params for name in param.names))
        epsilon = next((param.epsilon for param in chain.params if param.epsilon is not None), None)
        if epsilon is None:
            raise refused(chain.step, f"adds or multiplies by `{names[0]}` outside of a layer with parameters")
        view = chain.view
        layer = Norm(inputs=(view.layer,), shape=self.shape(view), path=path_of(names), epsilon=epsilon)
        chain.settled = self.emit(layer, view.shape, view.dims)


def path_of(names: Sequence[str]) -> str:
    """The path of a layer with these parameters: their module's, or the name of the first where it stands alone.

    Statistics come last: they are kept apart from what is trained.
    """
    first = next((name for name in names if name.rpartition(".")[2] not in ("mean", "var")), names[0])
    module, _, own = first.rpartition(".")
    return module if own in _OWN_NAMES else first


def refused(step: Step, what: str) -> ValueError:
    """The error for a step that is no layer: what, where, and the way out."""
    name = step.params["kind"] if step.name == "named" else step.name
    return ValueError(f"`{name}`{step.where} {what}; {WAY_OUT}")

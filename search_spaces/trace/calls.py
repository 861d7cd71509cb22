"""A named layer function as a layer: its name says the kind and what shapes don't tell, its operands the rest.

A new kind of layer needs no line here as long as its name says all of its own fields that `_TOLD` doesn't.
"""

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, NamedTuple

from search_spaces import layers
from search_spaces.layers import Layer, Shape, square_side
from search_spaces.trace.program import Step
from search_spaces.trace.views import Dims, Span, View, axis_spans, merged, plain_shape
from search_spaces.trace.writer import Param, Value, Writer, path_of, refused


class _Call(NamedTuple):
    """A call of a layer function.

    Attributes:
      attributes: that its name says.
      shapes: of the layers it reads.
      arrays: shapes of its activations.
      params: shapes of its parameters.
    """

    attributes: dict[str, Any]
    shapes: list[Shape]
    arrays: list[tuple[int, ...]]
    params: list[tuple[int, ...]]


# What shapes tell of a field that the name doesn't say.
_TOLD: dict[str, Callable[[_Call], Any]] = {
    "in_channels": lambda call: call.shapes[0][2],
    "kernel": lambda call: call.params[0][0],
    "kernel_width": lambda call: call.params[0][1] if call.params[0][1] != call.params[0][0] else None,
    "groups": lambda call: call.shapes[0][2] // call.params[0][2],
    "patch": lambda call: call.params[0][0],
    "bias": lambda call: len(call.params) > 1,
    "head_dim": lambda call: (call.params or call.arrays[-1:])[0][-1],
    "side": lambda call: square_side(call.shapes[1][0] - call.attributes["class_token"]),
}


def write_named(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """Appends the layer that a named function says it is.

    Raises:
      ValueError: when there is no such kind of layer, its name leaves out a field, or it gives several arrays.
    """
    name, attributes = step.params["kind"], step.params["attributes"]
    kind = getattr(layers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Layer)):
        raise refused(step, "says a kind of layer that search_spaces/layers.py doesn't have")
    if len(step.outs) != 1:
        raise refused(step, "gives several arrays, a layer gives one")
    params = [value for value in ins if isinstance(value, Param)]
    views = [writer.read(value, step, permuted=True) for value in ins if not isinstance(value, Param)]
    call = _Call(attributes, [writer.shape(v) for v in views], [v.shape for v in views], [p.shape for p in params])
    shape, dims = _output(name, call, views, step)
    own: dict[str, Any] = {}
    for field in fields(kind):
        if field.name in ("inputs", "shape", "path"):
            continue
        if field.name in attributes:
            own[field.name] = attributes[field.name]
        elif field.name in _TOLD:
            own[field.name] = _TOLD[field.name](call)
        elif field.default is MISSING:
            raise refused(step, f"must say the field `{field.name}` of its layer in its name")
    layer = kind(
        inputs=tuple(view.layer for view in views),
        shape=shape,
        path=path_of([name for param in params for name in param.names]) if params else "",
        **own,
    )
    return [writer.emit(written_plainly(layer), step.out_shapes[0], dims)]


def written_plainly(layer: Layer) -> Layer:
    """The layer as closed forms write it: what goes without saying is left out."""
    windowed = isinstance(layer, layers.Conv | layers.AvgPool | layers.MaxPool)
    return layers.plain(layer) if windowed else layer


def _output(kind: str, call: _Call, views: list[View], step: Step) -> tuple[Shape, Dims | None]:
    """The shape of the layer, and how the array that comes out holds it."""
    out = step.out_shapes[0]
    if kind == "Scores":  # [1, heads, queries, keys]
        _, heads, queries, keys = out
        shape = (queries, keys, heads)
        return shape, ((), axis_spans(shape, 2), axis_spans(shape, 0), axis_spans(shape, 1))
    if kind == "Mix":  # [1, queries, heads, channels of a head]
        _, queries, heads, head_dim = out
        shape = (queries, 1, heads * head_dim)
        channels = (Span(2, head_dim, heads), Span(2, 1, head_dim))
        return shape, ((), axis_spans(shape, 0), *(merged((s,)) if s.size > 1 else () for s in channels))
    if views and out == call.arrays[0]:
        return call.shapes[0], views[0].dims
    shape = plain_shape(out)
    if shape is None:
        raise refused(step, f"gives an array {list(out)} that is no image, tokens or vector")
    return shape, None

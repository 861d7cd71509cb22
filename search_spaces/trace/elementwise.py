"""Rules of `trace` for elementwise primitives: activations, sums, gates, and what parameters do to channels."""

from search_spaces.layers import Activation, Add, Elementwise, Layer, Nonlinearity, Positions, Scale, Zeros
from search_spaces.trace.pools import mean
from search_spaces.trace.program import Known, Step
from search_spaces.trace.views import View, axis_spans
from search_spaces.trace.writer import Chain, Param, Value, Writer, path_of, refused

ELEMENTWISE = frozenset(
    {
        *("add", "add_any", "sub", "mul", "div", "rem", "max", "min", "pow", "integer_pow", "square", "atan2", "clamp"),
        *("neg", "sign", "abs", "floor", "ceil", "round", "is_finite", "exp", "exp2", "expm1", "log", "log1p"),
        *("sqrt", "rsqrt", "cbrt", "logistic", "tanh", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh"),
        *("asinh", "acosh", "atanh", "erf", "erfc", "erf_inv", "lgamma", "digamma", "nextafter"),
        *("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "not", "select_n"),
    }
)
_KINDS: dict[str, Nonlinearity] = {"logistic": "sigmoid", "tanh": "tanh"}


def elementwise(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """An activation, a sum, a gate, a parameter's step, or an `Elementwise`.

    Raises:
      ValueError: when it repeats its input, or mixes activations with a parameter as no layer does.
    """
    first, second = (*ins, None)[:2]
    if step.name in ("div", "mul"):
        for value, by in ((first, second), (second, first)):
            if isinstance(value, View) and value.layer in writer.divisors and (step.name == "mul" or value is first):
                return mean(writer, step, value, by)
    if any(isinstance(value, Param) for value in ins):
        return _with_param(writer, step, ins)
    numbers = {value.number for value in ins if isinstance(value, Known)}
    views = [writer.view(value, step) for value in ins if not isinstance(value, Known)]
    out = step.out_shapes[0]
    if len(views) == 2 and step.name == "mul":
        for x, gate in (views, views[::-1]):
            if _is_gate(writer, x, gate):
                layer: Layer = Scale(inputs=(x.layer, gate.layer), shape=writer.shape(x))
                return [writer.emit(layer, out, x.dims)]
    whole = [view for view in views if view.shape == out and not view.is_repeated]
    if not whole:
        raise refused(step, "repeats its input")
    if any(view.dims != whole[0].dims or writer.shape(view) != writer.shape(whole[0]) for view in whole):
        whole = [writer.read(view, step) for view in whole]
        views = [view if view.shape != out or view.is_repeated else whole.pop(0) for view in views]
        whole = [view for view in views if view.shape == out and not view.is_repeated]
    inputs, shape = tuple(view.layer for view in views), writer.shape(whole[0])
    if step.name in _KINDS:
        layer = Activation(inputs=inputs, shape=shape, kind=_KINDS[step.name])
    elif step.name == "max" and numbers == {0}:
        layer = Activation(inputs=inputs, shape=shape, kind="relu")
    elif step.name == "mul" and numbers == {0}:
        layer = Zeros(inputs=inputs, shape=shape)
    elif step.name in ("add", "add_any") and len(whole) == 2:
        layer = Add(inputs=inputs, shape=shape)
    else:
        layer = Elementwise(inputs=inputs, shape=shape, operation=step.name)
    return [writer.emit(layer, out, whole[0].dims)]


def _is_gate(writer: Writer, x: View, gate: View) -> bool:
    """Whether a vector multiplies the channels of `x`."""
    shape = writer.shape(gate)
    across = [i for i, dim in enumerate(gate.dims) if dim]
    own = axis_spans(writer.shape(x), 2)
    return (
        not x.is_repeated
        and shape == (1, 1, writer.shape(x)[2])
        and gate.along(tuple(across)) == own
        and (x.along(tuple(across)) == own)
    )


def _with_param(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """A bias, positions, or a step of a batch norm."""
    params = [value for value in ins if isinstance(value, Param)]
    if len(ins) != 2 or len(params) != 1:
        raise refused(step, f"mixes activations with `{params[0].names[0]}` as no layer does")
    (param,), at = params, int(isinstance(ins[0], Param))
    value, out = ins[at], step.out_shapes[0]
    alone = writer.reads[step.ins[at]] == 1
    current = value.view if isinstance(value, Chain) and value.settled is None else value
    if isinstance(current, View) and not current.is_repeated and current.shape == out:
        shape = writer.shape(current)
        along = current.along(tuple(sorted(param.varies)))
        commutes = step.name in ("add", "mul")
        if along == axis_spans(shape, 2) and step.name in ("add", "sub", "mul", "div") and (commutes or at == 0):
            if step.name == "add" and param.direct and alone and isinstance(value, View):
                biased = writer.add_bias(value)
                if biased is not None:
                    return [biased]
            return [_chained(writer, step, value, param, alone)]
        if step.name == "add" and param.direct and shape[1] == 1 and along == axis_spans(shape, 0, 2):
            view = writer.view(value, step)
            layer = Positions(inputs=(view.layer,), shape=shape, path=path_of(param.names))
            return [writer.emit(layer, out, view.dims)]
    raise refused(step, f"mixes activations with `{param.names[0]}` as no layer does")


def _chained(writer: Writer, step: Step, value: Value, param: Param, alone: bool) -> Chain:
    if isinstance(value, Chain) and writer.open is value and alone:
        writer.open = Chain(view=value.view, params=(*value.params, param), step=value.step)
    else:
        view = writer.view(value, step)
        writer.settle()
        writer.open = Chain(view=view, params=(param,), step=step)
    return writer.open

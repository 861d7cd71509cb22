"""What each of JAX's primitives is among layers: one rule a primitive, `RULES` lists them.

A rule gets the writer, the step and what the step reads, and returns what the step gives. To teach `trace` another
primitive is to add a rule; to teach it another layer, name its function (`calls.py`).
"""

from collections.abc import Callable, Sequence
from typing import Any

from search_spaces.trace.calls import write_named
from search_spaces.trace.elementwise import ELEMENTWISE, elementwise
from search_spaces.trace.moves import MOVES, joined, moved, padded, sliced, split
from search_spaces.trace.pools import largest, summed, window_sums
from search_spaces.trace.products import convolution, product
from search_spaces.trace.program import NAMED, Known, Step
from search_spaces.trace.writer import Param, Value, Writer, larger, refused

Rule = Callable[[Writer, Step, list[Value]], list[Value]]

_SAME = frozenset(
    {
        *("convert_element_type", "copy", "copy_p", "stop_gradient", "reduce_precision", "optimization_barrier"),
        *("sharding_constraint", "device_put", "name", "pvary", "mesh_cast"),
    }
)


def follow(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    """What a step gives; the layers that it is are appended.

    Raises:
      ValueError: when it is no layer; one line that says the primitive, the author's line and the way out.
    """
    if step.name == NAMED and not all(isinstance(value, Param | Known) for value in ins):
        return write_named(writer, step, ins)
    if all(isinstance(value, Param | Known) for value in ins):
        return [_of_params(step, ins, shape) for shape in step.out_shapes]
    if step.name not in RULES:
        raise refused(step, "is no layer that `trace` knows")
    return RULES[step.name](writer, step, ins)


def _of_params(step: Step, ins: Sequence[Any], shape: tuple[int, ...]) -> Param:
    """What is computed of parameters alone."""
    params = [value for value in ins if isinstance(value, Param)]
    names = tuple(dict.fromkeys(name for param in params for name in param.names))
    varies = larger(shape)
    if step.name == "broadcast_in_dim":
        varies = frozenset(step.params["broadcast_dimensions"][i] for i in params[0].varies)
    elif step.name in ELEMENTWISE or step.name in _SAME:
        varies = frozenset().union(*(param.varies for param in params if len(param.shape) == len(shape)))
    numbers = [value.number for value in ins if isinstance(value, Known)]
    added = numbers[0] if step.name == "add" and numbers else None
    epsilon = next((param.epsilon for param in params if param.epsilon is not None), None)
    if step.name in ("sqrt", "rsqrt", "pow"):
        epsilon = params[0].added if epsilon is None else epsilon
    elif step.name in MOVES | _SAME:
        added = params[0].added
    direct = params[0].direct and (step.name in MOVES | _SAME | {"slice"})
    root = params[0].root
    return Param(names=names, root=root, shape=shape, varies=varies, direct=direct, added=added, epsilon=epsilon)


def _same(writer: Writer, step: Step, ins: list[Value]) -> list[Value]:
    return ins


RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(MOVES, moved),
    **dict.fromkeys(ELEMENTWISE, elementwise),
    "pad": padded,
    "slice": sliced,
    "split": split,
    "concatenate": joined,
    "conv_general_dilated": convolution,
    "dot_general": product,
    "reduce_sum": summed,
    "reduce_window_max": largest,
    "reduce_window_sum": window_sums,
}
"""The rule of each primitive that reads activations."""

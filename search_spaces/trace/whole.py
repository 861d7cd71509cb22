"""Layers read from the network itself: `trace` walks what an extracted network computes and writes down its layers.

So the author of a space need not write them, and where a space does, in closed form, a test holds the two equal.
`program.py` flattens the network to steps, `rules.py` says what layer each is.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from search_spaces.extract import Extracted
from search_spaces.layers import Activation, Input, Layer, Shape
from search_spaces.reading import Whole
from search_spaces.trace.patterns import activation_at
from search_spaces.trace.program import Program, Ref, flatten
from search_spaces.trace.rules import follow
from search_spaces.trace.views import View, plain_dims
from search_spaces.trace.writer import Param, Value, Writer


def trace(network: Extracted, image_shape: Shape) -> tuple[Layer, ...]:
    """The layers of an extracted network, in the order in which it computes them.

    Known are named layer functions (`named.py`: all that this package's networks are made of) and what authors write in
    plain JAX: convolutions, dense layers, batch norms, pools, activations, sums, gates, joined and taken channels, and
    whatever else is elementwise. Nothing is computed and no memory is taken: parameters may be shapes alone.

    The network must have been cut out of a supernet, or written by hand: of one that was built from layers, this would
    prove nothing.

    Args:
      network: the network; its leaves may be `jax.ShapeDtypeStruct`.
      image_shape: height, width and channels of one image.

    Returns:
      The graph. A layer's path is that of the module that its parameters lie in, where they have the usual names
      (`weight`, `bias`, `scale`, ...); else the name of its first parameter.

    Raises:
      ValueError: when something is no layer. It names the primitive, the author's line and the way out.
    """
    parts = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (network.network, network.stats))
    images = jax.ShapeDtypeStruct((1, *image_shape), image_dtype(parts))
    run = lambda network, stats, images: network(Whole(), images, stats)[0]  # noqa: E731
    program = flatten(jax.make_jaxpr(run)(*parts, images))
    writer = Writer(layers=[Input(shape=image_shape)], reads=program.reads)
    image = View(layer=0, dims=plain_dims(image_shape, images.shape), shape=images.shape)
    (logits,) = write(writer, program, [*named_parameters(parts, "blocks."), image])
    if program.steps:
        writer.read(logits, program.steps[-1])
    return tuple(writer.layers)


def image_dtype(parameters: Any) -> Any:
    """The precision of a network's parameters, which its images have too."""
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(parameters) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return dtypes[0] if dtypes else jnp.float32


def named_parameters(parts: Any, of_stats: str) -> list[Value]:
    """The parameters of `(network, statistics)` by their dotted names, as `extract.weights` says them.

    Args:
      parts: their shapes.
      of_stats: what names of statistics begin with.
    """
    found: list[Value] = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(parts):
        own = jax.tree_util.keystr(path[1:], simple=True, separator=".").removesuffix(".value")
        found.append(Param.of((of_stats if path[0].idx else "") + own, leaf.shape))
    return found


def write(writer: Writer, program: Program, inputs: Sequence[Value]) -> list[View]:
    """Walks a program; its layers go to the writer.

    Args:
      writer: with the layers that the inputs are of.
      program: a network, or a part of one.
      inputs: what each of its inputs is.

    Returns:
      Its outputs that are activations.

    Raises:
      ValueError: when something is no layer.
    """
    held: dict[int, Value] = dict(zip(program.inputs, inputs, strict=True))

    def read(ref: Ref) -> Value:
        return held[ref] if isinstance(ref, int) else ref

    position = 0
    while position < len(program.steps):
        step = program.steps[position]
        found = activation_at(program, position)
        value = None if found is None else held[found.x]
        if found is not None and value is not None and not isinstance(value, Param):
            view = writer.view(value, step)
            layer = Activation(inputs=(view.layer,), shape=writer.shape(view), kind=found.kind)
            held[found.out] = writer.emit(layer, view.shape, view.dims)
            position += found.steps
            continue
        held |= zip(step.outs, follow(writer, step, [read(ref) for ref in step.ins]), strict=True)
        position += 1
    writer.settle()
    outputs = [read(ref) for ref in program.outputs]
    if not program.steps:
        return [value for value in outputs if isinstance(value, View)]
    return [writer.view(value, program.steps[-1]) for value in outputs if not isinstance(value, Param)]

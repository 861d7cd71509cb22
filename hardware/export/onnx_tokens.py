"""Writes the layers of tokens and of attention in ONNX's operators.

Tokens are `[batch, tokens, channels]`, what attention gives each pair of them `[batch, heads, queries, keys]`: our
`(queries, keys, heads)` in ONNX's order. Tables of relative positions are stored once, and gathered for each axis.
"""

import numpy as np

from hardware.export.onnx_graph import OnnxGraph, Tensor, Writer
from search_spaces.layers import (
    LayerNorm,
    Mix,
    PatchEmbed,
    Positions,
    Relative,
    RelativeMix,
    RelativeScores,
    Scores,
    Softmax,
    Take,
    relative_index,
)

GIVES_TOKENS = PatchEmbed | Positions | Take | LayerNorm | Mix | RelativeMix
GIVES_PAIRS = Scores | Softmax | RelativeScores


def attention(graph: OnnxGraph, position: int, layer: GIVES_TOKENS | GIVES_PAIRS) -> Tensor:
    """A layer that gives tokens, or what attention gives pairs of them."""
    name = _name(graph, position, layer)
    return Tensor(name=name, layout="tokens" if isinstance(layer, GIVES_TOKENS) else "image")


def _name(graph: OnnxGraph, position: int, layer: GIVES_TOKENS | GIVES_PAIRS) -> str:
    writer = graph.writer(position)

    def image(source: int) -> str:
        return graph.read(source, "image")

    def tokens(source: int) -> str:
        return graph.read(source, "tokens")

    first, second = layer.inputs[0], layer.inputs[-1]
    match layer:
        case PatchEmbed():
            return _patches(writer, layer, image(first))
        case Positions():
            return _positions(writer, layer, tokens(first))
        case Take():
            return writer.slice(tokens(first), 1, layer.start, layer.start + layer.shape[0])
        case LayerNorm():
            parameters = [writer.constant(writer.weight(name), name) for name in ("scale", "bias")]
            inputs = [tokens(first), *parameters]
            return writer.node("LayerNormalization", inputs, axis=-1, epsilon=layer.epsilon)
        case Scores():
            return _scores(writer, layer, tokens(first), tokens(second))
        case RelativeScores():
            return _relative_scores(writer, layer, image(first), tokens(second))
        case Softmax():
            return writer.node("Softmax", [image(first)], axis=-1)
        case Mix():
            return _mix(writer, layer, image(first), tokens(second))
        case RelativeMix():
            return _relative_mix(writer, layer, tokens(first), image(second))


def _patches(writer: Writer, layer: PatchEmbed, image: str) -> str:
    kernel = writer.constant(writer.weight("weight").transpose(3, 2, 0, 1), "weight")
    inputs, size = [image, kernel, writer.constant(writer.weight("bias"), "bias")], [layer.patch] * 2
    squares = writer.node("Conv", inputs, kernel_shape=size, strides=size)
    return writer.transpose(writer.reshape(squares, 0, layer.shape[-1], layer.shape[0]), 0, 2, 1)


def _positions(writer: Writer, layer: Positions, tokens: str) -> str:
    added = writer.weight("weight")
    if layer.class_token:  # zeros before the others, for a batch of any size; the token is added to them
        tokens = writer.node("Pad", [tokens, writer.constant(np.array([0, 1, 0, 0, 0, 0]))])
        added = added + np.eye(len(added), 1) * writer.weight("token")
    return writer.node("Add", [tokens, writer.constant(added, "weight")])


def _scores(writer: Writer, layer: Scores, query: str, key: str) -> str:
    """Dot products of queries and keys over the root of a head's channels; onnxruntime fuses product and factor."""
    queries, keys = (writer.reshape(x, 0, 0, -1, layer.head_dim) for x in (query, key))
    products = writer.node("MatMul", [writer.transpose(queries, 0, 2, 1, 3), writer.transpose(keys, 0, 2, 3, 1)])
    return writer.node("Mul", [products, writer.constant(np.array(layer.head_dim**-0.5))])


def _mix(writer: Writer, layer: Mix, attention: str, value: str) -> str:
    """Values weighted by attention."""
    values = writer.transpose(writer.reshape(value, 0, 0, -1, layer.head_dim), 0, 2, 1, 3)
    mixed = writer.transpose(writer.node("MatMul", [attention, values]), 0, 2, 1, 3)
    return writer.reshape(mixed, 0, 0, layer.shape[-1])


def _relative_scores(writer: Writer, layer: RelativeScores, scores: str, query: str) -> str:
    """The scores plus queries times the vectors of relative positions."""
    rows, columns = writer.weight("rows"), writer.weight("columns")
    side, first, factor = layer.side, int(layer.class_token), layer.head_dim**-0.5
    tokens, _, heads = layer.shape
    query = writer.reshape(query, 0, 0, heads, layer.head_dim)
    patches = writer.slice(query, 1, first, tokens) if first else query
    patches = writer.reshape(patches, 0, side, side, heads, layer.head_dim)
    by_row = writer.node(  # [batch, heads, row, column, key row]
        "MatMul",
        [
            writer.transpose(patches, 0, 3, 1, 2, 4),
            writer.transpose(_by_place(writer, layer, rows * factor, "rows"), 0, 2, 1),
        ],
    )
    by_column = writer.node(  # [batch, heads, column, row, key column]
        "MatMul",
        [
            writer.transpose(patches, 0, 3, 2, 1, 4),
            writer.transpose(_by_place(writer, layer, columns * factor, "columns"), 0, 2, 1),
        ],
    )
    by_column = writer.transpose(by_column, 0, 1, 3, 2, 4)
    to_row, to_column = by_row, by_column
    if first:
        to_row, to_column = (writer.slice(x, 4, 1, side + 1) for x in (by_row, by_column))
    to_row = writer.node("Unsqueeze", [to_row, writer.constant(np.array([5]))])
    to_column = writer.node("Unsqueeze", [to_column, writer.constant(np.array([4]))])
    relative = writer.reshape(writer.node("Add", [to_row, to_column]), 0, 0, side**2, side**2)
    if first:
        to_class = writer.node("Add", [writer.slice(x, 4, 0, 1) for x in (by_row, by_column)])
        relative = writer.concatenate([writer.reshape(to_class, 0, 0, side**2, 1), relative], 3)
        vector = writer.constant(((rows[0] + columns[0]) * factor)[:, None])
        of_class = writer.node("MatMul", [writer.transpose(writer.slice(query, 1, 0, 1), 0, 2, 1, 3), vector])
        of_class = writer.node("Expand", [of_class, writer.constant(np.array([1, 1, 1, tokens]))])
        relative = writer.concatenate([of_class, relative], 2)
    return writer.node("Add", [scores, relative])


def _relative_mix(writer: Writer, layer: RelativeMix, mixed: str, attention: str) -> str:
    """The mixed values plus the vectors of relative positions weighted by attention."""
    rows, columns = writer.weight("rows"), writer.weight("columns")
    side, first, (tokens, _, channels) = layer.side, int(layer.class_token), layer.shape
    patches = writer.slice(attention, 2, first, tokens) if first else attention
    squares = writer.slice(patches, 3, first, tokens) if first else patches
    squares = writer.reshape(squares, 0, 0, *(side,) * 4)
    to_row, to_column = writer.sum(squares, 5), writer.sum(squares, 4)
    if first:
        to_class = writer.reshape(writer.slice(patches, 3, 0, 1), 0, 0, side, side, 1)
        to_row, to_column = (writer.concatenate([to_class, x], 4) for x in (to_row, to_column))
    by_row = writer.node("MatMul", [to_row, _by_place(writer, layer, rows, "rows")])
    by_column = writer.node(
        "MatMul", [writer.transpose(to_column, 0, 1, 3, 2, 4), _by_place(writer, layer, columns, "columns")]
    )
    relative = writer.node("Add", [by_row, writer.transpose(by_column, 0, 1, 3, 2, 4)])
    relative = writer.reshape(writer.transpose(relative, 0, 2, 3, 1, 4), 0, side**2, channels)
    if first:  # all pairs with the class token share one vector, and its attention sums to one
        total = writer.sum(writer.slice(attention, 2, 0, 1), 3)  # [batch, heads, 1]
        total = writer.node("Unsqueeze", [total, writer.constant(np.array([3]))])
        of_class = writer.node("Mul", [total, writer.constant(rows[0] + columns[0])])  # [batch, heads, 1, head_dim]
        of_class = writer.reshape(writer.transpose(of_class, 0, 2, 1, 3), 0, 1, channels)
        relative = writer.concatenate([of_class, relative], 1)
    return writer.node("Add", [mixed, relative])


def _by_place(writer: Writer, layer: Relative, table: np.ndarray, name: str) -> str:
    """The table's rows for each place of a query on one axis and all keys: `[side, keys, head_dim]`."""
    index = np.array(relative_index(layer.side, layer.reach, layer.class_token))
    return writer.node("Gather", [writer.constant(table, name), writer.constant(index)], axis=0)

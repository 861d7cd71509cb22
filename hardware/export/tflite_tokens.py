"""Writes the layers of tokens and of attention in TensorFlow's operations, of three axes at the most.

Tokens are `[tokens, channels]`, what attention gives each pair of them `[heads, queries, keys]`: our `(queries, keys,
heads)` in the order that products of matrices want. Tables of relative positions are laid out for the rows, and for
the columns, of the square: `side * side` vectors each, not one for each pair of tokens.
"""

from typing import Any

import numpy as np

from hardware.export.tflite_graph import Tensor, TfGraph
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


def attention(graph: TfGraph, position: int, layer: GIVES_TOKENS | GIVES_PAIRS) -> Tensor:
    """A layer that gives tokens, or what attention gives pairs of them."""
    value = _value(graph, position, layer)
    return Tensor(value, "tokens" if isinstance(layer, GIVES_TOKENS) else "pairs")


def _value(graph: TfGraph, position: int, layer: GIVES_TOKENS | GIVES_PAIRS) -> Any:
    tf, first, second = graph.tf, layer.inputs[0], layer.inputs[-1]
    match layer:
        case PatchEmbed():
            return _patches(graph, position, layer)
        case Positions():
            return _positions(graph, position, layer)
        case Take():
            size = (layer.shape[0], layer.shape[-1])
            return tf.slice(graph.read(first, "tokens"), (layer.start, 0), size)
        case LayerNorm():
            return _layer_norm(graph, position, layer)
        case Scores():
            queries, keys = (_heads(graph, graph.read(i, "tokens"), layer.head_dim) for i in (first, second))
            return tf.matmul(queries * layer.head_dim**-0.5, keys, transpose_b=True)
        case RelativeScores():
            return _relative_scores(graph, position, layer)
        case Softmax():
            return tf.nn.softmax(graph.read(first, "pairs"))
        case Mix():
            values = _heads(graph, graph.read(second, "tokens"), layer.head_dim)
            mixed = tf.matmul(graph.read(first, "pairs"), values)
            return tf.reshape(tf.transpose(mixed, (1, 0, 2)), (layer.shape[0], layer.shape[-1]))
        case RelativeMix():
            return _relative_mix(graph, position, layer)


def _heads(graph: TfGraph, tokens: Any, head_dim: int) -> Any:
    """Tokens head by head: `[heads, tokens, head_dim]`."""
    count = tokens.shape[0]
    return graph.tf.transpose(graph.tf.reshape(tokens, (count, -1, head_dim)), (1, 0, 2))


def _patches(graph: TfGraph, position: int, layer: PatchEmbed) -> Any:
    tf = graph.tf
    image, kernel = graph.read(layer.inputs[0], "image"), graph.constant(graph.weight(position, "weight"))
    squares = tf.nn.conv2d(image, kernel, layer.patch, "VALID")
    squares = tf.nn.bias_add(squares, graph.bias(position, graph.weight(position, "bias")))
    return tf.reshape(squares, (layer.shape[0], layer.shape[-1]))


def _positions(graph: TfGraph, position: int, layer: Positions) -> Any:
    tokens, added = graph.read(layer.inputs[0], "tokens"), graph.weight(position, "weight")
    if layer.class_token:  # zeros before the others; the token is added to them
        tokens = graph.tf.pad(tokens, ((1, 0), (0, 0)))
        added = added + np.eye(len(added), 1) * graph.weight(position, "token")
    return tokens + graph.constant(added)


def _layer_norm(graph: TfGraph, position: int, layer: LayerNorm) -> Any:
    tf, tokens = graph.tf, graph.read(layer.inputs[0], "tokens")
    scale, bias = (graph.constant(graph.weight(position, name)) for name in ("scale", "bias"))
    centred = tokens - tf.reduce_mean(tokens, -1, keepdims=True)
    var = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
    return centred * tf.math.rsqrt(var + layer.epsilon) * scale + bias


def _relative_scores(graph: TfGraph, position: int, layer: RelativeScores) -> Any:
    """The scores plus queries times the vectors of relative positions."""
    tf, side, first, factor = graph.tf, layer.side, int(layer.class_token), layer.head_dim**-0.5
    tokens, _, heads = layer.shape
    queries = graph.read(layer.inputs[1], "tokens")
    patches = tf.slice(queries, (1, 0), (side**2, heads * layer.head_dim)) if first else queries
    square = tf.reshape(patches, (side, side, heads * layer.head_dim))

    def by(name: str, square: Any) -> Any:  # a product for each row (column): [row, column * head, key row]
        vectors = graph.constant(_by_place(layer, graph.weight(position, name) * factor).transpose(0, 2, 1))
        return tf.matmul(tf.reshape(square, (side, side * heads, layer.head_dim)), vectors)

    def to_places(products: Any) -> Any:
        return tf.slice(products, (0, 0, first), (*products.shape[:2], side)) if first else products

    def by_head(products: Any) -> Any:  # [head, query, key row]
        keys = products.shape[-1]
        return tf.transpose(tf.reshape(products, (side**2, heads, keys)), (1, 0, 2))

    def in_rows(products: Any) -> Any:  # [column, row * head, ...] to [row, column * head, ...]
        keys = products.shape[-1]
        turned = tf.transpose(tf.reshape(products, (side, side, heads * keys)), (1, 0, 2))
        return tf.reshape(turned, (side, side * heads, keys))

    by_row, by_column = by("rows", square), in_rows(by("columns", tf.transpose(square, (1, 0, 2))))
    to_row, to_column = (by_head(to_places(products)) for products in (by_row, by_column))
    to_row = tf.reshape(to_row, (heads * side**2, side, 1))
    to_column = tf.reshape(to_column, (heads * side**2, 1, side))
    relative = tf.reshape(to_row + to_column, (heads, side**2, side**2))
    if first:
        to_class = by_head(tf.slice(by_row + by_column, (0, 0, 0), (side, side * heads, 1)))
        relative = tf.concat([to_class, relative], 2)
        vector = (graph.weight(position, "rows")[0] + graph.weight(position, "columns")[0]) * factor
        of_class = tf.reshape(tf.slice(queries, (0, 0), (1, heads * layer.head_dim)), (heads, layer.head_dim))
        # the class token stands alike to every key
        of_class = tf.matmul(of_class, graph.constant(np.tile(vector[:, None], tokens)))
        relative = tf.concat([tf.reshape(of_class, (heads, 1, tokens)), relative], 1)
    return graph.read(layer.inputs[0], "pairs") + relative


def _relative_mix(graph: TfGraph, position: int, layer: RelativeMix) -> Any:
    """The mixed values plus the vectors of relative positions weighted by attention."""
    tf, side, first, head_dim = graph.tf, layer.side, int(layer.class_token), layer.head_dim
    tokens, _, channels = layer.shape
    heads = channels // head_dim
    pairs = graph.read(layer.inputs[1], "pairs")
    patches = tf.slice(pairs, (0, first, 0), (heads, side**2, tokens)) if first else pairs
    squares = tf.slice(patches, (0, 0, first), (heads, side**2, side**2)) if first else patches
    squares = tf.reshape(squares, (heads * side**2, side, side))
    to_class = tf.slice(patches, (0, 0, 0), (heads, side**2, 1)) if first else None

    def by(name: str, over: int, turned: bool) -> Any:
        total = tf.reshape(tf.reduce_sum(squares, over), (heads, side**2, side))
        if to_class is not None:
            total = tf.concat([to_class, total], 2)
        keys = total.shape[-1]
        total = tf.transpose(tf.reshape(total, (heads, side**2, keys)), (1, 0, 2))  # [query, head, key]
        total = tf.reshape(total, (side, side, heads * keys))
        total = tf.transpose(total, (1, 0, 2)) if turned else total
        vectors = graph.constant(_by_place(layer, graph.weight(position, name)))
        mixed = tf.matmul(tf.reshape(total, (side, side * heads, keys)), vectors)
        mixed = tf.reshape(mixed, (side, side, channels))
        return tf.transpose(mixed, (1, 0, 2)) if turned else mixed

    relative = tf.reshape(by("rows", 2, False) + by("columns", 1, True), (side**2, channels))
    if first:
        relative = tf.concat([_of_class(graph, position, layer, pairs), relative], 0)
    return graph.read(layer.inputs[0], "tokens") + relative


def _of_class(graph: TfGraph, position: int, layer: RelativeMix, pairs: Any) -> Any:
    """What the class token's row gets: all its pairs share one vector, so that only attention's sum matters.

    After a softmax that is 1, and nothing has to be added up.
    """
    tf, (tokens, _, channels) = graph.tf, layer.shape
    vector = graph.weight(position, "rows")[0] + graph.weight(position, "columns")[0]
    heads = channels // layer.head_dim
    if isinstance(graph.layers[layer.inputs[1]], Softmax):
        return graph.constant(np.tile(vector, heads)[None])
    total = tf.reduce_sum(tf.slice(pairs, (0, 0, 0), (heads, 1, tokens)), 2)  # [head, 1]
    return tf.reshape(total * graph.constant(vector[None]), (1, channels))


def _by_place(layer: Relative, table: np.ndarray) -> np.ndarray:
    """The table's rows for each place of a query on one axis and all keys: `[side, keys, head_dim]`."""
    return table[np.array(relative_index(layer.side, layer.reach, layer.class_token))]

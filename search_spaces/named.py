"""Layer functions under names: `trace/` meets a softmax or a batch norm as one call instead of its primitives.

A name says the kind of layer and what its operands' shapes don't (a stride, an epsilon). Inside of `jit` the call costs
nothing: XLA puts the function in its place.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax

PREFIX = "edgenas "


@lru_cache(maxsize=1024)
def named(kind: str, run: Callable[..., Any], /, **attributes: Any) -> Callable[..., Any]:
    """`run`, jitted under a name that says what layer it is.

    Args:
      kind: a class of `search_spaces.layers`, e.g. `Softmax`.
      run: a function of arrays; one of a module (or a cached one), so that equal calls share compiled programs.
      attributes: of the layer, passed to `run` by keyword: numbers, text, tuples of these and None.
    """

    def call(*operands: Any) -> Any:
        return run(*operands, **attributes)

    call.__name__ = call.__qualname__ = PREFIX + json.dumps([kind, attributes])
    return jax.jit(call)


def named_kind(name: str) -> tuple[str, dict[str, Any]] | None:
    """The kind and attributes that the name of a jitted function says; None where it is somebody else's."""
    if not name.startswith(PREFIX):
        return None
    kind, attributes = json.loads(name.removeprefix(PREFIX))
    return kind, {key: tuple(value) if isinstance(value, list) else value for key, value in attributes.items()}

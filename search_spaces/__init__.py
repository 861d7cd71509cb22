"""What may be built, and out of which layers: choices, elastic networks and the layers they come down to."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search_spaces.space import Space

    EXAMPLES: tuple[Space, ...]


def __getattr__(name: str) -> "tuple[Space, ...]":
    """`EXAMPLES`, made when asked for: `search_spaces.layers` needs no JAX."""
    if name != "EXAMPLES":
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    from search_spaces.examples import EXAMPLES

    return EXAMPLES

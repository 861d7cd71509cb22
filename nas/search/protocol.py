"""What every search is: three pure functions, so that one loop drives them all."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float, Int, PRNGKeyArray

from search_spaces.space import Space


@runtime_checkable
class Search(Protocol):
    """Proposes architectures and learns from their costs.

    A state is a `NamedTuple` of arrays and nothing else: saved with `np.savez(file, **state._asdict())` and read back
    with `type(state)(**arrays)`, it goes on bit for bit as if never stored. The same key gives the same answer.
    """

    @property
    def space(self) -> Space:
        """What is searched."""
        ...

    @property
    def pop_size(self) -> int:
        """How many architectures each `ask` proposes."""
        ...

    def init(self, key: PRNGKeyArray) -> Any:
        """The state before anything is known."""
        ...

    def ask(self, key: PRNGKeyArray, state: Any) -> Int[Array, "pop choices"]:
        """Which architectures to judge next, as canonical rows."""
        ...

    def tell(self, state: Any, archs: Int[Any, "told choices"], costs: Float[Any, "told objectives"]) -> Any:
        """The state once these costs (lower is better; finite) are known.

        The rows needn't be the ones asked for, nor as many: known networks may start a search.

        Raises:
          ValueError: when a cost isn't finite or the rows don't match.
        """
        ...

"""All networks of a small space, each once and in a stated order."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from search_spaces.space import Space, active, size


def enumerate_all(
    space: Space, *, limit: int = 1_000_000, block: int = 4096
) -> Iterator[Int[np.ndarray, "pop choices"]]:
    """Every network of a small space once, as canonical rows in lexicographic order.

    Args:
      space: whose networks these are.
      limit: the largest number of networks that is still enumerated.
      block: how many rows come at a time, at the most; only as many are held, times the number of choices.

    Returns:
      Blocks of rows, made when asked for.

    Raises:
      ValueError: at once, when the space has more networks than the limit.
    """
    if (networks := size(space)) > limit:
        raise ValueError(
            f"a space of {networks} networks is not enumerated beyond {limit}; raise `limit`, or draw from it"
            " (search_spaces/derived/sampling.py)"
        )
    if block < 1:
        raise ValueError(f"`block` must be at least 1, got {block}")
    return _completed(space, np.zeros((1, len(space.choices)), np.int32), 0, block)


def _completed(space: Space, rows: np.ndarray, gene: int, block: int) -> Iterator[np.ndarray]:
    """The rows with every combination of the genes from `gene` on."""
    for gene_now in range(gene, len(space.choices)):
        if len(rows) > block:
            for start in range(0, len(rows), block):
                yield from _completed(space, rows[start : start + block], gene_now, block)
            return
        times = np.where(active(space, rows)[:, gene_now], len(space.choices[gene_now].options), 1)
        first = np.repeat(times.cumsum() - times, times)
        rows = np.repeat(rows, times, 0)
        rows[:, gene_now] = np.arange(len(rows)) - first
    for start in range(0, len(rows), block):
        yield rows[start : start + block]

"""What a search is told must be architectures of its space and finite costs, one row each."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from search_spaces.space import Space, canonical, check_arch, option_counts


def check_told(
    space: Space, archs: Int[Any, "told choices"], costs: Float[Any, "told objectives"]
) -> tuple[Int[np.ndarray, "told choices"], Float[np.ndarray, "told objectives"]]:
    """Returns canonical rows and their costs in float32.

    Raises:
      ValueError: when a row isn't of this space, a cost isn't finite in float32, or the numbers of rows differ.
    """
    rows = np.asarray(archs)
    with np.errstate(over="ignore"):
        values = np.asarray(costs).astype(np.float32)
    if values.ndim != 2 or values.shape[1] == 0 or len(values) != len(rows):
        raise ValueError(f"costs must be [{len(rows)} objectives], one row an architecture, got {values.shape}")
    counts = option_counts(space)
    if rows.ndim != 2 or rows.shape[1] != len(counts):
        raise ValueError(f"architectures of this space are rows of {len(counts)} genes, got shape {rows.shape}")
    outside = ((rows < 0) | (rows >= counts)).any(1)
    if outside.any():
        check_arch(space, rows[outside][0])
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"costs must be finite, got {np.asarray(costs)[row, column]} in row {row}, column {column};"
            " give a network that failed a large cost, such as 1e6, in every column"
        )
    return canonical(space, rows), values

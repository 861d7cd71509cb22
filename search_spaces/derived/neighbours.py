"""The networks next to a network, each once and in a stated order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from search_spaces.space import Space, active, canonical, check_arch, option_counts


def neighbours(space: Space, arch: Int[Any, " choices"] | Sequence[int]) -> Int[np.ndarray, "pop choices"]:
    """All networks that differ by the option of one choice that has an effect.

    Choices that the change wakes take their first option (the cheapest), those that it puts to sleep lose theirs: so
    it may take several steps back.

    Args:
      space: whose choices these are.
      arch: the network; canonical or not.

    Returns:
      Distinct canonical rows, ordered by the choice that changes and then by its option; none where no choice has
      another option.

    Raises:
      ValueError: when the architecture is not of this space.
    """
    row = canonical(space, check_arch(space, arch))
    counts, awake = option_counts(space), active(space, row)
    changes = [(i, o) for i in range(len(row)) if awake[i] for o in range(counts[i]) if o != row[i]]
    rows = np.repeat(row[None], len(changes), 0)
    if changes:
        genes, options = np.array(changes).T
        rows[np.arange(len(rows)), genes] = options
    return canonical(space, rows)

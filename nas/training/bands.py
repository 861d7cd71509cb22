"""How training goes for small, middling and large networks: each band judged with the weights as they are."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from search_spaces.derived.sampling import sample
from search_spaces.space import Space, canonical, largest, smallest

SAMPLED = 4
"""Networks between the ends; the same ones each time, so that curves can be compared."""


class Judged(Protocol):
    """What a judge says of a network."""

    @property
    def val_error(self) -> Float[Any, ""]:
        """Fraction of the validation images classified wrongly."""
        ...

    @property
    def val_loss(self) -> Float[Any, ""]:
        """Mean cross-entropy over them, nats."""
        ...


def bands(
    judge: Callable[[Any, Int[np.ndarray, " choices"]], Judged], network: Any, space: Space, key: PRNGKeyArray
) -> dict[str, float]:
    """Validation error and loss of the smallest, some sampled (their mean) and the largest network.

    Args:
      judge: of one architecture, as `nas.judge.SupernetJudge`, so that no further program is compiled.
      network: the supernet.
      space: its space.
      key: of the sampled ones.

    Returns:
      `smallest/val_error`, `smallest/val_loss`, and so on.
    """
    groups = {
        "smallest": [smallest(space)],
        "sampled": list(np.asarray(sample(key, space, SAMPLED))),
        "largest": [canonical(space, largest(space))],
    }
    found: dict[str, float] = {}
    for band, archs in groups.items():
        judged = [judge(network, arch) for arch in archs]
        for name in ("val_error", "val_loss"):
            found[f"{band}/{name}"] = float(np.mean([getattr(each, name) for each in judged]))
    return found

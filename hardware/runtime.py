"""What a runtime must offer for networks to be timed on it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from search_spaces.layers import Layer


@runtime_checkable
class Runtime(Protocol):
    """Runs networks on this machine, as `hardware/onnx_runtime.py` does."""

    @property
    def threads(self) -> int:
        """How many threads a network may use."""
        ...

    @property
    def version(self) -> str:
        """Name and version: times of different versions do not compare."""
        ...

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions it runs networks in."""
        ...

    def ready(self, layers: Sequence[Layer], weights: Mapping[str, np.ndarray]) -> Callable[[], Any]:
        """Exports and loads a network, and gives a call that runs it once on one image, all else done before.

        Raises:
          ValueError: when the network cannot be exported or is refused.
        """
        ...

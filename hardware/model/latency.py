"""What a model of latency must offer."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from hardware.costs.precision import Precision
from hardware.model.device import Device
from search_spaces.layers import Layer


@runtime_checkable
class LatencyModel(Protocol):
    """How long software takes on a device, from a network's layers: `roofline.py`, `fitted.py`."""

    def latency_ms(self, device: Device, layers: Sequence[Layer], precision: Precision, threads: int) -> float:
        """The time for one image, in ms.

        Raises:
          ValueError: when the device has no figures for this precision, or fewer cores.
        """
        ...

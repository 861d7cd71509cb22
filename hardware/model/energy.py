"""Energy from time, arithmetic and memory traffic."""

from collections.abc import Sequence

from hardware.costs.kernels import kernels
from hardware.costs.precision import Precision
from hardware.model.device import Device
from hardware.model.traffic import traffic
from search_spaces.alive import alive
from search_spaces.layers import Layer


def modelled_energy_mj(
    device: Device, layers: Sequence[Layer], precision: Precision, threads: int, latency_ms: float
) -> float:
    """The energy for one image, in mJ: the board's power over its time, plus arithmetic and memory traffic.

    On processors the first term is nearly all: a 45 nm int8 MAC of 0.3 pJ is lost beside the instructions that fetch
    and issue it (an STM32H7A3 draws 0.12 W whatever it computes, that is some 500 pJ for each MAC). The second term
    separates networks of equal time by what they move; it takes the 45 nm figures as published, unscaled, as an upper
    bound for newer chips.

    Args:
      device: whose power and energies.
      layers: the network.
      precision: of weights and activations.
      threads: cores that are busy.
      latency_ms: the time for one image, modelled or measured.

    Raises:
      ValueError: when the device has no figures for this precision, or fewer cores.

    References:
      Computing's energy problem (doi:10.1109/ISSCC.2014.6757323) for the energies of arithmetic and memory.
      Differs: bytes count where `traffic.py` says that they move.
    """
    device.check(precision, threads)
    run = kernels(alive(layers))
    picojoules = 0.0
    for kernel, moved in zip(run, traffic(device, run, precision), strict=True):
        picojoules += kernel.macs * device.pj_per_mac[precision]
        picojoules += moved.near * device.pj_per_byte_on_chip + moved.far * device.pj_per_byte_off_chip
    power_w = device.idle_w + device.core_w * threads
    return power_w * latency_ms + picojoules * 1e-9

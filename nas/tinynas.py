"""The width and the resolution for a microcontroller: those whose networks compute most among all that fit its memory.

The first stage of TinyNAS, in MCUNet: Tiny Deep Learning on IoT Devices (arXiv:2007.10319). No training is needed: in
one family of networks more computation goes with higher accuracy, so the better part of a space is where networks that
fit can afford more of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from hardware.costs.memory import flash_bytes, peak_bytes
from hardware.costs.precision import Precision
from search_spaces.derived.sampling import sample
from search_spaces.layers import Layer, total_macs
from search_spaces.mcunet import McuNet
from search_spaces.space import smallest


@dataclass(frozen=True, kw_only=True)
class Part:
    """One width and one resolution, and what was found there.

    Attributes:
      width_mult: of all channels.
      resolution: of images, px.
      drawn: how many networks were looked at.
      macs: of those that fit, increasing: their distribution.
    """

    width_mult: float
    resolution: int
    drawn: int
    macs: tuple[int, ...]

    @property
    def share(self) -> float:
        """Of the networks drawn, how many fit: 0 to 1."""
        return len(self.macs) / self.drawn if self.drawn else 0.0

    @property
    def mean_macs(self) -> float:
        """Of the networks that fit."""
        return float(np.mean(self.macs)) if self.macs else 0.0


@dataclass(frozen=True, kw_only=True)
class TinyNas:
    """Finds the part of a microcontroller space that suits a device.

    Attributes:
      space: with several widths or resolutions.
      sram_bytes: for activations; leave what the runtime itself and its scratch buffers take.
      flash_bytes: for weights; leave what the program takes.
      precision: of weights and activations.
      networks: how many that fit are looked for in each part.
      tries: a part is given up after so many times as many draws.

    References:
      MCUNet (arXiv:2007.10319), section 3.1.
      Differs: parts are ordered by the mean of the distribution, where the paper compares the curves by eye; memory is
      that of our model, without TinyEngine's depthwise convolutions in place; a part in which fewer than one network in
      `tries` fits stands behind all others, for a search would spend itself on finding networks that fit.
    """

    space: McuNet
    sram_bytes: int
    flash_bytes: int
    precision: Precision = "int8"
    networks: int = 50
    tries: int = 5

    def __post_init__(self) -> None:
        for name in ("sram_bytes", "flash_bytes", "networks", "tries"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")

    def needs(self, layers: tuple[Layer, ...]) -> tuple[int, int]:
        """Bytes of SRAM and of flash that a network takes."""
        return peak_bytes(layers, self.precision), flash_bytes(layers, self.precision)

    def fits(self, layers: tuple[Layer, ...]) -> bool:
        """Whether a network keeps both limits."""
        sram, flash = self.needs(layers)
        return sram <= self.sram_bytes and flash <= self.flash_bytes

    def rank(self, key: PRNGKeyArray) -> tuple[Part, ...]:
        """Every part of the space, the best first; last those in which nothing fits."""
        parts = [
            self._part(jax.random.fold_in(key, i), width_mult, resolution)
            for i, (width_mult, resolution) in enumerate(self._pairs())
        ]
        return tuple(sorted(parts, key=lambda part: (part.share * self.tries >= 1, part.mean_macs), reverse=True))

    def choose(self, key: PRNGKeyArray) -> McuNet:
        """The best part of the space, as a space of its own: search in it.

        Raises:
          ValueError: when no network of the space is known to fit, saying what the smallest needs.
        """
        best = self.rank(key)[0]
        if not best.macs:
            space = self.space.at(*next(self._pairs()))
            sram, flash = self.needs(space.layers(smallest(space)))
            raise ValueError(
                f"no network was found that fits {self.sram_bytes:,} bytes of SRAM and {self.flash_bytes:,} of flash:"
                f" the smallest of the space needs {sram:,} and {flash:,}; add smaller `width_mults` or `resolutions`"
            )
        return self.space.at(best.width_mult, best.resolution)

    def _pairs(self) -> Iterator[tuple[float, int]]:
        """The widths and resolutions, the smallest first."""
        for width_mult in self.space.width_mults:
            for resolution in self.space.resolutions or (self.space.image_size,):
                yield width_mult, resolution

    def _part(self, key: PRNGKeyArray, width_mult: float, resolution: int) -> Part:
        space, drawn, found = self.space.at(width_mult, resolution), 0, list[int]()
        if self.fits(space.layers(smallest(space))):  # else nothing does
            for round_key in jax.random.split(key, self.tries):
                for arch in np.asarray(sample(round_key, space, self.networks)):
                    layers = space.layers(arch)
                    drawn += 1
                    if self.fits(layers):
                        found.append(total_macs(layers))
                    if len(found) == self.networks:
                        break
                if len(found) == self.networks:
                    break
        return Part(width_mult=width_mult, resolution=resolution, drawn=drawn, macs=tuple(sorted(found)))

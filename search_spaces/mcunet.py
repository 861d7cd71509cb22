"""The microcontroller space: inverted bottlenecks whose width and resolution shrink until they fit a few hundred kB.

MCUNet's TinyNAS (arXiv:2007.10319). `nas/tinynas.py` picks the width and the resolution for a device's memory (its
first stage); the search inside what is left is any of `nas/search` (its second).
Differs: width and resolution are choices of one supernet too, so that they can be searched together with the rest; a
narrower network is the first channels of a wider one.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from jaxtyping import Int, PRNGKeyArray

from search_spaces.layers import Layer
from search_spaces.network import Network
from search_spaces.proxyless import Proxyless, ProxylessStage
from search_spaces.space import Choice


@dataclass(frozen=True, kw_only=True)
class McuNet:
    """The space. As published it holds 12 resolutions times 9 widths, of 2.0 * 10^20 networks each.

    Attributes:
      image_size: height and width of the images, px, where the resolution is no choice.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      resolutions: options for the resolution that images are resized to, px; a static choice. Empty for none.
      width_mults: options for what all widths are multiplied by, before they are made divisible by 8; one is chosen for
        the whole network.
      stem_channels: of the first convolution.
      first_channels: of the first block, which has no choices.
      stages: what the blocks of each stage are.
      kernels: options for each block's depthwise kernel, odd.
      expansions: options for each block's ratio of expanded to input channels.
      head_channels: of a last convolution before pooling; None for a classifier right behind the last block, which is
        what fits: with 1280 channels and 1000 classes the classifier alone takes 1.3 MB.
      transformed: whether smaller kernels pass through matrices, as in Once-for-All.
      epsilon: of batch norm.
    """

    image_size: int = 160
    image_channels: int = 3
    classes: int = 1000
    resolutions: tuple[int, ...] = tuple(range(48, 225, 16))
    width_mults: tuple[float, ...] = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    stem_channels: int = 32
    first_channels: int = 16
    stages: tuple[ProxylessStage, ...] = (
        ProxylessStage(width=24),
        ProxylessStage(width=40),
        ProxylessStage(width=80),
        ProxylessStage(width=96, stride=1),
        ProxylessStage(width=192),
        ProxylessStage(width=320, stride=1, depths=(1,)),
    )
    kernels: tuple[int, ...] = (3, 5, 7)
    expansions: tuple[int, ...] = (3, 4, 6)
    head_channels: int | None = None
    transformed: bool = True
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        _ = self._space  # which checks what it is given

    @cached_property
    def _space(self) -> Proxyless:
        return Proxyless(**{field.name: getattr(self, field.name) for field in fields(self)})

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The resolution and the width of all blocks, then per stage its depth, and each block's kernel and expansion.

        What has one option is no choice; but a resolution always is one, for images to be resized to it.
        """
        return self._space.choices

    def supernet(self, key: PRNGKeyArray) -> Network:
        """A new supernet: parameters for the largest of every option. Wrap in `jax.jit`: eager creation is slow."""
        return self._space.supernet(key)

    def layers(self, arch: Int[Any, " choices"]) -> tuple[Layer, ...]:
        """The graph of one architecture; paths are those of the extracted network."""
        return self._space.layers(arch)

    def at(self, width_mult: float, resolution: int) -> "McuNet":
        """The part of the space that has one width and one resolution, px: what a first stage leaves to a second."""
        return replace(self, width_mults=(width_mult,), resolutions=(resolution,))

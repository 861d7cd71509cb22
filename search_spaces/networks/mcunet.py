"""Networks for microcontrollers that MCUNet (arXiv:2007.10319) measures: the two whose definitions are public."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from search_spaces.networks.mobilenet_v2 import mobilenet_v2
from search_spaces.networks.point import Point
from search_spaces.networks.proxylessnas import FOUND, proxylessnas

# ProxylessNAS's own rounding of 0.3 times its widths: up to a multiple of 8 (57.6 to 64).
PROXYLESS = replace(FOUND["mobile"], stem=16, first=8, widths=(16, 16, 24, 32, 64, 96), head=384)

NETWORKS: dict[str, Callable[[], Point]] = {
    "mcunet_mobilenet_v2_0.35": partial(mobilenet_v2, 0.35, narrow_head=True, image_size=144, row="mbv2-w0.35"),
    "mcunet_proxyless_0.3": partial(proxylessnas, PROXYLESS, image_size=176, row="proxyless-w0.3"),
}

UNRECONCILED: dict[str, str] = dict.fromkeys(
    ("mcunet-in0", "mcunet-in2", "mcunet-in3", "mcunet-in4", "mcunet-vww0", "mcunet-vww1"),
    "its blocks are in a file that mit-han-lab/mcunet downloads, not in the repository or the paper",
)

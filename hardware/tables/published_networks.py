"""Which of our networks a published table means by a name, a resolution and a runtime."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from search_spaces.layers import Layer
from search_spaces.networks import NAMED
from search_spaces.networks.mobilenet_v1 import mobilenet_v1
from search_spaces.networks.mobilenet_v2 import mobilenet_v2
from search_spaces.networks.point import Point


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a table's network is here.

    Attributes:
      name: our name of it, with its resolution.
      family: its architecture: all widths, depths and resolutions of it are one family.
      point: makes it.
    """

    name: str
    family: str
    point: Callable[[], Point]

    def layers(self) -> tuple[Layer, ...]:
        """Its graph."""
        return self.point().layers()


NETWORKS: Mapping[str, tuple[str, str]] = {
    # by the table's name: our named network and its family
    "AlexNet": ("alexnet_2_groups", "AlexNet"),
    "EfficientNet-B0": ("efficientnet_b0", "EfficientNet"),
    **{f"EfficientNet-Lite{i}": (f"efficientnet_lite{i}", "EfficientNet") for i in range(5)},
    "FBNet-B": ("fbnet_b", "FBNet"),
    "FBNet-C": ("fbnet_c", "FBNet"),
    "Inception v1": ("googlenet", "GoogLeNet"),
    "MLPerf Tiny AD (FC autoencoder)": ("autoencoder", "autoencoder"),
    "MLPerf Tiny IC (ResNet-8, CIFAR-10)": ("resnet_8", "ResNet"),
    "MLPerf Tiny KWS (DS-CNN)": ("ds_cnn", "DS-CNN"),
    "MLPerf Tiny VWW (MobileNetV1 0.25)": ("mobilenet_v1_0.25_vww", "MobileNetV1"),
    "MobileNetV3-Large 1.0": ("mobilenet_v3_large", "MobileNetV3"),
    "MobileNetV3-Large 0.75": ("mobilenet_v3_large_0.75", "MobileNetV3"),
    "MobileNetV3-Large minimalistic": ("mobilenet_v3_large_minimalistic", "MobileNetV3"),
    "MobileNetV3-Small 1.0": ("mobilenet_v3_small", "MobileNetV3"),
    "MobileNetV3-Small 0.75": ("mobilenet_v3_small_0.75", "MobileNetV3"),
    "MobileNetV3-Small minimalistic": ("mobilenet_v3_small_minimalistic", "MobileNetV3"),
    # ncnn's file has 5.12 M weights, ours 5.46 M: its gates are narrower, its arithmetic is the same
    "MobileNetV3-Large 1.0 (ncnn param: 5,115,080 weights)": ("mobilenet_v3_large", "MobileNetV3"),
    "ProxylessNAS mobile": ("proxylessnas_mobile", "ProxylessNAS"),
    "ProxylessNAS mobile (ncnn param: 4,046,296 weights)": ("proxylessnas_mobile", "ProxylessNAS"),
    "ProxylessNAS mobile-14": ("proxylessnas_mobile_14", "ProxylessNAS"),
    "RegNetY-400MF": ("regnety_400mf", "RegNet"),
    "ResNet-18": ("resnet_18", "ResNet"),
    "ResNet-34": ("resnet_34", "ResNet"),
    "ResNet-50": ("resnet_50", "ResNet"),
    "ResNet-50 V1": ("resnet_50", "ResNet"),
    # the groups are not stated; 3 is what implementations take, and the weights are 3 % from it
    "ShuffleNetV1 1x (ncnn param: 1,789,998 weights; groups unverified)": ("shufflenet_v1_1.0_g3", "ShuffleNetV1"),
    "ShuffleNetV2 1.0": ("shufflenet_v2_1.0", "ShuffleNetV2"),
    "ShuffleNetV2 1.5": ("shufflenet_v2_1.5", "ShuffleNetV2"),
    "SqueezeNet 1.0": ("squeezenet_1.0", "SqueezeNet"),
    "SqueezeNet 1.1": ("squeezenet_1.1", "SqueezeNet"),
    "VGG-16": ("vgg_16", "VGG"),
    **{f"mcunet-in{i}": (f"mcunet_in{i}", "MCUNet") for i in (0, 2, 3, 4)},
    "mbv2-w0.35": ("mcunet_mobilenet_v2_0.35", "MobileNetV2"),
    "proxyless-w0.3": ("mcunet_proxyless_0.3", "ProxylessNAS"),
}
"""Networks that have a name here; widths are read from the table's (`meaning_of`)."""


@cache
def meaning_of(network: str, resolution: str, runtime: str) -> Meaning | None:
    """Which of our networks is meant; None where the name does not say, or no space here has it.

    Args:
      network: as the table calls it.
      resolution: side of its images, px; networks whose data has but one are taken at that.
      runtime: ncnn's GoogLeNet is the paper's, others' has norms and no 5x5.
    """
    size = int(resolution) if resolution.isdigit() else None
    if said := re.fullmatch(r"MobileNetV([12]) ([\d.]+)( \(Flowers 5-class\))?", network):
        width, classes = float(said[2]), 5 if said[3] else 1000
        make = mobilenet_v1 if said[1] == "1" else mobilenet_v2
        name = f"mobilenet_v{said[1]}_{width:g}" + ("_5_classes" if said[3] else "")
        return Meaning(
            name=f"{name}@{size or 224}",
            family=f"MobileNetV{said[1]}",
            point=lambda: make(width, image_size=size or 224, classes=classes),
        )
    if said := re.fullmatch(r"MnasNet-(A1|B1)(?:-type)? ([\d.]+)", network):
        width, kind = float(said[2]), said[1].lower()
        return Meaning(
            name=f"mnasnet_{kind}_{width:g}@{size or 224}",
            family="MnasNet",
            point=lambda: _changed(NAMED[f"mnasnet_{kind}_1.0"](), size, width_mult=width),
        )
    if network not in NETWORKS:
        return None
    name, family = NETWORKS[network]
    if network.startswith("MLPerf Tiny"):
        return Meaning(name=name, family=family, point=NAMED[name])
    if name == "googlenet" and runtime.startswith("ncnn"):
        name = "inception_v1"
    return Meaning(name=f"{name}@{size}", family=family, point=lambda: _changed(NAMED[name](), size))


def _changed(point: Point, size: int | None, **changes: Any) -> Point:
    """The point at another resolution, and with other settings of its space."""
    space: Any = point.space
    if size is not None and hasattr(space, "image"):
        changes["image"] = (size, size, space.image[-1])
    elif size is not None and getattr(space, "resolutions", ()):
        changes["resolutions"] = (size,)
    elif size is not None:
        changes["image_size"] = size
    return dataclasses.replace(point, space=dataclasses.replace(space, **changes))

"""MobileNetV1 (arXiv:1704.04861) at its four published widths."""

from collections.abc import Callable
from functools import partial

from search_spaces.assembly import Fixed, Place
from search_spaces.blocks.separable import Separable
from search_spaces.blocks.stretches import Classifier, Stem
from search_spaces.layers import Nonlinearity
from search_spaces.networks.point import Point

WIDTH_AND_STRIDE = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)),
    *((512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
)


def mobilenet_v1(
    width_mult: float = 1.0,
    *,
    image_size: int = 224,
    image_channels: int = 3,
    classes: int = 1000,
    activation: Nonlinearity = "relu",
    row: str | None = None,
) -> Point:
    """The network.

    Args:
      width_mult: multiplies all channels.
      image_size: height and width of the images, px.
      image_channels: 1 for grey, 3 for colour.
      classes: how many.
      activation: `relu` as in the paper; its TensorFlow code has `relu6`.
      row: its name in the table of reference counts.

    Returns:
      A point of a space without choices.
    """
    places = [Place(recipe=Stem(outs=int(32 * width_mult), stride=2, activation=activation))]
    for width, stride in WIDTH_AND_STRIDE:
        places.append(Place(recipe=Separable(outs=int(width * width_mult), stride=stride, activation=activation)))
    places.append(Place(recipe=Classifier(classes=classes)))
    return Point(
        space=Fixed(places=tuple(places), image=(image_size, image_size, image_channels)),
        source="MobileNets (arXiv:1704.04861), table 1; published parameter counts are of 1001 classes",
        row=row,
    )


NETWORKS: dict[str, Callable[[], Point]] = {
    "mobilenet_v1": partial(mobilenet_v1, row="MobileNetV1 1.0"),
    "mobilenet_v1_0.75": partial(mobilenet_v1, 0.75, row="MobileNetV1 0.75"),
    "mobilenet_v1_0.5": partial(mobilenet_v1, 0.5, row="MobileNetV1 0.5"),
    "mobilenet_v1_0.25": partial(mobilenet_v1, 0.25),
}

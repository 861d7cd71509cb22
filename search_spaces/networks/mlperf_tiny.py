"""The four networks of MLPerf Tiny (arXiv:2106.07597), as the reference implementation defines them in Keras.

Which carry most of the published measurements on microcontrollers. Convolutions and linear layers have biases beside
their batch norms, and padding is TensorFlow's "SAME". Keras's totals also count batch norms' moving statistics.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from search_spaces.assembly import Fixed, Place
from search_spaces.blocks.stretches import Classifier, conv_norm
from search_spaces.layers import Nonlinearity
from search_spaces.networks.point import Point
from search_spaces.recipe import Builder, Tensor

SOURCE = "arXiv:2106.07597; mlcommons/tiny, keras_model.py"


@dataclass(frozen=True, kw_only=True)
class SameConv:
    """A convolution with bias, padded as TensorFlow's "SAME", its norm and a ReLU.

    Attributes:
      outs: its channels.
      kernel: rows of its windows.
      kernel_width: columns of them, where they are not as many.
      stride: between them.
    """

    outs: int
    kernel: int = 3
    kernel_width: int | None = None
    stride: int = 1

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """Activations."""
        more = {"kernel_width": self.kernel_width, "bias": True, "padding": "same", "norm": "norm"}
        return conv_norm(b, x, "conv", self.outs, self.kernel, self.stride, activation="relu", **more)


@dataclass(frozen=True, kw_only=True)
class Separable:
    """A depthwise convolution of 3x3 and a pointwise one, each with bias, norm and ReLU.

    Attributes:
      outs: its channels.
      stride: of the depthwise convolution, which at stride 2 is a convolution in as many groups as channels: "SAME"
        then pads only below and on the right.
    """

    outs: int
    stride: int = 1

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """Activations."""
        channels = x.width.largest
        if self.stride == 1:
            x = b.depthwise(x, "depthwise", 3, bias=True)
        else:
            x = b.conv(x, "depthwise", channels, 3, self.stride, groups=channels, bias=True, padding="same")
        x = b.act(b.norm(x, "depthwise_norm"), "relu")
        return conv_norm(b, x, "pointwise", self.outs, activation="relu", bias=True)


@dataclass(frozen=True, kw_only=True)
class SameBasicBlock:
    """A residual block of two convolutions; where it halves the image, the shortcut is a convolution without norm.

    Attributes:
      outs: its channels.
      stride: of its first convolution.
    """

    outs: int
    stride: int = 1

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """The block's output."""

        def conv(x: Tensor, name: str, stride: int = 1, activation: Nonlinearity | None = None) -> Tensor:
            return conv_norm(b, x, name, self.outs, 3, stride, activation=activation, bias=True, padding="same")

        h = conv(conv(x, "conv1", self.stride, "relu"), "conv2")
        if self.stride > 1:
            x = b.conv(x, "shortcut", self.outs, 1, self.stride, bias=True, padding="same")
        return b.act(b.add(x, h), "relu")


@dataclass(frozen=True, kw_only=True)
class Perceptron:
    """Linear layers with biases, norms and ReLUs, and a last one that is plain; of an image of one position.

    Attributes:
      hidden: channels of each layer but the last.
      outs: of the last.
    """

    hidden: tuple[int, ...]
    outs: int

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        """As many numbers as `outs`."""
        x = b.flatten(x, 1)
        for i, width in enumerate(self.hidden, 1):
            x = b.act(b.norm(b.dense(x, f"dense{i}", width), f"dense{i}_norm"), "relu")
        return b.dense(x, "answer", self.outs)


def ds_cnn(classes: int = 12) -> Point:
    """Keyword spotting: ten coefficients of each of 49 moments of a second of sound."""
    stem = SameConv(outs=64, kernel=10, kernel_width=4, stride=2)
    blocks = [Separable(outs=64)] * 4
    places = [Place(recipe=recipe) for recipe in (stem, *blocks, Classifier(classes=classes))]
    return Point(space=Fixed(places=tuple(places), image=(49, 10, 1)), source=f"{SOURCE} of keyword_spotting")


def mobilenet(image_size: int = 96, classes: int = 2) -> Point:
    """Visual wake words (is a person there?): MobileNetV1 of a quarter's width (arXiv:1704.04861)."""
    places = tuple(_mobilenet_places(classes))
    return Point(space=Fixed(places=places, image=(image_size, image_size, 3)), source=f"{SOURCE} of visual_wake_words")


def _mobilenet_places(classes: int) -> Iterator[Place]:
    yield Place(recipe=SameConv(outs=8, stride=2))
    for outs, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)):
        yield Place(recipe=Separable(outs=outs, stride=stride))
    yield Place(recipe=Classifier(classes=classes))


def resnet_8(image_size: int = 32, classes: int = 10) -> Point:
    """Image classification (CIFAR-10)."""
    blocks = (SameBasicBlock(outs=16), SameBasicBlock(outs=32, stride=2), SameBasicBlock(outs=64, stride=2))
    recipes = (SameConv(outs=16), *blocks, Classifier(classes=classes))
    places = tuple(Place(recipe=recipe) for recipe in recipes)
    return Point(
        space=Fixed(places=places, image=(image_size, image_size, 3)), source=f"{SOURCE} of image_classification"
    )


def autoencoder() -> Point:
    """Anomaly detection (ToyADMOS): answers the 640 numbers that it got, five frames of 128 mel bands."""
    wide = (128,) * 4
    places = (Place(recipe=Perceptron(hidden=(*wide, 8, *wide), outs=640)),)
    return Point(space=Fixed(places=places, image=(1, 1, 640)), source=f"{SOURCE} of anomaly_detection")


NETWORKS: dict[str, Callable[[], Point]] = {
    "ds_cnn": ds_cnn,
    "mobilenet_v1_0.25_vww": mobilenet,
    "resnet_8": resnet_8,
    "autoencoder": autoencoder,
}

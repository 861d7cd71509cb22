"""Multiply-accumulates that meet the image: convolutions without the taps that fall on padding.

`layers.macs` counts every tap, as the published tables do; XLA's cost analysis counts what is left here.
"""

from collections.abc import Sequence

from search_spaces.layers import Conv, Depthwise, Layer, Shape, macs, padding_of


def macs_on_image(layer: Layer, before: Shape) -> int:
    """Multiply-accumulates of a layer for one image; of convolutions, only those whose tap lies on the image.

    Without padding it is `macs(layer)`, and for layers that are no convolutions too.

    Args:
      layer: the layer.
      before: the output shape of the layer that feeds it: several sizes lead to one output.
    """
    if not isinstance(layer, Conv | Depthwise):
        return macs(layer)
    above, _, left, _ = padding_of(layer)
    columns = layer.kernel_width or layer.kernel if isinstance(layer, Conv) else layer.kernel
    met = 1
    for side, out, kernel, pad in ((0, 0, layer.kernel, above), (1, 1, columns, left)):
        starts = range(-pad, layer.stride * layer.shape[out] - pad, layer.stride)
        met *= sum(0 <= start + layer.dilation * tap < before[side] for start in starts for tap in range(kernel))
    return met * layer.shape[2] * (layer.in_channels // layer.groups if isinstance(layer, Conv) else 1)


def total_macs_on_image(layers: Sequence[Layer]) -> int:
    """Multiply-accumulates that meet the image, of a whole network."""
    return sum(macs_on_image(layer, layers[layer.inputs[0]].shape) for layer in layers if layer.inputs)

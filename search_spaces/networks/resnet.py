"""ResNets as PyTorch's model zoo has them, and the largest and smallest of Once-for-All's elastic ResNet50-D.

Deep Residual Learning for Image Recognition (arXiv:1512.03385). Differs, as torchvision does: a bottleneck's stride is
that of its 3x3 convolution.
"""

from collections.abc import Callable, Iterator
from functools import partial

from search_spaces.assembly import Fixed, Place
from search_spaces.blocks.residual import BasicBlock, Bottleneck, PooledStem, Shortcut
from search_spaces.blocks.stretches import Classifier
from search_spaces.networks.point import Point
from search_spaces.resnet import ResNet50D
from search_spaces.space import largest, smallest

BLOCKS = {  # of each stage
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
WIDTHS = (64, 128, 256, 512)
EXPANSION = 4  # a bottleneck's output has so many times its hidden channels


def resnet(depth: int, image_size: int = 224, classes: int = 1000) -> Point:
    """The ResNet of so many layers: 18, 34, 50, 101 or 152."""
    places = tuple(_places(depth, classes))
    source = "arXiv:1512.03385; torchvision, whose bottlenecks have their stride in the 3x3 convolution"
    row = f"ResNet-{depth}" if depth in (18, 50) else None
    return Point(space=Fixed(places=places, image=(image_size, image_size, 3)), source=source, row=row)


def _places(depth: int, classes: int) -> Iterator[Place]:
    bottlenecks = depth >= 50
    yield Place(recipe=PooledStem(outs=64))
    for stage, (width, blocks) in enumerate(zip(WIDTHS, BLOCKS[depth], strict=True)):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            changes = block == 0 and (stage > 0 or bottlenecks)
            shortcut: Shortcut = "conv" if changes else "identity"
            if bottlenecks:
                outs = EXPANSION * width
                recipe = Bottleneck(outs=outs, expansions=(1 / EXPANSION,), stride=stride, shortcut=shortcut)
            else:
                recipe = BasicBlock(outs=width, stride=stride, shortcut=shortcut)
            yield Place(recipe=recipe)
    yield Place(recipe=Classifier(classes=classes))


def ofa_resnet50d(extreme: str, image_size: int = 224, classes: int = 1000) -> Point:
    """The `max` or `min` network of the elastic space at one resolution."""
    space = ResNet50D(resolutions=(), image_size=image_size, classes=classes)
    arch = (largest if extreme == "max" else smallest)(space)
    return Point(space=space, arch=tuple(arch.tolist()), source="arXiv:1908.09791; PyPI ofa, OFAResNets")


NETWORKS: dict[str, Callable[[], Point]] = {
    **{f"resnet_{depth}": partial(resnet, depth) for depth in BLOCKS},
    **{f"ofa_resnet50d_{extreme}": partial(ofa_resnet50d, extreme) for extreme in ("max", "min")},
}

"""A box is the part of a parameter that a block needs, and a block of boxes is the block."""

import jax
import numpy as np
import pytest
from flax import nnx

from search_spaces import EXAMPLES
from search_spaces.boxes import Box, around, boxes, whole
from search_spaces.building import Block
from search_spaces.derived.sampling import sample
from search_spaces.nas_bench_201 import Edge
from search_spaces.reading import Cut
from search_spaces.space import largest
from search_spaces.widths import Width


def test_the_smallest_box_has_every_marked_entry_and_no_row_too_many():
    marked = np.zeros((4, 5), bool)
    marked[1, 2] = marked[2, 1] = True
    assert around(marked) == Box((1, 1), (2, 2), False)
    assert around(np.ones((4, 5), bool)) == whole((4, 5)) == Box((0, 0), (4, 5), True)
    nothing = around(np.zeros((4, 5), bool))
    assert nothing.is_empty
    assert nothing.of(marked).shape == (0, 0)


def test_what_is_taken_out_goes_back_where_it_was():
    array, box = np.arange(20.0).reshape(4, 5), Box((1, 2), (2, 3), False)
    part = box.of(array)
    np.testing.assert_array_equal(part, [[7, 8, 9], [12, 13, 14]])
    written = np.asarray(box.written(array, -part))
    np.testing.assert_array_equal(written[1:3, 2:], -part)
    np.testing.assert_array_equal(
        np.delete(written.ravel(), [7, 8, 9, 12, 13, 14]), np.delete(np.arange(20.0), [7, 8, 9, 12, 13, 14])
    )
    padded = np.asarray(box.padded(part, (4, 5)))
    np.testing.assert_array_equal(padded, np.where(np.isin(array, part), array, 0))


def ofa(kernel):
    """The boxes of the first elastic block with this kernel (an index into 3, 5, 7), and the block."""
    space = EXAMPLES[1]
    network = nnx.eval_shape(lambda: space.supernet(jax.random.key(0)))
    position = next(i for i, slot in enumerate(network.slots) if any(own == "kernel" for own, _ in slot.choices))
    names, block = network.slots[position].choices, network.blocks[position]
    read = Cut(tuple((own, kernel if own == "kernel" else 0) for own, _ in names))
    places = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(block)]
    return dict(zip(places, boxes(block, read), strict=True))


@pytest.mark.parametrize(("kernel", "start", "taps", "matrices"), [(0, 1, 5, [5, 3]), (1, 1, 5, [5]), (2, 0, 7, [])])
def test_a_kernel_needs_its_centre_and_the_matrices_on_the_way_to_it(kernel, start, taps, matrices):
    # Once-for-All: the 5x5 kernel is the centre of the 7x7 times a 25x25 matrix, the 3x3 that one's centre times a 9x9
    found = ofa(kernel)
    (weight,) = (box for place, box in found.items() if "depthwise.weight" in place)
    assert weight.start[:2] == (start, start)
    assert weight.size[:2] == (taps, taps)
    sizes = [box.size for place, box in found.items() if "transforms" in place]
    assert len(sizes) == 2
    assert sorted(size for size in sizes if size[0]) == sorted((k * k, k * k) for k in matrices)


def test_operations_that_are_not_chosen_need_nothing():
    draw = lambda *shape: jax.numpy.ones(shape)  # noqa: E731
    block = nnx.eval_shape(lambda: Block.init(draw, Edge(), (Width(4),)))
    empty = [box.is_empty for box in boxes(block, Cut((("op", 4),)))]
    assert empty == [True] * 3 + [False] * 3  # the 1x1 convolution and its norm; the 3x3 and its
    assert all(box.is_empty for box in boxes(block, Cut((("op", 1),))))


class Halved(nnx.Module):
    """Uses the first half of whatever it is given."""

    def __init__(self, weight):
        self.weight = nnx.Param(weight)

    def cut(self, read):
        return Halved(self.weight[...][: self.weight.shape[0] // 2])


def test_a_block_that_goes_by_the_shapes_of_its_parameters_needs_them_whole():
    assert boxes(Halved(np.ones((8, 3))), Cut(())) == (whole((8, 3)),)


@pytest.mark.parametrize("space", EXAMPLES, ids=lambda space: type(space).__name__)
def test_a_block_of_boxes_answers_as_the_block(space):
    """And the smaller the architecture, the less it needs."""
    rng = np.random.default_rng(0)
    network = nnx.eval_shape(lambda: space.supernet(jax.random.key(0)))
    network = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), network)
    entries = []
    for arch in [*np.asarray(sample(jax.random.key(0), space, 2)), largest(space)]:
        read, needed = Cut.of(space.choices, arch), 0
        for slot, block in zip(network.slots, network.blocks, strict=True):
            own = read.bound(slot.choices)
            if not slot.is_there(read):
                continue
            leaves, structure = jax.tree.flatten(block)
            found = boxes(block, own)
            small = jax.tree.unflatten(structure, [box.of(leaf) for box, leaf in zip(found, leaves, strict=True)])
            for a, b in zip(jax.tree.leaves(small.cut(own)), jax.tree.leaves(block.cut(own)), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5)
            needed += sum(int(np.prod(box.size)) for box in found)
        entries.append(needed)
    assert max(entries[:2]) < sum(leaf.size for leaf in jax.tree.leaves(network))

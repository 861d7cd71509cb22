"""What changes shapes is known before a network runs; what doesn't fit is refused in one line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search_spaces.mobile import Mobile, Stage
from search_spaces.ofa_mobilenet import OfaMobileNet, OfaStage
from search_spaces.reading import masked
from search_spaces.space import largest, smallest
from search_spaces.static import check_images, fixed_of, grouped, image_shape, input_size, resize

TWO = OfaMobileNet(image_size=64, resolutions=(32, 64), classes=4, stages=(OfaStage(width=16),))
ONE = Mobile(image_size=12, image_channels=1, stages=(Stage(widths=(8, 16)),))


def test_the_resolution_is_known_and_populations_are_grouped_by_it():
    assert fixed_of(TWO, smallest(TWO)) == (("resolution", 0),)
    assert fixed_of(ONE, smallest(ONE)) == ()
    assert grouped(TWO, np.stack([largest(TWO), smallest(TWO), largest(TWO)])) == [
        ((("resolution", 1),), [0, 2]),
        ((("resolution", 0),), [1]),
    ]
    assert [input_size(TWO, (("resolution", i),)) for i in (0, 1)] == [32, 64]
    assert input_size(ONE, ()) is None
    assert image_shape(TWO, (("resolution", 0),)) == (32, 32, 3)
    assert image_shape(ONE, ()) == (12, 12, 1)


def test_images_are_halved_by_the_mean_of_what_they_show():
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), jnp.float32)
    assert resize(images, 8) is images
    assert resize(images, None) is images
    # Bilinear and smoothed: away from the edge each pixel weighs 1, 3, 3, 1 over 8 neighbours in each direction.
    weight = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    np.testing.assert_allclose(
        resize(images, 4)[:, 1, 1], np.einsum("bijc,ij->bc", images[:, 1:5, 1:5], weight), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(4, 12, 12, 3), (4, 17, 12, 1), (12, 12, 1), (4, 12, 20, 1)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"must have shape \(batch, 12, 12, 1\) .* got \(") as refused:
        check_images(ONE, (), np.zeros(shape))
    assert "\n" not in str(refused.value)
    check_images(ONE, (), np.zeros((4, 12, 12, 1)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row[:-1], "genes, got shape"),
        (lambda row: np.append(row, 0), "genes, got shape"),
        (lambda row: row - 1, "index must be 0 to 1; got -1"),
        (lambda row: row + 9, "index must be 0 to 1; got 9"),
    ],
)
def test_an_architecture_outside_the_space_cannot_be_read(change, message):
    with pytest.raises(ValueError, match=message):
        masked(ONE, change(smallest(ONE)))


def test_a_traced_architecture_has_as_many_genes_as_the_space():
    with pytest.raises(ValueError, match="genes, got shape"):
        jax.eval_shape(lambda arch: masked(ONE, arch).rows, jnp.zeros(3, jnp.int32))


def test_a_static_choice_needs_a_known_index():
    read = masked(TWO, jnp.asarray(smallest(TWO)), ())
    with pytest.raises(ValueError, match="its index must be known"):
        read.fixed("resolution")

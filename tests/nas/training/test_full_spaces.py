"""The published spaces, all their choices in them, take an optimisation step: masked and sliced, with the same loss."""

import jax
import numpy as np
import pytest

from nas.data.dataset import Dataset, Split
from nas.training import Trainer, Training
from search_spaces.ofa_mobilenet import OfaMobileNet
from search_spaces.space import largest, size, smallest
from search_spaces.vision_transformer import VisionTransformer

pytestmark = pytest.mark.slow

SIDE = 64  # px: Once-for-All's network halves it five times, AutoFormer's sees 4 x 4 patches of 16 px

FULL = {
    # ((9^2 + 9^3 + 9^4)^5), the resolution apart (arXiv:1908.09791)
    "OFA-MobileNetV3": (OfaMobileNet(image_size=SIDE, classes=10, resolutions=()), (9**2 + 9**3 + 9**4) ** 5),
    # widths 3; of 12, 13 or 14 layers each 2 numbers of heads and 2 ratios (arXiv:2107.00651)
    "AutoFormer-tiny": (VisionTransformer(image_size=SIDE, classes=10), 3 * (4**12 + 4**13 + 4**14)),
}


@pytest.fixture(scope="module")
def noise():
    rng = np.random.default_rng(0)

    def split(n):
        images = rng.integers(0, 256, (n, SIDE, SIDE, 3)).astype(np.uint8)
        return Split(images=images, labels=rng.integers(0, 10, n).astype(np.int32))

    return Dataset(
        name="noise",
        class_names=tuple("0123456789"),
        train=split(4),
        val=split(4),
        test=split(4),
        mean=(0.5,) * 3,
        std=(0.3,) * 3,
        native_size=SIDE,
        native_max=255,
        resample="none",
        fingerprint="",
    )


@pytest.mark.parametrize("name", FULL)
def test_a_step_of_the_full_space(name, noise):
    space, networks = FULL[name]
    assert size(space) == networks
    arch = np.where(np.arange(len(space.choices)) % 2, largest(space), smallest(space)).astype(np.int32)
    losses, moved = [], []
    for execution in ("masked", "sliced"):
        trainer = Trainer(space, Training(epochs=1, batch=4, shift=0, execution=execution), noise)
        state = trainer.init(jax.random.key(0))
        before = jax.tree.map(np.array, state.params)
        state, loss = trainer.step(state, jax.random.key(1), arch, noise.train.images[:4], noise.train.labels[:4], 1e-3)
        losses.append(float(loss))
        pairs = zip(jax.tree.leaves(state.params), jax.tree.leaves(before), strict=True)
        moved.append([np.asarray(a) != b for a, b in pairs])
        assert int(state.step) == 1
    assert np.isfinite(losses).all()
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert [each.any() for each in moved[0]] == [each.any() for each in moved[1]]
    shares = [sum(each.sum() for each in way) / sum(each.size for each in way) for way in moved]
    assert all(0.1 < share < 0.9 for share in shares), shares  # what the architecture has none of stays as it was

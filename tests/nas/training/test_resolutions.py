"""A space whose choices change shapes: each resolution compiled once, rows of several resolutions in one step."""

import jax
import numpy as np
import pytest

from nas.data.digits import Digits
from nas.training import Trainer, Training, fine_tune, train
from nas.training.rules import Sandwich, SinglePath
from search_spaces.ofa_mobilenet import OfaMobileNet, OfaStage
from search_spaces.space import largest

SPACE = OfaMobileNet(
    image_channels=1,
    classes=10,
    resolutions=(14, 16),
    stem_channels=8,
    first_channels=8,
    stages=(OfaStage(width=16, squeeze_excite=True, activation="hard_swish"),),
    depths=(1, 2),
    expansions=(2, 3),
    head_channels=24,
    mix_channels=32,
)


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["masked", "sliced"])
@pytest.mark.parametrize("rule", [SinglePath(), Sandwich(random=1)], ids=["single path", "sandwich"])
def test_each_resolution_is_compiled_once(rule, execution):
    data = Digits(image_size=16, limit=80).load()
    settings = Training(epochs=3, batch=20, learning_rate=1e-2, shift=1, rule=rule, execution=execution)
    trainer = Trainer(SPACE, settings, data)
    archs, _ = trainer.draw(jax.random.key(0), jax.random.key(0), 0, 12)
    at = [choice.name for choice in SPACE.choices].index("resolution")
    assert set(archs[..., at].ravel().tolist()) == {0, 1}
    losses = []
    state = train(
        trainer,
        trainer.init(jax.random.key(0)),
        jax.random.key(1),
        after_epoch=lambda epoch, loss, state: losses.append(loss),
    )
    assert np.isfinite(losses).all()
    # The sandwich's first row learns labels and the others learn from it: two programs a resolution
    programs = 2 if rule == SinglePath() else 4
    assert trainer.traces <= (programs if execution == "masked" else 0)
    tuned = fine_tune(trainer, trainer.weights(state), jax.random.key(2), largest(SPACE), 1, 1e-3)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tuned))

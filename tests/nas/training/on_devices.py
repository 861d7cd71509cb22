"""A program for the tests: trains some steps on a mesh, and writes losses and parameters.

python on_devices.py <output.npz> '<settings as JSON>' [<coordinator> <processes> <process>]
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax

sys.path.insert(0, str(Path(__file__).parents[3]))

import numpy as np

from nas.data.digits import Digits
from nas.training import Distributed, Trainer, Training
from nas.training.feed import Feed
from nas.training.rules import Sandwich, SinglePath
from search_spaces.mobile import Mobile, Stage

STEPS = 4
RULES = {"single": SinglePath(), "sandwich": Sandwich(random=1)}


def compared(trainer: Trainer, params: Any, archs: Any, key: Any, batch: Any) -> dict[str, np.ndarray]:
    """The loss and gradient of a step with architectures of each device's own, and their mean one by one."""
    lesson = jax.jit(trainer._lesson)(key, *batch, None)
    together = jax.jit(trainer._on_each_device)(params, archs, lesson)
    one = jax.jit(lambda arch, part: trainer.masked.row(params, arch, part, None, 0.0, ()))
    share = len(lesson.images) // len(archs)
    rows = [
        one(arch[0], jax.tree.map(lambda x, i=i: np.asarray(x)[share * i : share * (i + 1)], lesson))
        for i, arch in enumerate(archs)
    ]
    mean = jax.tree.map(lambda *x: np.mean(x, 0), *[(row.loss, row.gradients) for row in rows])
    trees = {"together": together, "one_by_one": mean}
    return {f"{name}{i}": np.asarray(x) for name, tree in trees.items() for i, x in enumerate(jax.tree.leaves(tree))}


def main() -> None:
    """Trains."""
    settings = json.loads(sys.argv[2])
    if sys.argv[3:]:
        coordinator, processes, process = sys.argv[3:]
        Distributed(coordinator=coordinator, processes=int(processes), process=int(process)).start()
    jax.config.update("jax_disable_most_optimizations", True)
    space = Mobile(
        image_size=8,
        stages=(Stage(widths=(8, 16), depths=(1, 2)),),
        kernels=(3,),
        expansions=(1, 2),
        head_channels=16,
    )
    rule = RULES[settings.pop("rule", "single")]
    trainer = Trainer(
        space, Training(epochs=1, batch=48, shift=1, rule=rule, **settings), Digits(image_size=8, limit=200).load()
    )
    state = trainer.init(jax.random.key(0))
    feed = Feed(jax.random.key(1), trainer.data.train, 48, trainer.part)
    archs, keys = trainer.draw(jax.random.key(2), jax.random.key(3), 0, STEPS)
    found = compared(trainer, state.params, archs[0], keys[0], feed(0)) if trainer.settings.per_device else {}
    losses = []
    for i, (images, labels) in enumerate(feed.steps(0, STEPS)):
        state, loss = trainer.step(state, keys[i], archs[i], images, labels, 1e-3)
        losses.append(float(loss))
    leaves = {str(i): np.asarray(x) for i, x in enumerate(jax.tree.leaves(trainer.weights(state)))}
    np.savez(sys.argv[1], losses=losses, archs=archs, devices=jax.device_count(), rows=len(images), **leaves, **found)
    print(trainer.traces)


main()

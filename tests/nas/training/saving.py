"""A program for the tests: trains with a checkpoint after every step, from the last one, and writes the end.

python saving.py <folder of checkpoints> <output.npz> <folder of compiled programs>
"""

import sys
from pathlib import Path

import jax

sys.path.insert(0, str(Path(__file__).parents[3]))

import numpy as np

from nas.checkpoint import Checkpoints
from nas.data.digits import Digits
from nas.training import Trainer, Training, TrainState, train
from nas.training.rules import Sandwich
from search_spaces.mobile import Mobile, Stage

SPACE = Mobile(
    image_size=8,
    stages=(Stage(widths=(8, 16), depths=(1, 2)),),
    kernels=(3,),
    expansions=(1, 2),
    head_channels=16,
)
SETTINGS = Training(
    epochs=2, batch=20, shift=1, mixup=0.2, ema=0.9, rule=Sandwich(random=1), checkpoint_steps=1, optimizer="sgd"
)


def main() -> None:
    """Trains."""
    jax.config.update("jax_disable_most_optimizations", True)
    jax.config.update("jax_compilation_cache_dir", sys.argv[3])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    trainer = Trainer(SPACE, SETTINGS, Digits(image_size=8, limit=200).load())
    state = trainer.init(jax.random.key(0))
    losses: list[float] = []
    with Checkpoints(Path(sys.argv[1])) as checkpoints:
        if checkpoints.latest():
            state = checkpoints.restore(state)
            print(f"goes on from {int(state.step)}", flush=True)

        def after_epoch(epoch: int, loss: float, state: TrainState) -> None:
            losses.append(loss)
            checkpoints.save(state)

        end = train(
            trainer,
            state,
            jax.random.key(1),
            after_epoch=after_epoch,
            after_steps=checkpoints.save,
        )
    np.savez(sys.argv[2], *map(np.asarray, jax.tree.leaves(end)), loss=losses[-1])


main()

"""Step: the trained supernet, new, from this run's last checkpoint, or from another run."""

from pathlib import Path
from typing import Any

from experiments.files import read_json, write_json
from experiments.parts import Run
from nas.checkpoint import Checkpoints
from nas.training import NotFiniteError, TrainState, train


def train_supernet(run: Run) -> tuple[Any, list[float]]:
    """The trained parameters, and the mean loss of each epoch.

    Raises:
      ValueError: when `supernet.from` names a run whose supernet is not finished or not of this space.
      FloatingPointError: when a step's loss is not finite; names the step, what it trained and the last checkpoint.
    """
    trainer, settings, console = run.parts.trainer, run.parts.trainer.settings, run.console
    source = run.settings["supernet"]["from"]
    home = Path(source) if source else run.folder
    path = home / "losses.json"
    state = trainer.init(run.keys["init"])
    if source and not (home / "checkpoints").is_dir():
        raise ValueError(f"`{source}` holds no trained supernet; finish it with resume={source}")
    with Checkpoints(home / "checkpoints", create=not source) as checkpoints:
        steps = checkpoints.latest() or 0
        done = steps // trainer.per_epoch
        if source and steps < trainer.steps:
            raise ValueError(
                f"the supernet of `{source}` has {done} of {settings.epochs} epochs; finish it with resume={source}"
            )
        losses: list[float] = read_json(path)[:done] if done else []
        if steps:
            state = trainer.place(checkpoints.restore(state))
            inside = f" and {steps % trainer.per_epoch} steps" if steps % trainer.per_epoch else ""
            console.say(f"trained to epoch {done}{inside} of {settings.epochs}, from {home / 'checkpoints'}")
        if done == settings.epochs:
            return trainer.weights(state), losses
        with console.bar(settings.epochs, "training", "epoch") as bar:
            bar.update(done)

            def keep(state: TrainState) -> None:
                write_json(path, losses)  # first: what stands there beyond the checkpoint is left out on resuming
                checkpoints.save(state)

            def after_epoch(epoch: int, loss: float, state: TrainState) -> None:
                losses.append(loss)
                bar.set_postfix(loss=f"{loss:.3f}")
                bar.update()
                run.tracking.log({"supernet/epoch": epoch, "supernet/loss": loss})
                if epoch % settings.checkpoint_every == 0 or epoch == settings.epochs:
                    keep(state)

            try:
                state = train(trainer, state, run.keys["train"], after_epoch=after_epoch, after_steps=keep)
            except NotFiniteError as error:
                good = checkpoints.latest()
                last = (
                    f"the last good checkpoint is `{checkpoints.path(good)}`" if good else "there is no checkpoint yet"
                )
                raise FloatingPointError(f"{error}; {last}") from error
    console.say(
        f"{settings.epochs} epochs, {trainer.steps} steps of {trainer.rows} random architecture(s) each; the step was"
        f" traced {trainer.traces} time(s); loss {losses[0]:.3f} -> {losses[-1]:.3f}"
    )
    return trainer.weights(state), losses

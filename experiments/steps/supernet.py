"""Step: the trained supernet, new, from this run's last checkpoint, or from another run."""

from pathlib import Path
from typing import Any

from experiments.files import read_json, write_json
from experiments.parts import Run
from nas.checkpoint import Checkpoints
from nas.training import TrainState, train


def train_supernet(run: Run) -> tuple[Any, list[float]]:
    """The trained parameters, and the mean loss of each epoch.

    Raises:
      ValueError: when `supernet.from` names a run whose supernet is not finished or not of this space.
    """
    trainer, settings, console = run.parts.trainer, run.parts.trainer.settings, run.console
    source = run.settings["supernet"]["from"]
    home = Path(source) if source else run.folder
    path = home / "losses.json"
    state = trainer.init(run.keys["init"])
    if source and not (home / "checkpoints").is_dir():
        raise ValueError(f"`{source}` holds no trained supernet; finish it with resume={source}")
    with Checkpoints(home / "checkpoints", create=not source) as checkpoints:
        done = checkpoints.latest() or 0
        if source and done < settings.epochs:
            raise ValueError(
                f"the supernet of `{source}` has {done} of {settings.epochs} epochs; finish it with resume={source}"
            )
        losses: list[float] = read_json(path)[:done] if done else []
        if done:
            state = checkpoints.restore(state)
            console.say(f"trained to epoch {done} of {settings.epochs}, from {home / 'checkpoints'}")
        if done == settings.epochs:
            return state.params, losses
        with console.bar(settings.epochs, "training", "epoch") as bar:
            bar.update(done)

            def after_epoch(epoch: int, loss: float, state: TrainState) -> None:
                losses.append(loss)
                bar.set_postfix(loss=f"{loss:.3f}")
                bar.update()
                run.tracking.log({"supernet/epoch": epoch, "supernet/loss": loss})
                if epoch % settings.checkpoint_every == 0 or epoch == settings.epochs:
                    write_json(path, losses)
                    checkpoints.save(epoch, state)

            state = train(trainer, state, run.keys["train"], after_epoch=after_epoch)
    console.say(
        f"{settings.epochs} epochs, {trainer.steps} steps, a random architecture each; the step was traced"
        f" {trainer.traces} time(s); loss {losses[0]:.3f} -> {losses[-1]:.3f}"
    )
    return state.params, losses

"""Step: the trained supernet, new, from this run's last checkpoint, or from another run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from experiments.files import read_json, write_json
from experiments.parts import Parts, Run
from nas.checkpoint import Checkpoints
from nas.training import NotFiniteError, Trainer, TrainState, train
from nas.training.bands import bands
from nas.training.devices import agreed
from nas.training.engines import SlicedEngine
from nas.training.execution import settle

EXECUTION = "execution.json"
"""How the run's steps are run, and on what grounds; kept when it goes on, since the two ways round differently."""

BANDS = "bands.json"
"""How small, sampled and large networks did as training went."""


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
    if (home / EXECUTION).exists():  # fine-tuning runs as training did
        trainer.execution = read_json(home / EXECUTION)["execution"]
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
            state = checkpoints.restore(state)
            inside = f" and {steps % trainer.per_epoch} steps" if steps % trainer.per_epoch else ""
            converted = done and not losses  # it has its weights from elsewhere
            trained = "converted weights" if converted else f"trained to epoch {done}{inside} of {settings.epochs}"
            console.say(f"{trained}, from {home / 'checkpoints'}")
        state = trainer.place(state if source else agreed(state))
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
                numbers = {"supernet/epoch": epoch, "supernet/loss": loss}
                if settings.bands_every and (epoch % settings.bands_every == 0 or epoch == settings.epochs):
                    numbers |= banded(run, epoch, state)
                run.tracking.log(numbers)
                if epoch % settings.checkpoint_every == 0 or epoch == settings.epochs:
                    keep(state)

            decision = settled(run, home, state)
            trainer.execution = decision["execution"]
            try:
                state = train(trainer, state, run.keys["train"], after_epoch=after_epoch, after_steps=keep)
            except NotFiniteError as error:
                good = checkpoints.latest()
                last = (
                    f"the last good checkpoint is `{checkpoints.path(good)}`" if good else "there is no checkpoint yet"
                )
                raise FloatingPointError(f"{error}; {last}") from error
    console.say(f"{told(trainer)}; loss {losses[0]:.3f} -> {losses[-1]:.3f}")
    return trainer.weights(state), losses


def told(trainer: Trainer) -> str:
    """A training that has ended, in words: how long, what a step trained, and what was compiled."""
    settings, engine = trainer.settings, trainer.engines["sliced"]
    each = "1 architecture" if trainer.rows == 1 else f"{trainer.rows} architectures"
    compiled = f"the step was traced {trainer.traces} time(s)"
    if trainer.execution == "sliced":
        assert isinstance(engine, SlicedEngine)
        compiled = f"{engine.sliced.compiles['gradient']} blocks were compiled"
    rule = type(settings.rule).__name__
    return f"{settings.epochs} epochs, {trainer.steps} steps of {each} each ({rule}); {compiled}"


def follow(parts: Parts, keys: Mapping[str, jax.Array]) -> None:
    """What every process but the first does: its share of each step. The first one keeps and says it all."""
    trainer = parts.trainer
    state = trainer.place(agreed(trainer.init(keys["init"])))
    train(trainer, state, keys["train"], after_epoch=lambda epoch, loss, state: None)


def settled(run: Run, home: Path, state: TrainState) -> dict[str, Any]:
    """How the steps are run: as this run settled it before, or as it is settled now."""
    path = home / EXECUTION
    if not path.exists():
        decision = settle(run.parts.trainer, state, jax.random.fold_in(run.keys["train"], 1))
        write_json(path, decision.to_dict())
        if run.parts.trainer.settings.execution == "auto":
            run.console.say(f"{decision.execution} execution: {decision.reason}")
    return read_json(path)


def banded(run: Run, epoch: int, state: TrainState) -> dict[str, float]:
    """How the bands do after an epoch: said, kept in the run's folder, and handed back to be tracked."""
    trainer, path = run.parts.trainer, run.folder / BANDS
    network = trainer.network(trainer.weights(state))
    found = bands(run.parts.judge, network, run.parts.space, run.keys["sample"])
    before = [row for row in (read_json(path) if path.exists() else []) if row["epoch"] < epoch]
    write_json(path, [*before, {"epoch": epoch, **found}])
    errors = ", ".join(f"{band} {found[f'{band}/val_error']:.3f}" for band in ("smallest", "sampled", "largest"))
    run.console.say(f"epoch {epoch}: validation error {errors}")
    return {f"supernet/{name}": value for name, value in found.items()}

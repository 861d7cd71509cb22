"""Saves and restores training with Orbax: the last two checkpoints, each written aside and then renamed."""

from pathlib import Path

import jax
import orbax.checkpoint as ocp

from nas.training import TrainState


class Checkpoints:
    """The checkpoints of one training, numbered by epochs done; use in a `with`."""

    def __init__(self, folder: Path, *, create: bool = True):
        """Opens the folder; makes it if need be, unless `create` is False."""
        self.folder = folder.absolute()
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False, create=create)
        self.manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *error: object) -> None:
        self.manager.close()

    def latest(self) -> int | None:
        """Epochs done at the newest checkpoint; None where there is none. Half-written ones don't count."""
        return self.manager.latest_step()

    def save(self, epoch: int, state: TrainState) -> None:
        """Returns when the checkpoint is complete on disk."""
        self.manager.save(epoch, args=ocp.args.StandardSave(state._asdict()))

    def restore(self, like: TrainState) -> TrainState:
        """The newest checkpoint.

        Args:
          like: a state of the same space and optimizer, for its structure and shapes.

        Raises:
          ValueError: when there is none, or it is damaged or of another space or optimizer.
        """
        epoch = self.latest()
        if epoch is None:
            raise ValueError(f"no checkpoint in `{self.folder}`; name a run whose supernet was trained")
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, like._asdict())
        try:
            restored = self.manager.restore(epoch, args=ocp.args.StandardRestore(shapes))
        except Exception as error:  # Orbax and tensorstore raise many kinds for damaged or foreign files
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ValueError(
                f"checkpoint `{self.folder / str(epoch)}` is damaged or of another space or training ({reason[:200]});"
                f" remove it to go on from the one before"
            ) from error
        return TrainState(**restored)

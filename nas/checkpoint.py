"""Saves and restores training with Orbax: the last two checkpoints, each written aside and then renamed."""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from nas.training.state import TrainState

NEEDED = ("default", "default/_METADATA", "default/manifest.ocdbt")
"""What Orbax writes and cannot do without; where one is gone, its own words don't say so."""


class Checkpoints:
    """The checkpoints of one training, numbered by steps done; use in a `with`.

    They hold everything as plain arrays, whatever devices it lay on: a training may go on with another mesh. Where
    several processes train together, the first one alone keeps them.
    """

    def __init__(self, folder: Path, *, create: bool = True):
        """Opens the folder; makes it if need be, unless `create` is False."""
        self.folder = folder.absolute()
        alone = {}
        if jax.process_count() > 1:  # Orbax would wait for the other processes, which don't come here
            here = jax.process_index()
            alone["multiprocessing_options"] = ocp.options.MultiprocessingOptions(
                primary_host=here, active_processes={here}, barrier_sync_key_prefix=f"process_{here}"
            )
            if create:
                self.folder.mkdir(parents=True, exist_ok=True)
                create = False  # Orbax's own making of it would wait too
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False, create=create, **alone)
        self.manager = ocp.CheckpointManager(
            self.folder, options=options, item_handlers=ocp.StandardCheckpointHandler()
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *error: object) -> None:
        self.manager.close()

    def latest(self) -> int | None:
        """Steps done at the newest checkpoint; None where there is none. Half-written ones don't count."""
        return self.manager.latest_step()

    def path(self, step: int) -> Path:
        """Where the checkpoint after so many steps lies."""
        return self.folder / str(step)

    def save(self, state: TrainState) -> None:
        """Returns when the checkpoint is complete on disk."""
        self.manager.save(int(state.step), args=ocp.args.StandardSave(_plain(state)))

    def restore(self, like: TrainState) -> TrainState:
        """The newest checkpoint, on the host.

        Args:
          like: a state of the same space and optimizer, for its structure and shapes.

        Raises:
          ValueError: when there is none, or it is damaged or of another space or training.
        """
        step = self.latest()
        if step is None:
            raise ValueError(f"no checkpoint in `{self.folder}`; name a run whose supernet was trained")
        wanted = _plain(like)
        try:
            difference = _difference(_shapes(self.manager.item_metadata(step).tree), _shapes(wanted))
            restored = None if difference else self.manager.restore(step, args=ocp.args.StandardRestore(wanted))
        except Exception as error:  # Orbax and tensorstore raise many kinds for damaged files
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            absent = [name for name in NEEDED if not os.access(self.path(step) / name, os.R_OK)]
            reason = f"`{absent[0]}` is missing or cannot be read" if absent else reason[:200]
            before = [other for other in self.manager.all_steps() if other < step]
            way_out = f"go on from `{self.path(max(before))}`" if before else "train from the start: there is no other"
            raise ValueError(
                f"checkpoint `{self.path(step)}` is damaged ({reason}); bring a copy of it back,"
                f" or remove it to {way_out}"
            ) from error
        if restored is None:
            raise ValueError(
                f"checkpoint `{self.path(step)}` is of another space or training: {difference}; give the settings it"
                " was made with"
            )
        return TrainState(**{name: restored.get(name) for name in TrainState._fields})


def _plain(state: TrainState) -> dict[str, Any]:
    """The state as arrays on the host, without what is off."""
    return {name: jax.tree.map(np.asarray, part) for name, part in state._asdict().items() if part is not None}


def _shapes(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each leaf by its dotted path."""

    def name(entry: Any) -> str:
        return str(getattr(entry, "name", getattr(entry, "key", getattr(entry, "idx", ""))))

    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {".".join(map(name, path)): (tuple(leaf.shape), np.dtype(leaf.dtype).name) for path, leaf in leaves}


def _difference(kept: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    """The first thing in which two structures differ, in words; None where they don't."""

    def shown(shape: tuple[int, ...], dtype: str) -> str:
        return f"{dtype}{list(shape)}"

    for name in sorted({*kept, *wanted}):
        if name not in kept:
            return f"it has no `{name}` ({shown(*wanted[name])})"
        if name not in wanted:
            return f"its `{name}` ({shown(*kept[name])}) has no place here"
        if kept[name] != wanted[name]:
            return f"its `{name}` is {shown(*kept[name])}, here it is {shown(*wanted[name])}"
    return None

"""One training on one or many devices, of one or many processes: the mesh, who holds what, and who writes."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Shaped

AXIS = "batch"
"""The mesh has this one axis: each batch is shared along it, everything else is everywhere."""


@dataclass(frozen=True, kw_only=True)
class Distributed:
    """How several processes, on one host or on many, find each other.

    Attributes:
      coordinator: `host:port` of the first process, or `auto` where a cluster's environment says it all (SLURM, Open
        MPI, Kubernetes, TPUs); None is a single process.
      processes: how many there are; None with `auto`.
      process: which of them this is, from 0; None with `auto`.
    """

    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None

    def __post_init__(self) -> None:
        if self.coordinator in (None, "auto"):
            if self.processes is not None or self.process is not None:
                raise ValueError(
                    "`distributed.processes` and `distributed.process` go with a `distributed.coordinator` of the form"
                    f" host:port, got `{self.coordinator}`"
                )
            return
        if self.processes is None or self.process is None:
            raise ValueError(
                f"`distributed.coordinator`={self.coordinator} needs `distributed.processes` and `distributed.process`"
                f" too, got {self.processes} and {self.process}"
            )
        if not 0 <= self.process < self.processes:
            raise ValueError(
                "`distributed.process` must be at least 0 and below `distributed.processes`, got"
                f" {self.process} of {self.processes}"
            )

    def start(self) -> None:
        """Joins the other processes; before anything asks JAX for its devices. Does nothing for a single process."""
        if self.coordinator == "auto":
            jax.distributed.initialize()
        elif self.coordinator is not None:
            jax.distributed.initialize(self.coordinator, self.processes, self.process)


def stop() -> None:
    """Leaves the other processes, all at the same point; what is computed afterwards is computed here alone."""
    if jax.process_count() > 1:
        jax.distributed.shutdown()


def mesh_of(devices: int | Literal["all"], *, alone: bool = False) -> Mesh:
    """The first so many devices, or all; of all processes, or `alone` of this one.

    Raises:
      ValueError: when there are not so many, or some would be left over in a training of several processes.
    """
    here = jax.local_devices() if alone else jax.devices()
    count = len(here) if devices == "all" else devices
    if count > len(here):
        raise ValueError(
            f"`training.mesh` is {count}, but there are only {_devices(len(here))} ({here[0].platform}); did you mean"
            f" training.mesh={len(here)}?"
        )
    if not alone and jax.process_count() > 1 and count != len(here):
        raise ValueError(
            f"`training.mesh` must be all {len(here)} devices of the {jax.process_count()} processes, got {devices};"
            " did you mean training.mesh=all?"
        )
    return Mesh(np.array(here[:count]), (AXIS,))


def _devices(count: int) -> str:
    return f"{count} device" + ("" if count == 1 else "s")


def check_batch(batch: int, devices: int, accumulate: int) -> None:
    """Refuses a batch that can't be dealt evenly.

    Raises:
      ValueError: naming the nearest that can.
    """
    parts = devices * accumulate
    if batch % parts:
        nearest = max(1, round(batch / parts)) * parts
        shared = _devices(devices) + (f" times {accumulate} parts (training.accumulate)" if accumulate > 1 else "")
        raise ValueError(
            f"`training.batch` must be a multiple of {parts} to be shared by {shared}, got {batch}; did you mean"
            f" training.batch={nearest}?"
        )


def is_spread(mesh: Mesh) -> bool:
    """Whether the devices belong to several processes."""
    return len({device.process_index for device in mesh.devices.flat}) > 1


def everywhere(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def shared(mesh: Mesh) -> NamedSharding:
    """The first axis shared out."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def own_part(mesh: Mesh, batch: int) -> slice:
    """Which rows of each batch this process must bring."""
    indices = shared(mesh).addressable_devices_indices_map((batch,)).values()
    spans = [index[0].indices(batch)[:2] for index in indices if index]
    return slice(min(start for start, _ in spans), max(stop for _, stop in spans))


def on_mesh(mesh: Mesh, rows: Shaped[Any, "rows ..."]) -> Any:
    """This process's rows as its part of an array over all processes; as they are where there is only this process."""
    if not is_spread(mesh):
        return rows  # the compiled step shares them out itself
    return jax.make_array_from_process_local_data(shared(mesh), rows)


def held_here(tree: Any) -> Any:
    """Values that every device holds, on the host."""
    return jax.tree.map(np.asarray, tree)


def is_first() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return jax.process_index() == 0


def agreed(tree: Any) -> Any:
    """The first process's values, handed to all of them; as they are where there is only this process."""
    if jax.process_count() == 1:
        return tree
    from jax.experimental import multihost_utils

    return jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(tree))

"""Where a run's numbers are sent as they arise: nowhere, or to Weights & Biases."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable


@runtime_checkable
class Tracking(Protocol):
    """Receives a run's numbers."""

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Begins, once a run has its folder."""
        ...

    def log(self, numbers: Mapping[str, int | float]) -> None:
        """Takes some numbers, in order."""
        ...

    def finish(self) -> None:
        """Ends."""
        ...


@dataclass(frozen=True, kw_only=True)
class NoTracking:
    """Keeps nothing: the run folder holds it all."""

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Does nothing."""

    def log(self, numbers: Mapping[str, int | float]) -> None:
        """Does nothing."""

    def finish(self) -> None:
        """Does nothing."""


@dataclass(frozen=True, kw_only=True)
class Wandb:
    """Logs to Weights & Biases; offline, the run is kept under its folder until `wandb sync`.

    Attributes:
      project: the project's name there.
      mode: `offline`, `online` or `disabled`.
    """

    project: str = "edgenas"
    mode: Literal["offline", "online", "disabled"] = "offline"

    def __post_init__(self) -> None:
        if self.mode not in ("offline", "online", "disabled"):
            raise ValueError(f"`tracking.mode` must be offline, online or disabled, got `{self.mode}`")

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Starts a run there, or goes on with it where the folder is that of a run that was stopped.

        Raises:
          ValueError: when wandb is not installed, or `online` and nobody is logged in.
        """
        try:
            import wandb
            from wandb.errors import Error as WandbError
        except ImportError as error:
            raise ValueError(
                "tracking=wandb needs the package wandb: pip install wandb, or leave tracking=none"
            ) from error
        try:
            wandb.init(
                project=self.project,
                mode=self.mode,
                dir=folder,
                name=folder.name,
                id=folder.name,
                resume="allow" if self.mode == "online" else None,
                config=dict(config),
                settings=wandb.Settings(silent=True, console="off"),
            )
        except WandbError as error:
            raise ValueError(f"tracking.mode={self.mode}: {error}; run `wandb login`, or use offline") from error

    def log(self, numbers: Mapping[str, int | float]) -> None:
        """Logs one step."""
        import wandb

        wandb.log(dict(numbers))

    def finish(self) -> None:
        """Closes the run."""
        import wandb

        wandb.finish()

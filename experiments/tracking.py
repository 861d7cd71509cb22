"""Where a run's numbers are sent as they arise: nowhere, or to Weights & Biases."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol


class Tracking(Protocol):
    """Receives a run's numbers."""

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Begins, once a run has its folder."""
        ...

    def log(self, numbers: Mapping[str, float]) -> None:
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

    def log(self, numbers: Mapping[str, float]) -> None:
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
        """Starts a run there.

        Raises:
          ValueError: when wandb is not installed.
        """
        try:
            import wandb
        except ImportError as error:
            raise ValueError(
                "tracking=wandb needs the package wandb: pip install wandb, or leave tracking=none"
            ) from error
        wandb.init(
            project=self.project,
            mode=self.mode,
            dir=folder,
            name=folder.name,
            config=dict(config),
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, numbers: Mapping[str, float]) -> None:
        """Logs one step."""
        import wandb

        wandb.log(dict(numbers))

    def finish(self) -> None:
        """Closes the run."""
        import wandb

        wandb.finish()

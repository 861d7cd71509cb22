"""Where artifacts are timed: on this machine, or on a board far away."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol as Interface
from typing import runtime_checkable

from hardware.measuring.protocol import Failure, Protocol, Timing
from hardware.measuring.store import host
from hardware.runtimes.artifact import Artifact
from hardware.runtimes.runtime import Runtime


@runtime_checkable
class Bench(Interface):
    """Times artifacts against each other."""

    @property
    def threads(self) -> int:
        """How many threads a network may use there."""
        ...

    def host(self) -> str:
        """The machine that times, as far as times hang on it.

        Raises:
          ValueError: when it cannot be reached.
        """
        ...

    def version(self) -> str:
        """Name and version of the runtime on it.

        Raises:
          ValueError: when it cannot be reached, or has none.
        """
        ...

    def measure(
        self,
        artifacts: Mapping[str, Artifact],
        protocol: Protocol,
        *,
        reference: str,
        reference_ms: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Timing | Failure]:
        """A timing, or why there is none, for each artifact; arguments as of `Protocol.measure`.

        Raises:
          ValueError: when nothing at all can be measured, as where the reference fails or the machine is gone.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Here:
    """This machine.

    Attributes:
      runtime: runs the artifacts.
    """

    runtime: Runtime

    @property
    def threads(self) -> int:
        """The runtime's."""
        return self.runtime.threads

    def host(self) -> str:
        """This machine."""
        return host()

    def version(self) -> str:
        """The runtime's."""
        return self.runtime.version

    def measure(
        self,
        artifacts: Mapping[str, Artifact],
        protocol: Protocol,
        *,
        reference: str,
        reference_ms: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Timing | Failure]:
        """See `Bench`."""
        calls, failures = {}, {}
        for name, artifact in artifacts.items():
            try:
                calls[name] = self.runtime.ready(artifact)
            except ValueError as error:
                if name == reference:
                    raise
                failures[name] = Failure(reason=str(error))
        timings = protocol.measure(calls, reference=reference, reference_ms=reference_ms, progress=progress)
        return {**timings, **failures}

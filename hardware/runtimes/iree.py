"""IREE: networks compiled ahead of time for this machine, or for an Arm core and run by an emulator."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from hardware.costs.precision import Precision
from hardware.export.stablehlo import to_stablehlo
from hardware.runtimes.artifact import Artifact
from hardware.runtimes.emulator import Emulator
from hardware.runtimes.missing import need
from search_spaces.layers import Layer

Architecture = Literal["x86_64", "aarch64"]


@dataclass(frozen=True, kw_only=True)
class Iree:
    """IREE's CPU backend on one thread (its `local-sync` device), fp32.

    A network is compiled for one core and one image at a time: seconds for a small one, 25 s for a MobileNetV3. That is
    too slow inside of a search. For an architecture that is not this machine's, networks are run by `qemu-aarch64`:
    their answers are those of the core, and the instructions they take can be counted; times mean nothing there.

    Attributes:
      architecture: `x86_64` or `aarch64`.
      cpu: LLVM's name of the core, e.g. `cortex-a72`; `host` for this machine's, whose artifacts run on no other kind.
      features: LLVM's names of what the core can do besides, e.g. `+dotprod`, joined by commas; empty for what its name
        says.
      emulator: how programs of a foreign architecture are run.

    Raises:
      ValueError: on the host's core where the architecture is another's.
    """

    architecture: Architecture = "x86_64"
    cpu: str = "host"
    features: str = ""
    emulator: Emulator = field(default_factory=Emulator)

    def __post_init__(self) -> None:
        if self.cpu == "host" and not self.native:
            raise ValueError(
                f"`cpu` must name a core of {self.architecture}, e.g. `cortex-a72`: the host's is {platform.machine()}"
            )

    @property
    def native(self) -> bool:
        """Whether this machine is of the architecture."""
        return platform.machine() == self.architecture

    @property
    def threads(self) -> int:
        """One: the device runs everything on the caller's thread."""
        return 1

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions it runs networks in."""
        return ("fp32",)

    @property
    def version(self) -> str:
        """Name and version of the compiler, and the core it compiles for."""
        need("iree.compiler", "iree")
        words = ["IREE", metadata.version("iree-base-compiler"), self.architecture, self.cpu, self.features]
        return " ".join(words).rstrip()

    def prepare(
        self,
        layers: Sequence[Layer],
        weights: Mapping[str, np.ndarray],
        precision: Precision = "fp32",
        calibration: Float[np.ndarray, "images height width channels"] | None = None,
    ) -> Artifact:
        """The network compiled; see `Runtime`.

        Raises:
          ValueError: when the network cannot be written, or the compiler refuses it or the core.
        """
        if precision not in self.precisions:
            raise ValueError(f"IREE runs {', '.join(self.precisions)} here, got `{precision}`")
        compiler = need("iree.compiler", "iree")
        flags = [f"--iree-llvmcpu-target-triple={self.architecture}-linux-gnu"]
        flags += [f"--iree-llvmcpu-target-cpu={self.cpu}"]
        flags += [f"--iree-llvmcpu-target-cpu-features={self.features}"] if self.features else []
        try:
            content = compiler.compile_str(
                to_stablehlo(layers, weights),
                target_backends=["llvm-cpu"],
                input_type="stablehlo",
                strip_source_map=True,
                extra_args=flags,
            )
        except compiler.CompilerToolError as error:
            raise ValueError(f"{self.version} refuses the network: {_diagnostic(str(error))}") from error
        return Artifact(content=content, format="vmfb", precision=precision, input_shape=layers[0].shape)

    def run(
        self, artifact: Artifact, images: Float[np.ndarray, "batch height width channels"]
    ) -> Float[np.ndarray, "batch *shape"]:
        """The network's output for a batch of images, one after the other; see `Runtime`.

        Raises:
          ValueError: when the artifact is damaged or made for another architecture, or the emulator is not there.
        """
        if self.native:
            main, _ = self._loaded(artifact)
            return np.concatenate([np.asarray(main(image[None]).to_host()) for image in images])
        return np.concatenate([self.emulator.run(artifact.content, image[None]) for image in images])

    def ready(self, artifact: Artifact) -> Callable[[], Any]:
        """A call that runs the network once on one fixed image; see `Runtime`.

        Raises:
          ValueError: when the artifact is damaged or refused, or would be emulated: an emulator's times say nothing.
        """
        if not self.native:
            raise ValueError(
                f"IREE for {self.architecture} is emulated on {platform.machine()}, so there is nothing to time; count"
                " its instructions (`Iree.instructions`), or measure on a board"
            )
        main, device = self._loaded(artifact)
        image = np.random.default_rng(0).normal(size=(1, *artifact.input_shape)).astype(np.float32)
        held = need("iree.runtime", "iree").asdevicearray(device, image)
        return lambda: main(held)

    def instructions(self, artifact: Artifact) -> int:
        """Instructions that the network's compiled kernels execute for one image: counted under emulation, no time.

        What IREE itself does to start the kernels is not in it, nor what is done once when a network is loaded. Two
        counts of one artifact are equal; as a measure of speed a count knows neither caches nor pipelines.

        Raises:
          ValueError: when the artifact is damaged or for this machine itself, or the emulator is not there.
        """
        if self.architecture != "aarch64":
            raise ValueError(
                f"instructions are counted for `architecture` aarch64, under emulation; got {self.architecture}"
            )
        return self.emulator.instructions(artifact.content, artifact.input_shape)

    def _loaded(self, artifact: Artifact) -> tuple[Any, Any]:
        """The network as a function, and the device it runs on."""
        runtime = need("iree.runtime", "iree")
        config = runtime.Config("local-sync")
        try:
            module = runtime.VmModule.copy_buffer(config.vm_instance, artifact.content)
            return runtime.load_vm_module(module, config)["main"], config.device
        except (ValueError, RuntimeError, KeyError) as error:
            raise ValueError(f"{self.version} refuses the artifact: {' '.join(str(error).split())}") from error


def _diagnostic(message: str) -> str:
    """What the compiler said, without how it was called."""
    lines = message.partition("Diagnostics:")[2].partition("Invoked with:")[0].split()
    return " ".join(lines)[:300]

"""Runs IREE's own programs for Arm under qemu-user: answers of another processor, and counts of its instructions.

Needs, on Debian and Ubuntu, `apt-get install qemu-user libc6-arm64-cross libstdc++6-arm64-cross gcc`, and IREE's
programs for Arm, which `python -m hardware.runtimes.emulator` fetches (15 MB, the wheel of IREE's runtime for aarch64).
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Float

from search_spaces.layers import Shape

PACKAGES = "qemu-user libc6-arm64-cross libstdc++6-arm64-cross gcc"
FETCH = "python -m hardware.runtimes.emulator"
PLUGIN_VERSIONS = range(1, 7)
PLUGIN = Path(__file__).with_name("count_instructions.c")


@dataclass(frozen=True, kw_only=True)
class Emulator:
    """qemu-user for aarch64.

    Attributes:
      qemu: the program; a name is looked for on the path.
      sysroot: the folder with Arm's C library in `lib`.
      programs: the folder with `iree-run-module` and `iree-benchmark-module` for Arm, of the compiler's version; None
        for where this module's command puts them.
      timeout_s: how long a network may run. An emulated core is some 20 times slower than this machine's.

    Raises:
      ValueError: when the time is not above 0.
    """

    qemu: str = "qemu-aarch64"
    sysroot: str = "/usr/aarch64-linux-gnu"
    programs: str | None = None
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        if not self.timeout_s > 0:
            raise ValueError(f"`timeout_s` must be above 0, got {self.timeout_s}")

    def check(self) -> None:
        """Raises unless all is there that it needs.

        Raises:
          ValueError: saying what is missing, and the command that brings it.
        """
        if shutil.which(self.qemu) is None or not Path(self.sysroot, "lib", "libstdc++.so.6").exists():
            raise ValueError(
                f"`{self.qemu}` and Arm's libraries in {self.sysroot} are needed to emulate aarch64; on Debian and"
                f" Ubuntu run `apt-get install {PACKAGES}`"
            )
        if not (self._programs / "iree-run-module").exists():
            raise ValueError(f"IREE's programs for Arm are not in {self._programs}; run `{FETCH}` to fetch them")

    @property
    def _programs(self) -> Path:
        return Path(self.programs) if self.programs else programs_folder()

    def run(self, module: bytes, image: Float[np.ndarray, "1 height width channels"]) -> Float[np.ndarray, "1 *shape"]:
        """The output of a compiled network for one image.

        Raises:
          ValueError: when something is missing, or the program refuses the module.
        """
        self.check()
        with TemporaryDirectory() as name:
            folder = Path(name)
            self._call(folder, "iree-run-module", module, image, ["--output=@output.npy"])
            return np.load(folder / "output.npy", allow_pickle=False)

    def instructions(self, module: bytes, shape: Shape) -> int:
        """Instructions that a compiled network's kernels execute for one image.

        The difference between two runs and one: what is done once when a module is loaded drops out.

        Raises:
          ValueError: when something is missing, or the program refuses the module.
        """
        self.check()
        image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
        counts = []
        with TemporaryDirectory() as name:
            folder = Path(name)
            self._write_plugin(folder)
            for runs in (1, 2):
                more = [f"--benchmark_min_time={runs}x"]
                said = self._call(folder, "iree-benchmark-module", module, image, more, ["-plugin", "./count.so"])
                found = re.search(r"^instructions: (\d+)$", said, re.MULTILINE)
                if found is None:
                    raise ValueError(f"`{self.qemu}` counted nothing; is it qemu-user?")
                counts.append(int(found[1]))
        return counts[1] - counts[0]

    def _write_plugin(self, folder: Path) -> None:
        """Compiles the plugin for the first version of qemu's interface that this qemu takes."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise ValueError(f"a C compiler is needed to count instructions; run `apt-get install {PACKAGES}`")
        made, said = folder / "count.so", ""
        for version in PLUGIN_VERSIONS:
            flags = ["-O2", "-shared", "-fPIC", f"-DPLUGIN_VERSION={version}"]
            built = subprocess.run([compiler, *flags, str(PLUGIN), "-o", str(made)], capture_output=True, text=True)
            if built.returncode:
                raise ValueError(f"`{compiler}` does not compile {PLUGIN}: {' '.join(built.stderr.split())[:300]}")
            command = [self.qemu, "-plugin", str(made), "-L", self.sysroot, str(self._programs / "iree-run-module")]
            try:
                tried = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=self.timeout_s)
            except subprocess.TimeoutExpired as error:
                raise ValueError(f"`{self.qemu}` hangs with a plugin; raise `timeout_s`, or take another") from error
            if "instructions: " in tried.stderr:
                return
            said = " ".join(tried.stderr.split())[:200]
        raise ValueError(
            f"`{self.qemu}` takes no plugins, which counting needs ({said}): those that are statically linked don't, as"
            " Debian 13's; take one that is not, as Debian 12's"
        )

    def _call(
        self,
        folder: Path,
        program: str,
        module: bytes,
        image: Float[np.ndarray, "1 height width channels"],
        more: list[str],
        options: list[str] | None = None,
    ) -> str:
        """Runs one of IREE's programs in a folder; returns all it said."""
        (folder / "network.vmfb").write_bytes(module)
        np.save(folder / "input.npy", image)
        command = [self.qemu, *(options or []), "-L", self.sysroot, str((self._programs / program).resolve())]
        command += ["--module=network.vmfb", "--device=local-sync", "--function=main", "--input=@input.npy", *more]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=self.timeout_s, errors="replace"
            )
        except subprocess.TimeoutExpired as error:
            raise ValueError(
                f"the emulated network took more than {self.timeout_s:g} s; raise `timeout_s`, or take a smaller one"
            ) from error
        if done.returncode:
            raise ValueError(
                f"emulated {program} refuses the artifact: {' '.join((done.stderr or done.stdout).split())[:300]}"
            )
        return done.stdout + done.stderr


def programs_folder() -> Path:
    """Where IREE's programs for Arm lie, of the version of IREE's runtime that is installed."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "edgenas", f"iree-{_version()}-aarch64")


def fetch() -> Path:
    """Downloads the wheel of IREE's runtime for Arm with pip and takes its programs out; returns their folder.

    Raises:
      ValueError: when there is no such wheel, or no network.
    """
    folder = programs_folder()
    with TemporaryDirectory() as name:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"]
        command += [name, "--platform=manylinux_2_28_aarch64", f"iree-base-runtime=={_version()}"]
        done = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(name).glob("*.whl"))
        if done.returncode or not wheels:
            raise ValueError(f"pip found no IREE runtime {_version()} for aarch64: {done.stderr.strip()[-300:]}")
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheels[0]) as wheel:
            for member in ("iree-run-module", "iree-benchmark-module"):
                part = folder / f"{member}.part{os.getpid()}"
                part.write_bytes(wheel.read(f"iree/_runtime_libs/{member}"))
                part.chmod(0o755)
                part.replace(folder / member)
    return folder


def _version() -> str:
    try:
        return metadata.version("iree-base-runtime")
    except metadata.PackageNotFoundError as error:
        raise ValueError("`iree` is not installed; run `pip install 'edgenas[iree]'`") from error


if __name__ == "__main__":
    try:
        print(fetch())
    except ValueError as error:
        sys.exit(f"error: {error}")

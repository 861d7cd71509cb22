"""One tiny run of the main job, in a process of its own, shared by all tests that look at a finished folder."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import absl.logging
import pytest
from beartype.roar import BeartypeDecorHintPep585DeprecationWarning

ROOT = Path(__file__).parents[2]
STAGE = "{_target_: search_spaces.mobile.Stage, widths: [4, 8], depths: [1, 2], stride: 2, squeeze_excite: [true]}"
SUPERNET = [
    *("data.image_size=12", "data.limit=96"),
    *(f"search_space.stages=[{STAGE}]", "search_space.kernels=[3,5]", "search_space.expansions=[2,4]"),
    *("search_space.stem_channels=4", "search_space.head_channels=8"),
    *("training.epochs=6", "training.batch=16", "training.checkpoint_every=1"),
]
SEARCH = ["calibration_images=16", "evaluations=10", "search.pop_size=4", "fine_tune.epochs=1"]
MEASURING = [
    *("measuring.networks=8", "measuring.folds=2"),
    *("target.protocol.rounds=3", "target.protocol.warm_up=1", "target.protocol.min_sample_ms=0.05"),
    "target.protocol.redo=0",
]
NO_WANDB = "raise ImportError('wandb is not here')\n"


class Edgenas:
    """Starts `edgenas` as a user would, with one folder for runs, one store and one cache of compiled programs."""

    supernet, search, measuring = SUPERNET, SEARCH, MEASURING

    def __init__(self, home: Path):
        self.home, self.output = home, home / "runs"
        stub = home / "without_wandb"
        stub.mkdir()
        (stub / "wandb.py").write_text(NO_WANDB)
        self.settings = [f"output={self.output}", f"compile_cache={home / 'cache'}"]

    def start(self, *arguments: str, wandb: bool = False) -> subprocess.Popen[str]:
        """A process under way; without `wandb`, one in which that package cannot be imported."""
        env = {**os.environ, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "PYTHONWARNINGS": "default"}
        env["PYTHONPATH"] = "" if wandb else str(self.home / "without_wandb")
        env.pop("EDGENAS_DEBUG", None)
        command = [sys.executable, "-m", "experiments.run", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, env=env, stdout=pipe, stderr=pipe, text=True)

    def __call__(self, *arguments: str, wandb: bool = False) -> subprocess.CompletedProcess[str]:
        """A process that has ended."""
        process = self.start(*arguments, wandb=wandb)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def whole(self, folder: Path) -> list[str]:
        """The arguments of a tiny run with everything in it."""
        return [*SUPERNET, *SEARCH, *MEASURING, *self.settings, f"hydra.run.dir={folder}"]


@pytest.fixture(scope="session")
def edgenas(tmp_path_factory: pytest.TempPathFactory) -> Edgenas:
    """The command."""
    return Edgenas(tmp_path_factory.mktemp("edgenas"))


@pytest.fixture(scope="session")
def finished(edgenas: Edgenas) -> Path:
    """The folder of a finished run; only to be read."""
    folder = edgenas.output / "finished"
    done = edgenas(*edgenas.whole(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def main() -> Callable[..., None]:
    """The command, run in this process."""
    with warnings.catch_warnings():  # omegaconf's DictConfig is a typing.MutableMapping, says beartype on import
        warnings.simplefilter("ignore", BeartypeDecorHintPep585DeprecationWarning)
        for module in ("job", "run", "sweep"):
            import_module(f"experiments.{module}")
    # Hydra shuts all log handlers down, and absl's would close the stream it found: pytest's own.
    absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__
    return import_module("experiments.run").main


@pytest.fixture
def refused(
    main: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Gives the one line with which the command refuses its arguments."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.delenv("EDGENAS_DEBUG", raising=False)
    monkeypatch.setattr(sys, "argv", ["edgenas"])

    def refuse(*arguments: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        err = capsys.readouterr().err
        assert ended.value.code == 2, err
        assert err.startswith("edgenas: error: ")
        assert err.count("\n") == 1, err
        return err.strip()

    return refuse

"""What users get wrong is answered with one line, exit code 2 and nothing left behind."""

import gzip
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.settings import check_settings
from hardware.costs.cost import Cost
from nas.objective import Objective, Prices, check_reachable
from search_spaces.mobile import Mobile, Stage

NEVER = "training.epochs=-5"  # refused as the last of all settings: no case here trains, whatever it is let through
LATE = "calibration_images=999999"  # refused later still, once bounds and data are seen
SMALL = "search_space.stages=[{_target_:search_spaces.mobile.Stage,widths:[8],depths:[1]}]"


@pytest.mark.parametrize(
    ("arguments", "phrases"),
    [
        # names
        ("search_space=mobil", "`search_space` has no option `mobil`; did you mean `mobile`?"),
        ("data=digit", "did you mean `digits`?"),
        ("target=stm32h7433", "did you mean `stm32h743`?"),
        ("search=evolve", "did you mean `evolution`?"),
        ("search=zzz", "there are `evolution`, `random`"),
        ("trainin.epochs=1", "there is no setting `trainin.epochs`; did you mean `training.epochs`?"),
        ("training.epoch=1", "did you mean `training.epochs`?"),
        ("measuring.network=9", "did you mean `measuring.networks`?"),
        ("data=fashion_mnist data.rot=x", "did you mean `data.root`?"),
        ("sed=1", "did you mean `seed`?"),
        ("+sed=1", "there is no setting `sed`; did you mean `seed`?"),
        ("+measuring.zzz=1", "there are `measuring.folds`, `measuring.front`"),
        ("+training.epoch=1", "`nas.training.Training` has no setting `epoch`; did you mean `epochs`?"),
        ("~fine_tune", "`fine_tune` is missing"),
        ("~measuring.front", "`measuring.front` is missing"),
        # types
        ("training.epochs=abc", "`epochs` must be a whole number, got `abc`"),
        ("training.epochs=1.5", "`epochs` must be a whole number, got 1.5"),
        ("training.learning_rate=nan", "`learning_rate` must be a number, got nan"),
        ("search_space.stages=3", "`stages` must be a list, each a `Stage`, got 3"),
        ("target.device=3", "`device` must be a `Device` or null, got 3"),
        ("evaluations=abc", "`evaluations` must be a whole number, got `abc`"),
        ("measuring.reuse=maybe", "`measuring.reuse` must be true or false, got `maybe`"),
        ("fine_tune.learning_rate=abc", "`fine_tune.learning_rate` must be a number"),
        ("objectives.macs.bound=small", "`objectives.macs.bound` must be a number or null, got `small`"),
        ("objectives.macs=3", "`objectives.macs` must hold `bound`, `minimised`"),
        ("plugins=abc", "`plugins` must be a list, as plugins=[abc]"),
        ("supernet.from=3", "supernet.from=3 is not the folder of a run"),
        ("output=null", "`output` must be text, got None"),
        # values
        ("training.epochs=-1", "`training.epochs` must be at least 1, got -1"),
        ("evaluations=0", "`evaluations` must be a whole number of at least 1, got 0"),
        ("seed=-1", "`seed` must be"),
        ("measuring.networks=4", "`measuring.networks` must be a whole number of at least 5, got 4"),
        ("data.limit=0", "`limit` must be"),
        ("target.protocol.rounds=0", "`rounds` must be 1 or more, got 0"),
        ("objectives.val_error.minimised=false objectives.latency_ms.minimised=false"
         f" objectives.energy_mj.minimised=false {LATE}", "no objective is minimised"),
        (f"objectives.macs.bound=10 {LATE} {SMALL}", "macs at most 10; the lowest reached is"),
        (f"objectives.flash_bytes.bound=10 {LATE} {SMALL}", "flash_bytes@stm32h743 at most 10; the lowest reached is"),
        (f"target=stm32h743 objectives.latency_ms.bound=1e-6 {LATE} {SMALL}", "latency_ms@stm32h743 at most 1e-06;"),
        (f"{LATE} {SMALL}", "`calibration_images` must be 2 to the number of training images"),
        ("search.pop_size=1", "`pop_size` must be at least 2, got 1"),
        ("search.mutation=2", "`mutation`"),
        ("predictor.ridge=-1", "`ridge`"),
        ("tracking=wandb tracking.mode=of", "`mode` must be one of `offline`, `online`, `disabled`, got `of`"),
        # classes
        ("search_space._target_=os.system", "`os.system` is of package `os`, which is not one of ours"),
        ("search_space._target_=search_spaces.mobile.Mobil", "has no `Mobil`; did you mean `Mobile`?"),
        ("search_space._target_=nas.training.trainer.partial", "describes no settings"),
        ("search_space._target_=3", "must name a class"),
        ("plugins=[no_such_plugin] search_space._target_=no_such_plugin.Space", "cannot be imported"),
        # syntax
        ("seed", "seed"),
        ("search_space.kernels=[3,", "[3,"),
        ("data=image_folder", "data.root"),
        # folders
        ("resume=/nonexistent", "is missing; is `/nonexistent` the folder of a run?"),
        ("resume=/nonexistent -m", "goes on with one run"),
        ("supernet.from=/nonexistent", "is not the folder of a run"),
    ],
)  # fmt: skip
def test_what_is_typed_wrong_gets_one_line(refused, tmp_path, arguments, phrases):
    never = [] if any(w in arguments for w in ("training.epochs", "resume", LATE)) else [NEVER]
    output = [] if "output" in arguments or "resume" in arguments else [f"output={tmp_path / 'runs'}"]
    line = refused(*arguments.split(" "), *never, *output)
    assert phrases in line
    assert not list(tmp_path.iterdir())
    assert not Path("None").exists()  # of output=null


def test_folders_that_cannot_be_written_are_named(refused):
    assert "`/proc/nothing` cannot be used" in refused("output=/proc/nothing", NEVER)
    assert "`/proc/nothing` cannot be used" in refused("-m", "seed=0,1", "output=/proc/nothing", NEVER)


def test_a_sweep_says_which_of_its_runs_were_refused(main, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["edgenas"])
    with pytest.raises(SystemExit, match="2"):
        main(["-m", "seed=-1,-2", f"hydra.sweep.dir={tmp_path}", f"output={tmp_path}"])
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"edgenas: error: {tmp_path / str(i)}: `seed` must be a whole number of at least 0, got {seed}"
        for i, seed in enumerate((-1, -2))
    ]


def idx(values):
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def test_data_that_is_missing_or_damaged_is_named(refused, tmp_path):
    fashion = [SMALL, "data=fashion_mnist", f"data.root={tmp_path / 'data'}", f"output={tmp_path / 'runs'}"]
    assert f"{tmp_path / 'data'}" in refused(*fashion)
    (tmp_path / "data").mkdir()
    for part, count in (("train", 40), ("t10k", 20)):
        images, labels = np.zeros((count, 28, 28), np.uint8), (np.arange(count) % 10).astype(np.uint8)
        (tmp_path / "data" / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / "data" / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    damaged = tmp_path / "data" / "train-images-idx3-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    assert damaged.name in refused(*fashion)
    assert not (tmp_path / "runs").exists()


def test_a_bound_on_a_learned_cost_is_refused_with_the_nearest_value():
    space = Mobile(image_size=12, stages=(Stage(widths=(4, 8), depths=(1,)),), kernels=(3,), expansions=(1, 2))

    class Learned(Prices):
        def __call__(self, arch):
            value = 0.5 + 0.1 * float(np.sum(arch))
            cost = Cost(name="latency_ms", value=value, std=None, unit="ms", kind="predicted", target="host")
            return {"latency_ms@host": cost}

    bound = Objective(cost="latency_ms", target="host", bound=0.4)
    with pytest.raises(ValueError, match=r"latency_ms@host at most 0\.4; the lowest reached is 0\.5"):
        check_reachable(space, Learned(space, (), {}), [bound])


def test_settings_are_checked_all_at_once_where_they_enter():
    with pytest.raises(ValueError, match="`seed` is missing"):
        check_settings({})


@pytest.fixture
def started(tmp_path):
    """A folder as a run that has just begun leaves it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "overrides.json").write_text(json.dumps(["seed=1", NEVER]))
    return tmp_path / "run"


def test_a_run_goes_on_with_its_own_settings_only(refused, started):
    line = refused(f"resume={started}", "seed=2")
    assert f"`seed=2` is not what `{started}` was started with (seed=1 {NEVER}); leave it out" in line
    assert "got -5" in refused(f"resume={started}", "seed=1")  # the same is no other
    assert "leave -m out" in refused("-m", f"resume={started}")


@pytest.mark.parametrize("content", ["{", '{"seed": 1}', "[1]", "\xff"])
def test_damaged_overrides_are_named(refused, started, content):
    (started / "overrides.json").write_text(content, encoding="latin-1")
    assert "overrides.json` is damaged" in refused(f"resume={started}")


@pytest.mark.parametrize("content", ["a: [", "3", "seed: 1"])
def test_a_supernet_of_damaged_settings_is_refused(refused, tmp_path, content):
    (tmp_path / "config.yaml").write_text(content)
    assert "config.yaml` is damaged" in refused(f"supernet.from={tmp_path}", f"output={tmp_path / 'runs'}")


def test_the_process_says_so_too():
    """One by the real command: its exit code, and that no traceback slips by."""
    done = subprocess.run(
        [sys.executable, "-m", "experiments.run", "search_space=mobil"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "edgenas: error: `search_space` has no option `mobil`; did you mean `mobile`?\n"


# --- finished runs, damaged -------------------------------------------------------------------------------------------


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


@pytest.mark.slow
def test_a_damaged_summary_is_named(refused, copy):
    (copy / "summary.json").write_text("{")
    assert f"`{copy / 'summary.json'}` is damaged" in refused(f"resume={copy}")


@pytest.mark.slow
def test_settings_that_changed_since_are_refused(refused, copy):
    (copy / "config.yaml").write_text((copy / "config.yaml").read_text().replace("seed: 0", "seed: 7"))
    assert "differs from the settings this would run with" in refused(f"resume={copy}")


@pytest.mark.slow
def test_a_supernet_is_searched_with_its_own_settings_only(refused, finished, tmp_path):
    line = refused(f"supernet.from={finished}", "training.epochs=7", f"output={tmp_path}")
    assert f"`training` differs from what the supernet of `{finished}` was trained with" in line


def one_line(done):
    """The line of a process that may have drawn bars before."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.replace("\r", "\n").splitlines() if "edgenas: error:" in line]
    return line


def spoil(path):
    path.write_bytes(b"spoilt " * 100)


@pytest.mark.slow
def test_damaged_checkpoints_and_unfinished_supernets_are_named(edgenas, finished, copy):
    (copy / "summary.json").unlink()
    for path in (copy / "checkpoints" / "36").rglob("*"):
        if path.is_file():
            spoil(path)
    assert f"`{copy / 'checkpoints' / '36'}` is damaged" in one_line(edgenas(f"resume={copy}"))

    for step in ("30", "36"):
        shutil.rmtree(copy / "checkpoints" / step)
    from_copy = [f"supernet.from={copy}", "target=stm32h743", *edgenas.search, *edgenas.settings]
    assert f"has 0 of 6 epochs; finish it with resume={copy}" in one_line(edgenas(*from_copy))


@pytest.mark.slow
def test_a_damaged_study_is_named(edgenas, copy):
    (copy / "summary.json").unlink()
    spoil(copy / "study.sqlite")
    assert f"`{copy / 'study.sqlite'}` cannot be used as a study" in one_line(edgenas(f"resume={copy}"))


@pytest.mark.slow
def test_a_damaged_store_of_measurements_is_named(edgenas, finished, tmp_path):
    store = tmp_path / "measurements.sqlite"
    spoil(store)
    arguments = [*edgenas.search, *edgenas.measuring, *edgenas.settings, f"supernet.from={finished}"]
    line = one_line(edgenas(*arguments, f"measuring.store={store}", f"hydra.run.dir={tmp_path / 'run'}"))
    assert f"{store} is not a measurement store" in line

"""Checkpoints hold everything, survive anything, and are refused in one line where they don't fit."""

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nas.checkpoint import Checkpoints
from nas.training import Trainer, train
from search_spaces.mobile import Stage


@pytest.mark.slow
def test_a_training_goes_on_from_a_checkpoint_as_if_never_stopped(trainer, whole, same, tmp_path):
    states, _ = whole
    with Checkpoints(tmp_path / "a") as checkpoints:
        assert checkpoints.latest() is None
        for epoch in (1, 2):
            checkpoints.save(states[epoch])
    with Checkpoints(tmp_path / "a") as checkpoints:
        assert checkpoints.latest() == 20
        restored = checkpoints.restore(states[0])
    assert same(restored, states[2])
    epochs = []
    done = train(trainer, restored, jax.random.key(1), after_epoch=lambda epoch, loss, state: epochs.append(epoch))
    assert epochs == [3, 4]
    assert same(done, states[4])


def test_the_last_two_checkpoints_are_kept(whole, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for epoch in (1, 2, 3):
            checkpoints.save(whole[0][epoch])
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.isdigit()) == ["20", "30"]


@pytest.mark.parametrize("damage", ["truncate", "overwrite", "remove"])
def test_a_damaged_checkpoint_is_refused_in_one_line(whole, tmp_path, damage):
    states, _ = whole
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(states[2])
    files = [path for path in (tmp_path / "20").rglob("*") if path.is_file()]
    assert files
    for path in files:
        if damage == "truncate":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        elif damage == "overwrite":
            path.write_bytes(b"\x00" * path.stat().st_size)
        else:
            path.unlink()
    with (
        pytest.raises(ValueError, match=r"is damaged \(|it has no|no checkpoint") as error,
        Checkpoints(tmp_path) as checkpoints,
    ):
        checkpoints.restore(states[0])
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("gone", ["default", "default/_METADATA", "default/manifest.ocdbt"])
def test_what_a_checkpoint_lacks_is_named_and_the_way_out(whole, tmp_path, gone):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(whole[0][1])
        checkpoints.save(whole[0][2])
    for step, way_out in (("20", rf"remove it to go on from `{tmp_path}/10`"), ("10", r"train from the start: .* no")):
        path = tmp_path / step / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        with (
            Checkpoints(tmp_path) as checkpoints,
            pytest.raises(ValueError, match=rf"`{tmp_path}/{step}` is damaged \(`{gone}` is missing .*{way_out}"),
        ):
            checkpoints.restore(whole[0][0])
        shutil.rmtree(tmp_path / step)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() is None


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"head_channels": 24}, r"is float32\[16, 10\], here it is float32\[24, 10\]"),
        (
            {"stages": (Stage(widths=(8, 16), depths=(1, 3)),)},
            r"its `optimizer\S+blocks\.\d+\.\S+` \(float32\S+ has no place here",
        ),
    ],
    ids=["another shape", "another block"],
)
def test_a_checkpoint_of_another_space_is_refused(trainer, whole, tmp_path, space, changes, difference):
    other = replace(space, **changes)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(whole[0][1])
        shapes = nnx.split(nnx.eval_shape(lambda: other.supernet(jax.random.key(0))))[1]
        params = jax.tree.map(lambda like: jnp.zeros(like.shape, like.dtype), shapes)
        with pytest.raises(ValueError, match=f"is of another space or training: .*{difference}") as error:
            checkpoints.restore(trainer.restart(params))
    assert "\n" not in str(error.value)


def test_without_a_checkpoint_it_says_so(whole, tmp_path):
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(ValueError, match=r"no checkpoint in .*name a run"):
        checkpoints.restore(whole[0][0])


def test_a_checkpoint_of_another_optimizer_is_refused(space, settings, data, whole, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(whole[0][1])
        other = Trainer(space, replace(settings, ema=0.9), data)
        with pytest.raises(ValueError, match=r"is of another space or training: it has no `ema\.blocks"):
            checkpoints.restore(other.restart(jax.tree.map(jnp.asarray, whole[0][1].params)))


SAVING = Path(__file__).with_name("saving.py")


def saving(tmp_path, name):
    command = [
        sys.executable,
        str(SAVING),
        str(tmp_path / name),
        str(tmp_path / f"{name}.npz"),
        str(tmp_path / "cache"),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_in_the_middle_of_a_save_it_ends_as_if_never_stopped(tmp_path):
    """A checkpoint is written after every step; kill -9 strikes while one lies there half written."""
    whole = saving(tmp_path, "whole")
    out, err = whole.communicate(timeout=400)
    assert whole.returncode == 0, err

    rng = np.random.default_rng(0)
    folder, resumed = tmp_path / "killed", []
    for at in (3, 11):  # inside the first epoch of ten steps, and inside the second
        process = saving(tmp_path, "killed")
        while not any(int(path.name) >= at for path in folder.glob("*") if path.name.isdigit()):
            assert process.poll() is None, process.communicate()
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.2))
        while not any("tmp" in path.name for path in folder.iterdir()):
            assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGKILL)
        resumed.append(process.communicate()[0])
        assert process.returncode == -signal.SIGKILL
    last = saving(tmp_path, "killed")
    out, err = last.communicate(timeout=400)
    assert last.returncode == 0, err
    resumed.append(out)
    assert resumed[0] == ""
    starts = [int(line.split()[-1]) for line in resumed[1:]]
    assert 3 <= starts[0] < starts[1] < 20
    before, after = (dict(np.load(tmp_path / f"{name}.npz")) for name in ("whole", "killed"))
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)

"""Training as the command runs it: an outside teacher, bands as it goes, and a loss that is not finite."""

import json

import pytest

from experiments.steps.supernet import told
from nas.data.digits import Digits
from nas.training import Trainer, Training
from nas.training.rules import Sandwich, StrictFairness
from search_spaces.mobile import Mobile, Stage


@pytest.mark.slow
def test_another_runs_largest_network_teaches_and_bands_are_kept(edgenas, finished, tmp_path):
    folder = tmp_path / "taught"
    teacher = f"training.teacher={{_target_:nas.training.Teacher,run:'{finished}',weight:0.5,temperature:2.0}}"
    done = edgenas(
        *(*edgenas.supernet, *edgenas.search, *edgenas.settings, f"hydra.run.dir={folder}", "target=stm32h743"),
        *("training=sandwich", "training.execution=auto", "training.bands_every=4", teacher),
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / "summary.json").read_text())
    training = summary["training"]
    assert [row["epoch"] for row in training["bands"]] == [4, 6]  # and after the last
    for row in training["bands"]:
        assert all(0 <= row[f"{band}/val_error"] <= 1 for band in ("smallest", "sampled", "largest"))
    assert "epoch 4: validation error smallest" in done.stdout
    assert training["execution"] == json.loads((folder / "execution.json").read_text())
    assert training["execution"]["execution"] in ("masked", "sliced")
    assert f"{training['execution']['execution']} execution: " in done.stdout
    compiled = "the step was traced " if training["execution"]["execution"] == "masked" else " blocks were compiled"
    assert compiled in done.stdout


def test_a_teacher_that_is_no_run_is_refused(edgenas, refused, tmp_path):
    teacher = f"training.teacher={{_target_:nas.training.Teacher,run:'{tmp_path}',weight:0.5,temperature:2.0}}"
    line = refused(*edgenas.supernet, *edgenas.search, f"hydra.run.dir={tmp_path / 'run'}", teacher)
    assert f"training.teacher.run={tmp_path} is not the folder of a run" in line


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_the_step_and_the_last_checkpoint(edgenas, tmp_path):
    """At this rate the first step is sound and the second is not; a checkpoint is kept after each step."""
    folder = tmp_path / "run"
    wild = ("training.learning_rate=1e38", "training.warm_up=0.0", "training.checkpoint_steps=1")
    done = edgenas(*edgenas.supernet, *edgenas.search, *edgenas.settings, f"hydra.run.dir={folder}", *wild)
    assert done.returncode == 2
    line = done.stderr.rpartition("edgenas: error: ")[2].strip()
    assert "\n" not in line
    assert line.startswith("the loss is ")
    assert " at step 2 (epoch 1), training [" in line
    assert line.endswith(f"the last good checkpoint is `{folder / 'checkpoints' / '1'}`")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "1 epochs, 2 steps of 1 architecture each (SinglePath); the step was traced 0 time(s)"),
        (
            {"rule": Sandwich(random=1), "execution": "sliced"},
            "1 epochs, 2 steps of 3 architectures each (Sandwich); 0 blocks were compiled",
        ),
        ({"rule": StrictFairness()}, "2 steps of 6 architectures each (StrictFairness); the step"),  # lcm of 2 and 3
    ],
)
def test_the_end_of_a_training_is_told_by_its_rule_and_its_execution(settings, said):
    space = Mobile(image_size=8, stages=(Stage(widths=(8, 16), depths=(1, 2)),), kernels=(3, 5, 7), expansions=(1, 2))
    trainer = Trainer(space, Training(epochs=1, batch=32, **settings), Digits(image_size=8, limit=80).load())
    assert said in told(trainer)

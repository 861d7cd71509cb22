"""The main job from end to end, tiny: what it leaves, that it is the same again, and that a kill loses nothing."""

import json
import signal
import sqlite3
import time

import numpy as np
import onnxruntime
import pytest
from omegaconf import OmegaConf
from PIL import Image

from experiments.build import build
from experiments.winner import load
from hardware.measuring.store import MeasurementStore

pytestmark = pytest.mark.slow

KINDS = {"measured", "predicted", "modelled"}
ROLES = {"fastest", "balanced", "most accurate"}


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def study_of(folder):
    """Every row of the study, in order, by search."""
    with sqlite3.connect(f"file:{folder / 'study.sqlite'}?mode=ro", uri=True) as db:
        costs = "SELECT label, value, std, unit, kind FROM costs WHERE judged = ? ORDER BY label"
        rows = db.execute("SELECT id, search, generation, arch FROM judged ORDER BY id").fetchall()
        return [(*row, *db.execute(costs, row[:1]).fetchall()) for row in rows]


def measured_by(output, run, campaign):
    with sqlite3.connect(output / "measurements.sqlite") as db:
        where = "SELECT count(*) FROM measurements WHERE campaign = ?"
        return db.execute(where, (f"{run}/{campaign}",)).fetchone()[0]


def repeatable(network):
    """What does not hang on the clock."""
    costs = [cost for cost in network["costs"] if cost["name"] != "latency_ms" or cost["kind"] != "measured"]
    return {**{key: value for key, value in network.items() if key not in ("folder",)}, "costs": costs}


def test_a_finished_folder_holds_everything(finished):
    for name in ("config.yaml", "environment.json", "study.sqlite", "summary.json", "report.html"):
        assert (finished / name).stat().st_size, name
    config = OmegaConf.load(finished / "config.yaml")
    assert OmegaConf.to_container(config, resolve=True) == OmegaConf.to_container(config)  # resolved
    assert config.training.epochs == 6
    assert {path.name for path in (finished / "checkpoints").iterdir() if path.is_dir()} == {
        "30",
        "36",
    }  # steps, six an epoch
    assert {path.stem for path in (finished / "figures").glob("*.svg")} >= {"pareto", "training", "predictor"}
    networks = sorted((finished / "networks").iterdir())
    assert len(networks) == 3
    for network in networks:
        assert {path.name for path in network.iterdir()} == {
            *("weights.safetensors", "architecture.json", "layers.json", "preprocessing.json", "model.onnx"),
            "README.md",
        }
    assert {path.name for path in finished.rglob(".*")} <= {".lock"}  # nothing half written


def test_the_summary_says_all_that_was_promised(finished):
    summary = summary_of(finished)
    promised = "space space_size target targets predictor hypervolume networks seconds versions seed commit"
    assert set(promised.split()) <= set(summary)
    assert {"spearman", "mape", "within_10", "macs_spearman", "networks"} <= set(summary["predictor"])
    assert summary["predictor"]["networks"] == 8
    assert set(summary["hypervolume"]) == {"evolution", "random"}
    assert all(0 <= value <= 1 for value in summary["hypervolume"].values())
    assert (summary["space"], summary["target"], summary["seed"]) == ("mobile", "host_cpu", 0)
    assert {network["role"] for network in summary["networks"]} == ROLES
    for network in summary["networks"]:
        assert {"arch", "test_accuracy", "costs", "params", "macs", "onnx_max_abs_diff"} <= set(network)
        assert 0 <= network["onnx_max_abs_diff"] <= 1e-4
        assert network["masked_max_abs_diff"] <= 1e-4
        for cost in network["costs"]:
            assert {"name", "value", "std", "unit", "kind", "target"} == set(cost)
            assert cost["kind"] in KINDS
        kinds = {(cost["name"], cost["target"], cost["kind"]) for cost in network["costs"]}
        assert {("latency_ms", "host_cpu", "measured"), ("latency_ms", "host_cpu", "predicted")} <= kinds
        assert ("energy_mj", "stm32h743", "modelled") in kinds
    assert not {k for name, _, k in kinds if name in ("energy_mj", "peak_bytes", "flash_bytes")} - {"modelled"}


def test_both_searches_judged_as_many_distinct_networks(finished):
    rows = study_of(finished)
    for search in ("evolution", "random"):
        archs = [row[3] for row in rows if row[1] == search]
        assert len(archs) == len(set(archs)) == 10


def test_a_winner_is_used_in_three_lines(finished, tmp_path):
    config = OmegaConf.to_container(OmegaConf.load(finished / "config.yaml"))
    data = build(config["data"]).load()
    Image.fromarray(data.test.images[0, ..., 0]).save(tmp_path / "digit.png")
    for folder in (finished / "networks").iterdir():
        network = load(folder)
        answer = network.classify(tmp_path / "digit.png")

        images = np.concatenate([network.prepare(Image.fromarray(image[..., 0])) for image in data.test.images])
        logits = np.asarray(network.logits(images))
        assert answer == data.class_names[logits[0].argmax()]
        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        (onnx_logits,) = session.run(None, {session.get_inputs()[0].name: images.transpose(0, 3, 1, 2)})
        np.testing.assert_allclose(logits, onnx_logits, atol=1e-4)
        architecture = json.loads((folder / "architecture.json").read_text())
        assert (logits.argmax(1) == data.test.labels).mean() == architecture["test_accuracy"]


def test_the_same_seed_gives_the_same_answer(edgenas, finished):
    again = edgenas.output / "again"
    assert edgenas(*edgenas.whole(again)).returncode == 0
    first, second = summary_of(finished), summary_of(again)
    assert study_of(again) == study_of(finished)
    assert first["training"] == second["training"]
    assert first["hypervolume"] == second["hypervolume"]
    for part in ("front", "networks"):
        assert [repeatable(row) for row in second[part]] == [repeatable(row) for row in first[part]]
    for folder in (finished / "networks").iterdir():
        for name in ("weights.safetensors", "model.onnx", "layers.json"):
            assert (again / "networks" / folder.name / name).read_bytes() == (folder / name).read_bytes()
    # Nothing sampled was measured again; the front was.
    assert measured_by(edgenas.output, first["run"], "sample") == 8 + 1  # and the reference
    assert measured_by(edgenas.output, second["run"], "sample") == 0
    assert measured_by(edgenas.output, second["run"], "front") == len(second["front"]) + 1


def killed_when(process, happened):
    """Kills a process as soon as something has happened."""
    while not happened():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_killed_in_training_and_in_search_it_ends_as_if_nothing_had_happened(edgenas, finished):
    folder = edgenas.output / "killed"

    def trained():
        return (folder / "checkpoints" / "12").is_dir()

    def searched():
        try:
            return bool(study_of(folder))
        except sqlite3.OperationalError:  # not there yet
            return False

    killed_when(edgenas.start(*edgenas.whole(folder)), trained)
    assert not (folder / "checkpoints" / "36").exists()
    killed_when(edgenas.start(f"resume={folder}"), searched)
    assert not (folder / "summary.json").exists()
    assert len(study_of(folder)) < 20
    rows = study_of(folder)

    done = edgenas(f"resume={folder}")
    assert done.returncode == 0, done.stderr
    assert study_of(folder)[: len(rows)] == rows
    assert study_of(folder) == study_of(finished)
    assert summary_of(folder)["training"]["losses"] == summary_of(finished)["training"]["losses"]
    assert [repeatable(n) for n in summary_of(folder)["networks"]] == [
        repeatable(n) for n in summary_of(finished)["networks"]
    ]
    assert measured_by(edgenas.output, summary_of(folder)["run"], "sample") == 0


def test_a_finished_run_is_answered_at_once(edgenas, finished):
    def times():
        return {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != ".lock"}

    before = times()
    done = edgenas(f"resume={finished}")
    assert done.returncode == 0
    assert done.stdout.strip() == f"{finished} is finished; its report is {finished / 'report.html'}"
    assert times() == before


def test_one_supernet_is_searched_for_two_boards_in_a_sweep(edgenas, finished):
    sweep = edgenas.output / "sweep"
    checkpoints = {path: path.stat().st_mtime_ns for path in (finished / "checkpoints").rglob("*")}
    boards = ["stm32h743", "raspberry_pi_4"]
    rows_before = MeasurementStore(path=edgenas.output / "measurements.sqlite").count()
    done = edgenas(
        *("-m", f"supernet.from={finished}", f"target={','.join(boards)}", f"hydra.sweep.dir={sweep}"),
        *(*edgenas.search, *edgenas.settings),
    )
    assert done.returncode == 0, done.stderr
    for number, board in enumerate(boards):
        folder = sweep / str(number)
        summary = summary_of(folder)
        assert summary["target"] == board
        assert not (folder / "checkpoints").exists()
        assert summary["training"]["losses"] == summary_of(finished)["training"]["losses"]
        assert summary["predictor"] is None
        kinds = {cost["kind"] for network in summary["networks"] for cost in network["costs"]}
        assert kinds == {"modelled"}
        latencies = {c["target"] for n in summary["networks"] for c in n["costs"] if c["name"] == "latency_ms"}
        assert board in latencies
        assert (folder / "report.html").exists()
    assert MeasurementStore(path=edgenas.output / "measurements.sqlite").count() == rows_before
    assert {path: path.stat().st_mtime_ns for path in (finished / "checkpoints").rglob("*")} == checkpoints

    rows = json.loads((sweep / "sweep.json").read_text())
    assert [(row["run"], row["target"]) for row in rows] == list(zip("01", boards, strict=True))
    for row in rows:
        best = min(summary_of(sweep / row["run"])["networks"], key=lambda network: network["val_error"])
        assert row["test_accuracy"] == best["test_accuracy"]
        assert row["target"] in done.stdout


def test_wandb_keeps_an_offline_run_and_nothing_else_needs_it(edgenas, finished):
    # `finished` ran where wandb could not be imported.
    from_finished = [f"supernet.from={finished}", "target=stm32h743", *edgenas.search, *edgenas.settings]
    tracked, untracked = edgenas.output / "tracked", edgenas.output / "untracked"
    done = edgenas(*from_finished, "tracking=wandb", f"hydra.run.dir={tracked}", wandb=True)
    assert done.returncode == 0, done.stderr
    assert list((tracked / "wandb").glob("offline-run-*/*.wandb"))

    refused = edgenas(*from_finished, "tracking=wandb", f"hydra.run.dir={untracked}")
    assert refused.returncode == 2
    assert refused.stderr.startswith("edgenas: error: tracking=wandb needs the package wandb")
    assert refused.stderr.count("\n") == 1
    assert not untracked.exists()

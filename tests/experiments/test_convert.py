"""`edgenas convert ofa`: a folder that `supernet.from` searches, and one line for what cannot be."""

import json
import re

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from safetensors.numpy import save_file

from experiments.benchmarks.peers.ofa import random_state
from experiments.winner import load
from nas.checkpoint import Checkpoints
from nas.data.digits import Digits
from nas.training import Trainer, Training
from search_spaces.ofa_mobilenet import OfaMobileNet, OfaStage
from search_spaces.ofa_weights import convert, entries

SPACE = OfaMobileNet(
    image_size=12,
    image_channels=1,
    classes=10,
    resolutions=(10, 12),  # the data's and another
    stages=(OfaStage(width=8, squeeze_excite=True),),
    depths=(1, 2),
    kernels=(3, 5),
    expansions=(2, 3),
    stem_channels=8,
    first_channels=8,
    head_channels=16,
    mix_channels=16,
)
STAGE = "{_target_: search_spaces.ofa_mobilenet.OfaStage, width: 8, stride: 2, squeeze_excite: true, activation: relu}"
SETTINGS = [
    *("data.image_size=12", "data.limit=96", "training.epochs=6", "training.batch=16"),
    *(f"search_space.stages=[{STAGE}]", "search_space.resolutions=[10,12]", "search_space.depths=[1,2]"),
    *("search_space.kernels=[3,5]", "search_space.expansions=[2,3]", "search_space.stem_channels=8"),
    *("search_space.first_channels=8", "search_space.head_channels=16", "search_space.mix_channels=16"),
]


@pytest.fixture(scope="module")
def state():
    return random_state(entries(SPACE), seed=0)


@pytest.fixture
def weights(state, tmp_path):
    save_file(state, tmp_path / "weights.safetensors")
    return str(tmp_path / "weights.safetensors")


def test_the_folder_holds_the_weights_as_a_training_that_has_ended(main, weights, state, tmp_path, capsys):
    main(["convert", "ofa", weights, str(tmp_path / "out"), *SETTINGS])
    assert f"{len(state)} entries fit" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "overrides.json").read_text()) == ["search_space=ofa_mobilenet", *SETTINGS]
    trainer = Trainer(SPACE, Training(epochs=6, batch=16), Digits(image_size=12, limit=96).load())
    with Checkpoints(tmp_path / "out" / "checkpoints", create=False) as checkpoints:
        kept = checkpoints.restore(trainer.init(jax.random.key(1)))
    assert int(kept.step) == trainer.steps > 0
    expected = nnx.split(convert(SPACE, state)[0])[1]
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(kept.params), jax.tree.leaves(expected))


def test_a_space_that_was_named_is_kept_once(main, weights, tmp_path):
    given = [*SETTINGS, "search_space=ofa_mobilenet"]
    main(["convert", "ofa", weights, str(tmp_path / "out"), *given])
    assert json.loads((tmp_path / "out" / "overrides.json").read_text()) == given


@pytest.mark.slow  # the job on a converted supernet, in processes of its own
def test_a_converted_supernet_is_searched(edgenas, weights, state, tmp_path):
    folder = tmp_path / "converted"
    done = edgenas("convert", "ofa", weights, str(folder), *SETTINGS)
    assert done.returncode == 0, done.stderr
    assert f"{len(state)} entries fit" in done.stdout
    run = tmp_path / "run"
    searched = edgenas(
        f"supernet.from={folder}", *edgenas.search, *edgenas.measuring, *edgenas.settings, f"hydra.run.dir={run}"
    )
    assert searched.returncode == 0, searched.stderr
    assert f"converted weights, from {folder / 'checkpoints'}" in searched.stdout
    assert "trained to epoch" not in searched.stdout
    summary = json.loads((run / "summary.json").read_text())
    assert max(network["masked_max_abs_diff"] for network in summary["networks"]) < 1e-4
    assert max(network["onnx_max_abs_diff"] for network in summary["networks"]) < 1e-4
    for network in summary["networks"]:  # used from its folder, it sees images as it was tested
        winner = load(run / network["folder"])
        side = network["options"]["resolution"]
        assert winner.prepare(Image.new("L", (8, 8), 128)).shape == (1, side, side, 1)
    nothing = {"epochs": 0, "steps": 0, "final_loss": None, "losses": []}
    assert {name: summary["training"][name] for name in nothing} == nothing
    assert "converted from elsewhere" in (run / "report.html").read_text()
    # the same state again is what a folder in use is refused for
    again = edgenas("convert", "ofa", weights, str(folder), *SETTINGS)
    assert again.returncode == 2
    assert again.stderr.strip() == f"edgenas: error: `{folder}` is in use; name a new folder"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say edgenas convert ofa <weights"),
        (["ofa", "w.npz"], "say edgenas convert ofa <weights"),
        (["timm", "w.npz", "out"], "say edgenas convert ofa <weights.* got `convert timm w.npz out`"),
        (["ofa", "w.npz", "data.limit=96", "out"], "got `convert ofa w.npz data.limit=96 out`"),
        (["ofa", "data.limit=96", "out", "w.npz"], "got `convert ofa data.limit=96 out w.npz`"),
        (["ofa", "./lr=1/absent.npz", "out"], r"absent.npz` cannot be used \(No such file or directory\)"),
        (["ofa", "absent.npz", "out"], r"`absent.npz` cannot be used \(No such file or directory\)"),
        (["ofa", "weights.pth", "out"], "saved as .safetensors or .npz, got `weights.pth`; for a .pth there is"),
        (["ofa", "w.npz", "out", "search_space.width_mul=1.2"], "no setting `search_space.width_mul`; did you mean"),
    ],
)
def test_what_cannot_be_converted_is_refused_in_one_line(refused, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    line = refused("convert", *arguments)
    assert re.search(message, line), line
    assert not (tmp_path / "out").exists()


def test_weights_of_another_space_are_refused(refused, weights, tmp_path):
    line = refused("convert", "ofa", weights, str(tmp_path / "out"), *SETTINGS, "search_space.width_mults=[2.0]")
    assert "entry `" in line
    assert "must have shape" in line
    line = refused("convert", "ofa", weights, str(tmp_path / "out"), "search_space=mobile")
    assert "weights of `ofa` are for search_space=ofa_mobilenet, got a Mobile" in line
    assert not (tmp_path / "out").exists()

"""Two processes train one supernet: the first keeps and says everything, the other nothing."""

import json
import socket

import numpy as np
import pytest


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.slow
def test_two_processes_train_one_supernet_and_the_first_goes_on(edgenas, finished, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = [
        *(*edgenas.supernet, *edgenas.search, *edgenas.measuring, *edgenas.settings, "training.mesh=all"),
        *(f"distributed.coordinator=127.0.0.1:{port}", "distributed.processes=2"),
    ]
    folders = [tmp_path / "first", tmp_path / "second"]
    first, second = (
        edgenas.start(*common, f"distributed.process={i}", f"hydra.run.dir={folder}")
        for i, folder in enumerate(folders)
    )
    _, err = first.communicate(timeout=500)
    assert first.returncode == 0, err
    out, err = second.communicate(timeout=100)
    assert second.returncode == 0, err
    assert not folders[1].exists()
    assert "edgenas" not in out

    summary = summary_of(folders[0])
    # As one process trained it: 36 steps of float32, summed in another order
    np.testing.assert_allclose(summary["training"]["losses"], summary_of(finished)["training"]["losses"], atol=2e-3)
    assert summary["training"]["execution"]["execution"] == "masked"
    assert len(summary["networks"]) > 0
    assert "distributed" not in summary["config"]
    stored = json.loads((folders[0] / "overrides.json").read_text())
    assert "training.mesh=all" in stored
    assert not any(override.startswith("distributed.") for override in stored)


def test_processes_that_do_not_fit_are_refused(refused):
    line = refused("distributed.coordinator=127.0.0.1:1", "distributed.processes=2", "training.epochs=-5")
    assert "needs `distributed.processes` and `distributed.process` too, got 2 and None" in line

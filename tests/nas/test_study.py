"""What was judged, and where the search stands, are stored together or not at all."""

import sqlite3
from typing import Any, NamedTuple

import numpy as np
import pytest

from hardware.costs.cost import Cost
from nas.objective import Judged
from nas.study import Study


class State(NamedTuple):
    population: Any
    count: Any


def judged(*arch):
    latency = Cost(name="latency_ms", value=0.1 + sum(arch), std=0.25, unit="ms", kind="predicted", target="board")
    error = Cost(name="val_error", value=1 / 3, std=None, unit="1", kind="measured", target="")
    return Judged(arch=arch, costs={"val_error": error, "latency_ms@board": latency})


def state(count):
    return State(np.arange(6, dtype=np.float32).reshape(2, 3) / 7, np.int32(count))


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path / "study.sqlite", {"predicted": "kernel regression"})


def test_what_is_stored_comes_back_as_it_was(study):
    study.commit("evolution", 1, [judged(0, 1), judged(2, 0)], state(2))
    study.commit("evolution", 2, [judged(1, 1)], state(3), finished=True)
    standing = Study(study.path).standing("evolution")
    assert standing is not None
    assert (standing.generation, standing.finished) == (2, True)
    assert standing.judged == study.judged("evolution") == [judged(0, 1), judged(2, 0), judged(1, 1)]
    for name, value in state(3)._asdict().items():
        assert np.array_equal(standing.state[name], value)
        assert standing.state[name].dtype == value.dtype


def test_searches_do_not_see_each_other(study):
    study.commit("evolution", 1, [judged(0, 1)], state(1))
    study.commit("random", 1, [judged(0, 1), judged(1, 0)], state(2))
    assert study.judged("evolution") == [judged(0, 1)]
    assert len(study.judged("random")) == 2
    assert study.standing("other") is None
    assert study.judged("other") == []


def test_a_generation_is_stored_whole_or_not_at_all(study):
    study.commit("evolution", 1, [judged(0, 1)], state(1))
    with pytest.raises(ValueError, match="cannot be used as a study"):
        study.commit("evolution", 2, [judged(5, 5), judged(0, 1)], state(2))  # the second is there already
    standing = study.standing("evolution")
    assert standing is not None
    assert standing.generation == 1
    assert standing.judged == [judged(0, 1)]
    assert standing.state["count"] == 1
    study.commit("evolution", 2, [judged(5, 5)], state(2))  # and the study is still good
    assert study.judged("evolution") == [judged(0, 1), judged(5, 5)]


def test_each_cost_says_what_made_it(study):
    study.commit("evolution", 1, [judged(0, 1)], state(1))
    connection = sqlite3.connect(study.path)
    try:
        rows = dict(connection.execute("SELECT label, source FROM costs").fetchall())
    finally:
        connection.close()
    assert rows == {"val_error": "", "latency_ms@board": "kernel regression"}


def test_a_file_that_is_no_study_is_refused(tmp_path):
    path = tmp_path / "study.sqlite"
    path.write_text("this is a note, and a long enough one not to be taken for an empty database\n" * 20)
    with pytest.raises(ValueError, match=r"study.sqlite` cannot be used as a study .*; remove it") as error:
        Study(path)
    assert "\n" not in str(error.value)
    with pytest.raises(OSError, match="cannot be written"):
        Study(tmp_path / "nowhere" / "study.sqlite")

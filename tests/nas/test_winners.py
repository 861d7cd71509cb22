"""Who wins on fronts that can be read at a glance, and what becomes of a winner."""

import jax
import numpy as np
import pytest

from hardware.costs.cost import Cost
from nas.data.digits import Digits
from nas.judge import SupernetJudge
from nas.objective import Judged, Objective
from nas.training import Trainer, Training
from nas.winners import accuracy, choose, finish, front, pieces, run
from search_spaces.layers import total_params
from search_spaces.mobile import Mobile, Stage
from search_spaces.space import smallest

ERROR, LATENCY = Objective(cost="val_error"), Objective(cost="latency_ms", target="board")


def judged(name, error, latency, params=0.0):
    values = {"val_error": error, "latency_ms@board": latency, "params": params}
    costs = {
        label: Cost(name=label, value=float(value), std=None, unit="1", kind="modelled", target="")
        for label, value in values.items()
    }
    return Judged(arch=(name,), costs=costs)


def names(networks):
    return [network.arch[0] for network in networks]


def chosen(networks):
    return {role: network.arch[0] for role, network in choose(networks, "val_error", "latency_ms@board").items()}


MANY = [judged(0, 0.1, 5.0), judged(1, 0.3, 1.0), judged(2, 0.2, 2.0), judged(3, 0.25, 2.5), judged(4, 0.2, 3.0)]


def test_a_front_has_what_no_other_beats_in_order_of_error():
    # 3 is worse than 2 in both, 4 is as wrong as 2 and slower
    assert names(front(MANY, [ERROR, LATENCY])) == [0, 2, 1]
    assert names(front(MANY, [LATENCY, ERROR])) == [1, 2, 0]
    assert names(front(MANY[:1], [ERROR, LATENCY])) == [0]


def test_only_what_keeps_the_bounds_is_on_the_front():
    assert names(front(MANY, [ERROR, Objective(cost="latency_ms", target="board", bound=2.5)])) == [2, 1]
    small = [judged(0, 0.1, 5.0, 100), judged(1, 0.3, 1.0, 10)]
    assert names(front(small, [ERROR, LATENCY, Objective(cost="params", bound=50.0, minimised=False)])) == [1]


def test_without_a_feasible_network_it_says_how_near_they_came():
    bound = Objective(cost="latency_ms", target="board", bound=0.5)
    with pytest.raises(
        ValueError,
        match=r"none of 5 judged networks keeps all bounds: latency_ms@board at most 0.5 \(lowest judged: 1\)",
    ) as error:
        front(MANY, [ERROR, bound])
    assert "\n" not in str(error.value)


def test_the_ends_and_the_middle_of_a_front_win():
    # Times 1, 10, 100 are 0, 1/2, 1 on the log scale; errors 0.5, 0.2, 0.1 are 1, 1/4, 0 of their range. From the
    # ideal corner they are 1, 0.56 and 1 away.
    three = [judged(0, 0.5, 1), judged(1, 0.2, 10), judged(2, 0.1, 100)]
    assert chosen(three) == {"fastest": 0, "balanced": 1, "most accurate": 2}
    # One at 31.6 ms (3/4) with 0.18 (0.2) is 0.78 away: no nearer. One at 3.16 ms (1/4) with 0.25 (0.375) is: 0.45.
    assert chosen([*three, judged(3, 0.18, 31.6)])["balanced"] == 1
    assert chosen([*three, judged(4, 0.25, 3.16)])["balanced"] == 4
    assert list(chosen(three)) == ["fastest", "balanced", "most accurate"]


def test_a_short_front_has_fewer_roles():
    assert chosen([judged(0, 0.5, 1), judged(1, 0.1, 9)]) == {"fastest": 0, "most accurate": 1}
    assert chosen([judged(0, 0.5, 1)]) == {"fastest": 0}


def test_no_network_has_two_roles():
    # equal costs: each role still gets a network of its own
    assert sorted(chosen([judged(i, 0.5, 1) for i in range(4)]).values()) == [0, 1, 2]


def test_accuracy_and_pieces_by_hand():
    logits = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [5.0, 4.0]])
    assert accuracy(logits, np.array([1, 0, 0, 1])) == 0.5
    images = np.arange(7.0).reshape(7, 1)
    assert [len(piece) for piece in pieces(images, 3)] == [3, 3, 1]
    assert np.array_equal(np.concatenate(pieces(images, 3)), images)


@pytest.mark.slow  # trains and judges
def test_a_winner_is_tuned_extracted_and_tested():
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        space = Mobile(
            image_size=8,
            stages=(Stage(widths=(8, 16), depths=(1, 2)),),
            kernels=(3,),
            expansions=(1,),
            head_channels=16,
        )
        data = Digits(image_size=8, limit=300).load()
        trainer = Trainer(space, Training(batch=30), data)
        judge = SupernetJudge(space, data, jax.random.key(0), calibration_images=64)
        params = trainer.init(jax.random.key(0)).params
        arch = smallest(space)
        inherited = judge(trainer.network(params), arch)
        as_is, tuned, spoiled = (
            finish(trainer, judge, params, arch, jax.random.key(1), epochs=epochs, learning_rate=rate)
            for epochs, rate in ((0, 1e-2), (2, 2e-2), (1, 100.0))
        )
        answers = run(as_is.extracted, np.asarray(judge.images))
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
    assert not as_is.fine_tuned
    assert as_is.val_error == float(inherited.val_error)
    assert as_is.val_error == pytest.approx(1 - accuracy(answers, data.val.labels), abs=1e-6)
    assert as_is.test_accuracy == as_is.inherited_test_accuracy == accuracy(as_is.logits, data.test.labels)
    # Two epochs from random weights help; a step of a hundred does not, so it is dropped.
    assert tuned.fine_tuned
    assert tuned.test_accuracy > as_is.test_accuracy + 0.1
    assert tuned.inherited_test_accuracy == as_is.test_accuracy
    assert not spoiled.fine_tuned
    assert np.array_equal(spoiled.logits, as_is.logits)
    for finished in (as_is, tuned, spoiled):
        assert finished.masked_max_abs_diff < 1e-4
        assert finished.logits.shape == (len(data.test.labels), 10)
        count = sum(np.size(leaf) for leaf in jax.tree.leaves(finished.extracted.network))
        assert count == total_params(space.layers(arch))
    assert trainer.traces == judge.traces == 1

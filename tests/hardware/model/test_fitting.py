"""The fitted latency model: what it counts, that a fit finds what made the times, that nothing left out leaks in."""

import dataclasses

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from experiments.build import build
from experiments.options import tree
from hardware.costs.precision import Precision
from hardware.model import fitting
from hardware.model.fitted import Fitted
from hardware.model.fitting import PRIOR, SPREADS, Evidence, Spread, families_out, fit
from hardware.model.work import TERMS, work
from search_spaces.graph import Graph
from search_spaces.networks import NAMED


@pytest.fixture(scope="module")
def device():
    return build(tree("device", "raspberry_pi_4"))


def amounts(layers):
    return dict(zip(TERMS, work(layers), strict=True))


def test_the_work_of_two_kernels_by_hand():
    graph = Graph((8, 8, 3))
    x = graph.conv(0, 16, "a", 3, 2)  # to 4x4x16: 4*4*16 * 27 MACs
    x = graph.activation(x, "swish")  # runs inside
    graph.depthwise(x, "b", 5)  # 4*4*16 * 25 MACs
    counted = amounts(graph.layers)
    macs, deep = 4 * 4 * 16 * 27, 4 * 4 * 16 * 25
    wanted = dict.fromkeys(TERMS, 0.0) | {
        "tap_macs": macs / 9,
        "window_macs": macs,
        "direct_macs": macs,  # stride 2: no Winograd
        "image_macs": macs,
        "sums": macs / 3,
        "spreads": macs / 16,
        "depthwise_macs": deep,
        "depthwise_5_macs": deep,
        "smooth_values": 256,
        "depthwise_values": 256 + 256,
        "product_values": 192 + 256,
        "weights": 27 * 16,
        "window_weights": 27 * 16,
        "calls": 2,
    }
    assert counted == pytest.approx(wanted)


def test_groups_are_calls_and_copies_are_read_and_written():
    graph = Graph((4, 4, 8))
    x = graph.conv(0, 8, "a", groups=4)
    graph.concat((x, 0))  # 4*4*16 values
    counted = amounts(graph.layers)
    assert (counted["calls"], counted["group_calls"]) == (2, 3)
    assert counted["grouped_macs"] == 4 * 4 * 8 * 2
    assert counted["copied_values"] == 2 * 4 * 4 * 16
    assert counted["sums"] == 4 * 4 * 8  # each output's sum, once


def test_no_term_falls_as_a_network_grows():
    def network(width=16, kernel=3, size=16, deep=1):
        graph = Graph((size, size, 3))
        x = graph.activation(graph.norm(graph.conv(0, width, "a", kernel), "a_norm", 1e-5), "relu")
        for i in range(deep):
            x = graph.norm(graph.depthwise(x, f"b{i}", kernel), f"b{i}_norm", 1e-5)
            x = graph.sum(x, graph.conv(x, width, f"c{i}", kernel))
        graph.dense(graph.global_pool(x), 10, "head")
        return work(graph.layers)

    for name, values in {
        "width": range(1, 40),
        "kernel": (1, 3, 5, 7),
        "size": (1, 2, 3, 4, 8, 16, 300),
        "deep": (1, 2, 5),
    }.items():
        grown = np.stack([network(**{name: value}) for value in values])
        assert (np.diff(grown, axis=0) >= 0).all(), name


def test_attention_is_counted_too():
    counted = amounts(NAMED["deit_t"]().layers())
    # DeiT-Tiny has 1.08 G multiply-accumulates without attention's own products and 1.26 G with them (timm)
    patches = 196 * 768 * 192
    assert counted["window_macs"] == patches
    assert counted["tap_macs"] + patches * 255 / 256 == pytest.approx(1.25e9, rel=0.02)
    assert counted["smooth_values"] == 12 * 197 * 768  # GELU


def evidence(rows, groups=1, noise=0.0, seed=0):
    """Times that made-up costs gave, one device a group, of networks that ask for something of all terms."""
    draw = np.random.default_rng(seed)
    costs = PRIOR + draw.normal(0, 0.5, PRIOR.shape)
    amount = draw.lognormal(0, 1.5, (rows, len(PRIOR))) / np.exp(PRIOR)
    group = np.arange(rows) % groups
    scale = draw.normal(0, 1.0, groups)
    times = np.log((np.exp(costs + scale[group, None]) * amount).sum(1)) + draw.normal(0, noise, rows)
    labels = np.zeros((rows, 6), int)
    labels[:, -1] = group
    return (
        costs,
        scale,
        Evidence(work=amount, log_ms=times, labels=labels, network=np.arange(rows), doubt=np.ones(rows)),
    )


FREE = Spread(levels=dict.fromkeys(SPREADS[0].levels, 0.5) | {"group": 1e-6}, network=1e-6, noise=1e-6)


def test_the_fit_finds_the_costs_of_a_made_up_device():
    costs, scale, known = evidence(rows=200, groups=2)
    found = fit(known, (FREE,)).log_costs(np.array([[0] * 5 + [0], [0] * 5 + [1]]))
    np.testing.assert_allclose(found, costs + scale[:, None], atol=0.1)


def test_few_times_of_a_device_are_helped_by_devices_like_it():
    costs, scale, known = evidence(rows=203, groups=2)
    few = known.where((known.labels[:, -1] == 0) | (np.arange(203) < 6))  # 3 times of the second device
    found = fit(few, (FREE,)).log_costs(np.array([[0] * 5 + [1]]))[0]
    alone = fit(few.where(few.labels[:, -1] == 1), (FREE,)).log_costs(np.array([[0] * 5 + [1]]))[0]
    wanted = costs + scale[1]
    assert np.abs(found - wanted).max() < 0.15
    assert np.abs(alone - wanted).max() > 0.5


def test_what_was_left_out_does_not_matter():
    _, _, known = evidence(rows=24, groups=2, noise=0.05)
    families = np.arange(24) // 2 % 4
    absurd = dataclasses.replace(known, log_ms=np.where(families == 2, known.log_ms + 7.0, known.log_ms))
    honest, poisoned = (families_out(each, families) for each in (known, absurd))
    np.testing.assert_array_equal(honest[families == 2], poisoned[families == 2])
    assert not np.allclose(np.log(honest[families != 2]), np.log(poisoned[families != 2]), atol=0.1)


def test_a_fit_does_not_wait_for_threads(monkeypatch):
    _, _, known = evidence(rows=6)
    threads, factor = [], fitting.cho_factor

    def watched(*arguments, **settings):
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return factor(*arguments, **settings)

    monkeypatch.setattr(fitting, "cho_factor", watched)
    fit(known, (FREE,))
    assert set(threads) == {1}


def test_what_cannot_be_fitted_or_judged_is_refused():
    _, _, known = evidence(rows=6)
    with pytest.raises(ValueError, match="of one family only"):
        families_out(known, np.zeros(6, int))
    with pytest.raises(ValueError, match="there are none"):
        fit(known.where(np.zeros(6, bool)), (FREE,))
    with pytest.raises(ValueError, match="`levels` must name all, unit"):
        Spread(levels={"all": 1.0})


MODEL = Fitted(
    measured_on="a board (a chip), some runtime, fp32",
    precisions=("fp32",),
    threads=1,
    costs_ns=dict.fromkeys(TERMS, 0.0) | {"tap_macs": 2.0, "calls": 1000.0},
    rows=6,
    families=2,
    median_ape=0.1,
    kendall=0.9,
    relative_std=0.2,
)


def test_a_fitted_models_time_by_hand(device):
    graph = Graph((2, 2, 3))
    graph.conv(0, 4, "a")
    # 48 MACs of 2 ns and a call of 1000 ns
    assert MODEL.latency_ms(device, graph.layers, "fp32", 1) == pytest.approx(1096e-6)


def test_a_fitted_model_holds_for_what_was_measured_only(device):
    layers = NAMED["resnet_8"]().layers()
    others: tuple[tuple[Precision, int], ...] = (("int8", 1), ("fp32", 4))
    for precision, threads in others:
        with pytest.raises(
            ValueError, match=rf"is of fp32 and 1 threads, not of {precision} and {threads}; use.*typical_cpu`"
        ):
            MODEL.latency_ms(device, layers, precision, threads)
    with pytest.raises(ValueError, match=r"missing \['calls'\]"):
        dataclasses.replace(MODEL, costs_ns={name: cost for name, cost in MODEL.costs_ns.items() if name != "calls"})
    with pytest.raises(ValueError, match=r"`costs_ns.calls` must be 0 or more, got -1"):
        dataclasses.replace(MODEL, costs_ns={**MODEL.costs_ns, "calls": -1.0})

"""What every target in the settings obeys: it builds, it models costs that make sense, its limits bind the search."""

import math
from itertools import pairwise

import numpy as np
import pytest

from experiments.build import build
from experiments.options import names
from experiments.settings import objectives_of
from experiments.target_settings import option_tree
from hardware.target import Target
from search_spaces.mobile import Mobile, Stage
from search_spaces.space import largest, option_counts, smallest

NAMES = names("target")
HERE = {"host_cpu", "host_cpu_int8", "host_cpu_litert"}
SPACE = Mobile(
    image_size=16,
    stages=(Stage(widths=(8, 16), depths=(1, 2), stride=2, activation="hard_swish"),),
    kernels=(3, 5),
    expansions=(2, 4),
)
NOTHING = {"bound": None, "minimised": False}
ERROR_ONLY = {"val_error": {"bound": None, "minimised": True}, "peak_bytes": NOTHING, "flash_bytes": NOTHING}


@pytest.fixture(params=NAMES, scope="module")
def target(request):
    return build(option_tree("target", request.param))


def test_its_name_is_its_files():
    for name in NAMES:
        assert option_tree("target", name)["name"] == name


def test_its_costs_are_finite_modelled_and_its_own(target):
    assert isinstance(target, Target)
    costs = target.modelled(SPACE.layers(largest(SPACE)))
    assert {"peak_bytes", "flash_bytes"} <= set(costs)
    assert ({"latency_ms", "energy_mj"} <= set(costs)) == (target.device is not None)
    for name, cost in costs.items():
        assert (cost.name, cost.kind, cost.target) == (name, "modelled", target.name)
        assert math.isfinite(cost.value)
        assert cost.value > 0
    assert target.measurable or target.device is not None  # or there would be no latency at all


def test_more_network_never_costs_less(target):
    def costs(arch):
        return {name: cost.value for name, cost in target.modelled(SPACE.layers(arch)).items()}

    for start in (smallest(SPACE), largest(SPACE)):
        for gene, count in enumerate(option_counts(SPACE)):
            rows = []
            for option in range(count):
                arch = np.array(start)
                arch[gene] = option
                rows.append(costs(arch))
            for less, more in pairwise(rows):
                assert all(less[name] <= more[name] for name in less), SPACE.choices[gene].name


def test_its_limits_are_bounds_of_the_search(target):
    assert target.limits.get("peak_bytes") == target.sram_bytes
    assert target.limits.get("flash_bytes") == target.flash_bytes
    bounds = {o.label: o.bound for o in objectives_of(ERROR_ONLY, target, target) if o.bound is not None}
    assert bounds == {f"{cost}@{target.name}": limit for cost, limit in target.limits.items()}


def test_networks_are_measured_on_this_machine_or_on_a_board(target):
    assert target.measurable == (target.name in HERE or target.board is not None)

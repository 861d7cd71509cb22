"""A cost carries its label; nonsense is refused where it enters."""

import json

import pytest

from hardware.costs.cost import Cost


def test_a_cost_survives_json():
    cost = Cost(name="latency_ms", value=1.5, std=0.1, unit="ms", kind="measured", target="host_cpu")
    assert Cost(**json.loads(json.dumps(cost.to_dict()))) == cost


@pytest.mark.parametrize(
    ("value", "std"), [(float("nan"), None), (float("inf"), None), (1.0, -1.0), (1.0, float("nan"))]
)
def test_a_cost_that_is_no_number_is_refused(value, std):
    with pytest.raises(ValueError, match="latency_ms"):
        Cost(name="latency_ms", value=value, std=std, unit="ms", kind="measured", target="host_cpu")

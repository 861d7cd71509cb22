"""Named networks are networks, not tables of numbers: of most modules one takes a step and answers alike exported.

All of them: `python -m experiments.benchmarks.counts --train`.
"""

import math
import pkgutil

import jax
import pytest

from experiments.benchmarks.named_training import step_and_export
from search_spaces import networks

TRAINED = {  # by module, what compiles fastest; 2 to 10 s each on one core
    "alexnet": "alexnet",
    "fbnet": "fbnet_96",
    "googlenet": "inception_v1",
    "mlperf_tiny": "resnet_8",
    "mobilenet_v1": "mobilenet_v1",
    "mobilenet_v3": "mobilenet_v3_small_minimalistic",
    "nas_bench_201": "nas_bench_201_1835",
    "regnet": "regnety_200mf",
    "resnet": "resnet_18",
    "squeezenet": "squeezenet_1.0",
    "vgg": "vgg_16",
}
# Their blocks are those of the others, or else trained by the contracts of their spaces; a compile of 10 to 60 s.
LONG = {
    *("autoformer", "darts", "efficientnet", "ghostnet", "mcunet", "mnasnet", "mobilenet_v2", "ofa", "proxylessnas"),
    *("shufflenet_v1", "shufflenet_v2", "vit"),
}


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.slow  # a compile for each network
@pytest.mark.parametrize("name", TRAINED.values())
def test_a_named_network_takes_a_step_and_answers_alike_once_exported(name):
    step = step_and_export(name)
    assert 0 < step.loss_after < step.loss < math.inf
    assert step.differs < 1e-3


def test_every_module_of_networks_is_trained_here_or_by_the_benchmark():
    modules = {info.name for info in pkgutil.iter_modules(networks.__path__)} - {"point"}
    assert modules == TRAINED.keys() | LONG

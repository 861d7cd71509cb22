"""Named networks are networks, not tables of numbers: one of each module takes a step and answers alike exported.

The rest: `python -m experiments.benchmarks.counts --train`.
"""

import pkgutil
from importlib import import_module

import jax
import pytest

from experiments.benchmarks.named_training import step_and_export
from search_spaces import networks

MOST_LAYERS = 150  # compiling more than these takes minutes: DARTS's cells are trained by the benchmark only


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def shortest():
    """Of each module the network of the fewest layers."""
    for info in pkgutil.iter_modules(networks.__path__):
        made = getattr(import_module(f"{networks.__name__}.{info.name}"), "NETWORKS", {})
        lengths = {name: len(make().layers()) for name, make in made.items()}
        name = min(lengths, key=lengths.__getitem__, default=None)
        if name is not None and lengths[name] <= MOST_LAYERS:
            yield name


@pytest.mark.slow  # a compile for each network
@pytest.mark.parametrize("name", list(shortest()))
def test_a_named_network_takes_a_step_and_answers_alike_once_exported(name):
    step = step_and_export(name)
    assert 0 < step.loss_after < step.loss < 100
    assert step.differs < 1e-3

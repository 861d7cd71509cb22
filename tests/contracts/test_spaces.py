"""What every space obeys; first of all the promise: masked, cut, extracted and exported networks answer alike.

The contracts themselves are `nas/contracts/`, which `edgenas check` runs over anyone's space too.
"""

import jax
import jax.numpy as jnp
import pytest

from nas.contracts import CONTRACTS
from nas.contracts.case import Case
from nas.contracts.contract import NotApplicable
from nas.contracts.counts import MASK_MAKERS, multiplied, primitives, product_flops
from search_spaces import EXAMPLES
from search_spaces.layers import total_macs
from search_spaces.named import named
from search_spaces.reading import masked
from search_spaces.static import fixed_of

SLOW = {
    "a_key_decides_the_parameters",
    "extracted_networks_answer_as_masked_ones",
    "a_population_runs_at_once",
    "cut_networks_answer_and_learn_as_masked_ones",
    "relaxed_architectures_have_gradients_for_every_choice",
    "sliced_networks_answer_and_learn_as_masked_ones",
    "one_compile_serves_all",
}
"""What compiles programs of its own."""


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    """Equality does not hang on the compiler's optimisations, which take most of its time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


NAMES = [type(space).__name__ for space in EXAMPLES]
NAMES = [name if name not in NAMES[:i] else f"{name}{NAMES[:i].count(name) + 1}" for i, name in enumerate(NAMES)]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(space, id=name, marks=pytest.mark.xdist_group(f"contracts of {name}"))
        for name, space in zip(NAMES, EXAMPLES, strict=True)
    ],
)
def case(request):
    """A space; in several processes, its contracts stay together: they share what they compile."""
    return Case(request.param)


@pytest.mark.parametrize(
    "contract",
    [pytest.param(each, marks=[pytest.mark.slow] * (each.__name__ in SLOW)) for each in CONTRACTS],
    ids=lambda contract: contract.__name__,
)
def test_it_keeps(case, contract):
    try:
        contract(case)
    except NotApplicable as nothing:
        pytest.skip(str(nothing))


def test_the_counters_see_masks_and_the_channels_that_are_off(case):
    """Else that extracted networks have neither would say nothing."""
    if not case.space.choices:
        pytest.skip("it has no choices")
    arch = case.archs[-1]
    fixed, image = fixed_of(case.space, arch), case.seen(arch, jnp.zeros((1, *case.shape)))
    whole = jax.make_jaxpr(lambda arch: case.supernet(masked(case.space, arch, fixed), image))(jnp.asarray(arch)).jaxpr
    assert MASK_MAKERS & primitives(whole) - {"convert_element_type"}
    assert multiplied(whole) >= total_macs(case.layers[-1])  # and masks of widths and kernels are products themselves


@jax.custom_vjp
def _clipped(x, limit):
    return jnp.where(x > limit, limit, x) * jnp.ones(3) @ jnp.ones((3, 2))


_clipped.defvjp(lambda x, limit: (_clipped(x, limit), (x, limit)), lambda kept, cotangent: kept)


def test_a_custom_gradient_is_no_depthwise_convolution():
    """Somebody's own function is counted by what is in it: 5 x 5 rows of 3 numbers to 2 here, and a comparison."""
    jaxpr = jax.make_jaxpr(_clipped)(jnp.ones((5, 5, 3)), jnp.ones((5, 5, 3))).jaxpr
    assert multiplied(jaxpr) == product_flops(jaxpr) / 2 == 5 * 5 * 3 * 2
    assert "gt" in primitives(jaxpr)


def test_named_layers_are_no_masks_but_their_products_count():
    """A layer function may compare; and what its name hides is multiplied all the same."""

    def run(x):
        return jnp.where(x > 0, x, 0.0) @ jnp.ones((3, 2))

    for function, makes_masks in ((run, True), (named("Softmax", run), False)):
        jaxpr = jax.make_jaxpr(function)(jnp.ones((1, 3))).jaxpr
        assert bool(MASK_MAKERS & primitives(jaxpr)) == makes_masks
        assert multiplied(jaxpr) == 3 * 2

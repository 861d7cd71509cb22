"""Each contract catches a space that is broken in exactly that way, and says what differs and how to mend it."""

from dataclasses import dataclass, replace
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas import contracts
from nas.contracts.case import Case
from nas.contracts.check import findings
from nas.contracts.contract import ContractError, NotApplicable, require_close
from search_spaces.assembly import Fixed, Place, layers, supernet
from search_spaces.blocks.stretches import Classifier, conv_norm
from search_spaces.layers import Activation, Conv, Norm
from search_spaces.network import Network
from search_spaces.reading import Cut
from search_spaces.space import Choice, check_arch
from search_spaces.widths import Width


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@dataclass(frozen=True, kw_only=True)
class First:
    """A convolution of elastic width and kernel."""

    def __call__(self, b, x):
        return conv_norm(b, x, "conv", Width((2, 4), ("outs",)), (1, 3), activation="relu")


@dataclass(frozen=True, kw_only=True)
class Second(First):
    """One more, which may be absent; `then` follows it."""

    then: object = None

    def __call__(self, b, x):
        h = conv_norm(b, x, "conv", x.width, (1, 3), activation="relu")
        return self.then(b, h) if self.then else h


@dataclass(frozen=True, kw_only=True)
class Toy:
    """Width and kernel of a first block, kernel of a second one that may be absent. Sound, until `then` breaks it."""

    then: object = None
    image_size: int = 5
    image_channels: int = 1

    @cached_property
    def choices(self):
        return (
            Choice(name="width", options=(2, 4)),
            Choice(name="kernel", options=(1, 3)),
            Choice(name="second", options=(False, True)),
            Choice(name="second.kernel", options=(1, 3), requires=("second", 1)),
        )

    @cached_property
    def places(self):
        own = (("outs", "width"), ("kernel", "kernel"))
        second = Place(recipe=Second(then=self.then), choices=(("kernel", "second.kernel"),), when=("second", 1))
        return (Place(recipe=First(), choices=own), second, Place(recipe=Classifier(classes=3)))

    def supernet(self, key):
        return supernet(key, self.places, 1)

    def layers(self, arch):
        return layers(self.places, (5, 5, 1), Cut.of(self.choices, check_arch(self, arch)))


def with_layers(change):
    """A toy whose `layers` say something else of those of one kind."""

    class Changed(Toy):
        def layers(self, arch):
            return tuple(change(layer) for layer in super().layers(arch))

    return Changed()


def with_choices(*choices):
    """A toy with further choices, or others in the place of its own of the same name."""

    class Changed(Toy):
        @cached_property
        def choices(self):
            found = {choice.name: choice for choice in (*super().choices, *choices)}
            return tuple(found.values())

    return Changed()


class Boundless(Toy):
    """Takes any row."""

    def layers(self, arch):
        return super().layers(np.asarray(arch)[:4] % 2)


class Rounding(Toy):
    """Takes rows that aren't integers, too short ones and those below 0."""

    def layers(self, arch):
        row = np.nan_to_num(np.asarray(arch, float)).astype(np.int32)
        if len(row) > 4 or (row > 1).any():
            raise ValueError("no architecture")
        return super().layers(np.resize(np.abs(row), 4) % 2)


class Keyless(Toy):
    """Ignores its key."""

    def supernet(self, key):
        return super().supernet(jax.random.key(0))


class Fickle(Toy):
    """Draws another key each time."""

    def supernet(self, key):
        CALLS.append(1)
        return super().supernet(jax.random.fold_in(key, len(CALLS)))


class Averaged(Network):
    """Cut parameters of several axes are mixed with those behind them."""

    def cut(self, read):
        found = super().cut(read)
        return jax.tree.map(lambda leaf: leaf + (self.spread() if leaf.ndim > 1 else 0), found)

    def spread(self):
        return sum(leaf.sum() for leaf in jax.tree.leaves(self.blocks))


class Mixing(Toy):
    """Its resolution is a static choice, which shapes no parameter."""

    @cached_property
    def choices(self):
        return (*super().choices, Choice(name="resolution", options=(5,), static=True))

    def supernet(self, key):
        whole = super().supernet(key)
        return Averaged(whole.slots, whole.blocks)


class Blind(Toy):
    """Its head reads nothing."""

    @cached_property
    def places(self):
        def blank(b, x):
            x = b.zeros(x)
            return b.dense(b.global_pool(x), "classifier", 3)

        return (*super().places[:2], Place(recipe=blank))


CALLS = []


def forgetful(b, x):
    def run(array):
        CALLS.append(1)
        return array * len(CALLS)

    return b.function([x], x.width, run=run, write=lambda graph, at: at)


def leaking(b, x):
    """Adds 1 to channels that are off as well, and says they are clean."""
    return b.function([x], x.width, run=lambda array: array + 1, write=lambda graph, at: at)


def comparing(b, x):
    return b.function([x], x.width, run=lambda array: jnp.where(array > 0, array, 0), write=lambda graph, at: at)


def exploding(b, x):
    return b.function([x], x.width, run=lambda array: array / 0, write=lambda graph, at: at)


def kinder(layer):
    return replace(layer, kind="hard_swish") if isinstance(layer, Activation) else layer


def wider(layer):
    return replace(layer, in_channels=layer.in_channels + 1) if isinstance(layer, Conv) else layer


def larger(layer):
    return replace(layer, kernel=5) if isinstance(layer, Conv) else layer


def renamed(layer):
    return replace(layer, path=layer.path + "s") if isinstance(layer, Norm) else layer


@dataclass(frozen=True)
class Nameless:
    size: int

    def __repr__(self):
        return object.__repr__(self)


HIDDEN = Choice(name="hidden", options=(1, 2))

BROKEN = [
    ("layers_follow_one_from_the_other", with_layers(wider), "which is no way to Conv"),
    ("a_later_option_never_costs_less", with_choices(HIDDEN), "`hidden` from 1 to 2 changes no layer, though it has"),
    ("json_round_trips", with_choices(Choice(name="hidden", options=(Nameless(1), Nameless(2)))), "JSON|address"),
    ("the_supernet_answers", Toy(then=exploding), "logits are not finite"),
    ("a_key_decides_the_parameters", Keyless(), "two keys give the same parameters; draw parameters from the key"),
    ("a_key_decides_the_parameters", Fickle(), "one key gives other parameters when it is asked again"),
    ("logits_tell_architectures_and_images_apart", Blind(), "differ by"),
    ("what_is_no_architecture_is_refused", Boundless(), "`layers` takes .* for an architecture; begin `layers`"),
    ("what_is_no_architecture_is_refused", Rounding(), "`layers` takes .* for an architecture; begin `layers`"),
    ("extracted_networks_answer_as_masked_ones", Toy(then=leaking), "extracted logits differ from masked ones by"),
    ("cut_networks_answer_and_learn_as_masked_ones", Toy(then=leaking), "cut logits differ from masked ones by"),
    ("sliced_networks_answer_and_learn_as_masked_ones", Toy(then=leaking), "sliced logits differ from masked ones by"),
    ("exported_networks_answer_as_masked_ones", with_layers(kinder), "exported logits differ from masked ones by"),
    ("extracted_networks_hold_the_parameters_that_layers_say", with_layers(larger), "parameters, `layers` say"),
    ("extracted_networks_hold_the_parameters_that_layers_say", with_layers(renamed), "conv_norms?.bias"),
    ("extracted_networks_hold_the_parameters_that_layers_say", Mixing(), "network are made of .* of the supernet"),
    ("extracted_networks_multiply_what_layers_say", with_layers(larger), "multiplies .* times for an image"),
    ("extracted_networks_have_no_mask", Toy(then=comparing), "`gt`.* of which masks are made"),
    ("traced_networks_have_the_layers_that_the_space_writes", with_layers(kinder), "kind='hard_swish'"),
    ("the_compiler_counts_the_same", with_layers(larger), "XLA counts"),
    ("relaxed_architectures_have_gradients_for_every_choice", with_choices(HIDDEN), "no option of `hidden`"),
    ("a_population_runs_at_once", Toy(then=forgetful), "under `vmap` differ"),
    ("one_compile_serves_all", Toy(then=exploding), "gives the loss nan"),
]


def of(name):
    return next(contract for contract in contracts.CONTRACTS if contract.__name__ == name)


@pytest.mark.slow  # a compile or two for each
@pytest.mark.parametrize(("name", "space", "reason"), BROKEN, ids=lambda value: value if isinstance(value, str) else "")
def test_it_is_caught(name, space, reason):
    with pytest.raises(ContractError, match=reason) as caught:
        of(name)(Case(space))
    assert str(caught.value) == f"{caught.value.reason}; {caught.value.mend}"
    assert "\n" not in caught.value.reason + caught.value.mend


def test_options_that_stand_in_no_order_of_cost_are_caught():
    class Reversed(Toy):
        def layers(self, arch):
            return super().layers(np.where(np.arange(4) == 1, 1 - np.asarray(arch), arch).astype(np.int32))

    with pytest.raises(ContractError, match=r"`kernel` from 1 to 3 lowers MACs from .*; order its options by cost"):
        contracts.a_later_option_never_costs_less(Case(Reversed()))


def test_a_gene_that_should_sleep_is_caught():
    class Awake(Toy):
        """`kernel` is said to have no effect without the second block; it has."""

        @cached_property
        def choices(self):
            width, kernel, second, second_kernel = super().choices
            return width, second, replace(kernel, requires=("second", 1)), second_kernel

    with pytest.raises(ContractError, match=r"`kernel`.* should have no effect, but change layers"):
        contracts.genes_without_effect_change_nothing(Case(Awake()))


def test_a_gene_that_never_sleeps_is_caught():
    always = with_choices(Choice(name="second.kernel", options=(1, 3), requires=("second", 0)))
    with pytest.raises(ContractError, match=r"`second.kernel` requires `second` at index 0, which always holds; say"):
        contracts.genes_without_effect_change_nothing(Case(always))


def test_unhashable_settings_are_caught():
    space = Toy(then=[])
    with pytest.raises(ContractError, match=r"cannot be hashed .*; make it a frozen dataclass"):
        contracts.it_is_a_space_with_still_settings(Case(space))


def test_numbers_that_are_none_are_close_to_nothing():
    with pytest.raises(ContractError, match="a differs from b by up to nan"):
        require_close("a differs from b", [np.nan], [1.0], "mend it")
    with pytest.raises(ContractError, match=r"in shape: \(1,\), not \(2,\)"):
        require_close("a differs from b", [1.0], [1.0, 2.0], "mend it")
    require_close("a differs from b", [1.00005], [1.0], "mend it")


def test_a_network_without_choices_keeps_what_applies_to_it():
    space = Fixed(places=(Place(recipe=Simple()), Place(recipe=Classifier(classes=3))), image=(5, 5, 1))
    case, nothing = Case(space), []
    for contract in contracts.CONTRACTS:
        try:
            contract(case)
        except NotApplicable:
            nothing.append(contract.__name__)
    assert set(nothing) == {
        "a_later_option_never_costs_less",
        "encodings_round_trip",
        "genes_without_effect_change_nothing",
        "relaxed_architectures_have_gradients_for_every_choice",
    }


@dataclass(frozen=True, kw_only=True)
class Simple:
    """A convolution."""

    def __call__(self, b, x):
        return conv_norm(b, x, "conv", 4, 3, activation="relu")


def test_what_an_author_raises_is_a_finding_with_its_place():
    class Raising(Toy):
        def supernet(self, key):
            raise RuntimeError("not today")

    found = list(findings(Raising()))
    assert [each.contract for each in found] == [c.__name__.replace("_", " ") for c in contracts.CONTRACTS]
    assert {each.state for each in found[: len(contracts.CHOICES)]} == {"holds"}
    first, *waiting = found[len(contracts.CHOICES) :]
    assert (first.state, first.reason) == ("broken", "RuntimeError: not today")
    assert "test_contracts_catch.py, line " in first.mend
    assert {each.state for each in waiting} == {"not applicable"}
    assert "see `the supernet answers`" in waiting[0].reason

"""What is derived from the choices alone, held to lists short enough to write out."""

import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search_spaces.space import (
    Choice,
    active,
    canonical,
    check_arch,
    check_choices,
    largest,
    networks_by_option,
    options,
    size,
    smallest,
)


@dataclass(frozen=True)
class Toy:
    """Choices without a network."""

    choices: tuple[Choice, ...]

    def supernet(self, key):
        return None

    def layers(self, arch):
        return ()


DEPTH = Choice(name="depth", options=(1, 2, 3))
KERNEL_2 = Choice(name="block2.kernel", options=(3, 5), requires=("depth", 1))
KERNEL_3 = Choice(name="block3.kernel", options=(3, 5, 7), requires=("depth", 2))
GATE = Choice(name="block3.gate", options=(False, True), requires=("block3.kernel", 2))
WIDTH = Choice(name="width", options=(16, 24))
TOY = Toy((DEPTH, KERNEL_2, KERNEL_3, GATE, WIDTH))
SPACES = [
    TOY,
    Toy((WIDTH,)),
    Toy(()),
    Toy((DEPTH, Choice(name="only", options=("one",), requires=("depth", 1)))),
    Toy((DEPTH, Choice(name="always", options=(1, 2), requires=("depth", 0)), WIDTH)),
    Toy((WIDTH, DEPTH, Choice(name="a", options=(1, 2), requires=("width", 1)), KERNEL_2, KERNEL_3, GATE)),
]


def every_gene_row(space):
    return np.array(list(itertools.product(*(range(len(choice.options)) for choice in space.choices))), np.int32)


@pytest.mark.parametrize("space", SPACES)
def test_size_counts_the_distinct_networks(space):
    assert size(space) == len(np.unique(canonical(space, every_gene_row(space)), axis=0))


def test_size_as_counted_by_hand():
    # depth 1: 1; depth 2: 2 kernels; depth 3: 2 kernels x (3, 5, or 7 with the gate off or on) = 2 x 4; twice for width
    assert size(TOY) == (1 + 2 + 2 * 4) * 2


def test_size_is_exact_beyond_machine_integers():
    assert size(Toy(tuple(Choice(name=f"c{i}", options=(0, 1, 2)) for i in range(60)))) == 3**60


def test_networks_by_option_are_counted_by_hand():
    # depth 1, 2, 3 as above; kernel 5 of block 2 makes no more networks than kernel 3; the gate doubles kernel 7's
    assert networks_by_option(TOY) == ((1, 2, 8), (1, 1), (1, 1, 2), (1, 1), (1, 1))


@pytest.mark.parametrize("space", SPACES)
def test_canonical_rows_stay_as_they_are(space):
    rows = canonical(space, every_gene_row(space))
    assert np.array_equal(canonical(space, rows), rows)
    assert rows.dtype == np.int32


def test_a_gene_sleeps_when_any_choice_above_it_does():
    # kernel 7 (index 2) would wake the gate, but depth 2 (index 1) leaves no third block
    assert active(TOY, np.array([1, 1, 2, 1, 0])).tolist() == [True, True, False, False, True]
    assert canonical(TOY, np.array([1, 1, 2, 1, 0])).tolist() == [1, 1, 0, 0, 0]


def test_numpy_and_jax_agree_under_jit():
    rows = every_gene_row(TOY)
    assert np.array_equal(jax.jit(canonical, static_argnums=0)(TOY, jnp.asarray(rows)), canonical(TOY, rows))


def test_extremes_are_first_and_last_options():
    assert options(TOY, smallest(TOY)) == {"depth": 1, "width": 16}
    assert options(TOY, largest(TOY)) == {
        "depth": 3,
        "block2.kernel": 5,
        "block3.kernel": 7,
        "block3.gate": True,
        "width": 24,
    }


def test_options_leave_out_what_has_no_effect():
    assert options(TOY, [1, 1, 2, 1, 0]) == {"depth": 2, "block2.kernel": 5, "width": 16}


def test_check_arch_takes_lists_and_gives_int32():
    row = check_arch(TOY, [0, 0, 0, 0, 1])
    assert row.dtype == np.int32
    assert row.tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ([0, 0], "has 5 genes"),
        ([3, 0, 0, 0, 0], r"`depth` has options \(1, 2, 3\), so its index must be 0 to 2; got 3"),
        ([0, 0, 0, 0, -1], "`width` has options"),
        ([0, 0, 0, 0, 2**40], "`width` has options"),
        ([0.0, 0.0, 0.0, 0.0, float("nan")], r"holds option indices \(integers\), got float64: 0.0"),
        ([True] * 5, r"holds option indices \(integers\), got bool: True"),
        (["0"] * 5, r"holds option indices \(integers\), got <U1: '0'"),
        ([0, None, 0, 0, 0], r"holds option indices \(integers\), got object"),
        ([[0], 0, 0, 0, 0], "got rows of unequal lengths"),
        ([[0] * 5], "has 5 genes, got shape"),
    ],
)
def test_check_arch_refuses_other_rows(arch, message):
    with pytest.raises(ValueError, match=message):
        check_arch(TOY, arch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "needs distinct options, got \\(\\)"),
        ((3, "5"), r"must be of one kind, got \(3, '5'\): '5' is text, 3 is a number"),
        ((1, 2, True), r"must be of one kind, .*: True is a truth value, 1 is a number"),
        ((False, 0), r"must be of one kind, .*: 0 is a number, False is a truth value"),
        (("a", (1,)), r"must be of one kind, .*: \(1,\) is of type tuple, 'a' is text"),
        ((3, None), "has the option None, which is no value; say `none`, False or 0"),
        ((0.5, float("nan")), "has the option nan, which is no value"),
        (([3], [5]), r"must be hashable, got \[3\]; make it a tuple"),
        (({"k": 3},), "must be hashable, got {'k': 3}; make it something frozen"),
    ],
)
def test_options_of_a_wrong_type_are_refused(options, message):
    with pytest.raises(ValueError, match=message) as raised:
        Choice(name="kernel", options=options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "requires", ["a", "ab", ("a",), ("a", 0.5), ("a", True), ("a", -1), ("a", "b"), ("", 0), ("a", 0, 1), ["a", 1], 3]
)
def test_what_requires_no_option_is_refused(requires):
    choice = Choice(name="kernel", options=(3, 5))
    object.__setattr__(choice, "requires", requires)  # past the tests' check of signatures, which users don't have
    with pytest.raises(ValueError, match=r"`kernel` needs `requires` to be the name of an earlier choice") as raised:
        choice.__post_init__()
    assert str(raised.value).endswith(f'as ("depth", 1), or None, got {requires!r}')


def test_whole_and_other_numbers_are_of_one_kind():
    assert Choice(name="ratio", options=(0.25, 1, np.float32(2.5))).options == (0.25, 1, 2.5)


def test_repeated_options_are_refused():
    with pytest.raises(ValueError, match=r"did you mean \(3, 5\)"):
        Choice(name="kernel", options=(3, 5, 3))


def test_fitting_choices_pass():
    for space in SPACES:
        check_choices(space.choices)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ((DEPTH, DEPTH), "unique, got `depth` twice"),
        (
            (DEPTH, WIDTH, Choice(name="k", options=(3,), requires=("dpeth", 1))),
            "requires `dpeth`, which is not a choice; did you mean `depth`",
        ),
        ((WIDTH, KERNEL_2, DEPTH), "requires `depth`, which comes no earlier"),
        ((KERNEL_2, DEPTH), "the first choice can require none"),
        ((DEPTH, Choice(name="k", options=(3,), requires=("depth", 3))), "indices 0 to 2"),
    ],
)
def test_choices_that_do_not_fit_are_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        check_choices(choices)

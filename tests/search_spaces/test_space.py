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
    ],
)
def test_check_arch_refuses_other_rows(arch, message):
    with pytest.raises(ValueError, match=message):
        check_arch(TOY, arch)


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

"""Encodings say a network exactly: what they say decodes to its canonical row, and what says nothing is refused."""

import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search_spaces.derived.encoding import from_one_hot, from_sequence, one_hot, one_hot_width, sequence, vocabulary
from search_spaces.derived.factors import Factors, gather
from search_spaces.derived.sampling import sample
from search_spaces.ofa_mobilenet import OfaMobileNet
from search_spaces.space import Choice, canonical, option_counts


@dataclass(frozen=True)
class Toy:
    """Choices without a network."""

    choices: tuple[Choice, ...]

    def supernet(self, key):
        return None

    def layers(self, arch):
        return ()


TOY = Toy(
    (
        Choice(name="depth", options=(1, 2, 3)),
        Choice(name="kernel2", options=(3, 5), requires=("depth", 1)),
        Choice(name="kernel3", options=(3, 5, 7), requires=("depth", 2)),
        Choice(name="only", options=("one",)),
    )
)
ROWS = np.array(list(itertools.product(*map(range, option_counts(TOY)))), np.int32)


def test_one_hot_rows_are_written_out():
    # columns: depth 1 2 3, kernel2 3 5, kernel3 3 5 7, one
    assert one_hot(TOY, np.array([[0, 1, 2, 0], [2, 1, 0, 0]], np.int32)).tolist() == [
        [1, 0, 0, 0, 0, 0, 0, 0, 1],  # at depth 1 no kernel has an effect
        [0, 0, 1, 0, 1, 1, 0, 0, 1],
    ]
    assert one_hot_width(TOY) == 9


def test_tokens_are_written_out():
    assert sequence(TOY, np.array([[0, 1, 2, 0], [2, 1, 0, 0]], np.int32)).tolist() == [[1, 0, 0, 9], [3, 5, 6, 9]]
    assert vocabulary(TOY) == 10


@pytest.mark.parametrize("encode", [one_hot, sequence])
def test_numpy_and_jax_agree_under_jit(encode):
    on_numpy, on_jax = encode(TOY, ROWS), jax.jit(encode, static_argnums=0)(TOY, jnp.asarray(ROWS))
    assert np.array_equal(on_numpy, on_jax)
    assert on_numpy.dtype == on_jax.dtype == (np.float32 if encode is one_hot else np.int32)


@pytest.mark.parametrize(("encode", "decode"), [(one_hot, from_one_hot), (sequence, from_sequence)])
def test_they_come_back_as_canonical_rows(encode, decode, key):
    assert np.array_equal(decode(TOY, encode(TOY, ROWS)), canonical(TOY, ROWS))
    space = OfaMobileNet()
    rows = np.asarray(sample(key, space, 500))
    back = decode(space, encode(space, rows))
    assert np.array_equal(back, rows)
    assert back.dtype == np.int32


def test_no_rows_encode_to_no_rows():
    none = np.zeros((0, 4), np.int32)
    assert one_hot(TOY, none).shape == (0, 9)
    assert from_one_hot(TOY, one_hot(TOY, none)).shape == from_sequence(TOY, sequence(TOY, none)).shape == (0, 4)


@pytest.mark.parametrize(
    ("column", "value"),
    [(0, 1.0), (2, 0.0), (2, 0.5), (3, 1.0), (4, np.nan), (7, np.inf), (8, -1.0)],
)
def test_rows_that_are_not_one_hot_are_refused(column, value):
    rows = one_hot(TOY, np.array([[1, 1, 0, 0], [2, 1, 0, 0]], np.int32))
    rows[1, column] = value
    with pytest.raises(ValueError, match="row 1 is no one-hot row of this space; was it made by `one_hot` for another"):
        from_one_hot(TOY, rows)


@pytest.mark.parametrize(
    "tokens", [[0, 0, 0, 9], [1, 4, 0, 9], [3, 0, 6, 9], [3, 5, 6, 10], [3, 5, 6, -1], [4, 5, 6, 9]]
)
def test_tokens_of_no_network_are_refused(tokens):
    with pytest.raises(ValueError, match="row 1 is no token sequence of this space"):
        from_sequence(TOY, np.array([[3, 5, 6, 9], tokens]))


NO_ROWS = [
    ([[0, 0, 0, 0], [0, -1, 0, 0]], r"^in row 1, `kernel2` has options \(3, 5\), so its index must be 0 to 1; got -1$"),
    ([[3, 0, 0, 0]], r"^in row 0, `depth` has options .* got 3$"),
    ([[0, 0, 0]], r"are rows of 4 genes, got shape \(1, 3\)"),
    ([0, 0, 0, 0], r"are rows of 4 genes, got shape \(4,\); put a single one into a list"),
    ([[0.0, 0.0, 0.0, float("nan")]], r"holds option indices \(integers\), got float64"),
]


@pytest.mark.parametrize("encode", [one_hot, sequence])
@pytest.mark.parametrize(("rows", "said"), NO_ROWS)
def test_rows_of_another_space_are_not_encoded(encode, rows, said):
    with pytest.raises(ValueError, match=said):
        encode(TOY, np.array(rows))


@pytest.mark.parametrize(("rows", "said"), NO_ROWS)
def test_tables_are_not_read_beyond_their_options(rows, said):
    tables = Factors(space=TOY, name="none", constant=7, terms=())
    assert gather(tables, ROWS[:2]).tolist() == [7, 7]
    with pytest.raises(ValueError, match=said):
        gather(tables, np.array(rows))


def test_a_single_row_is_not_decoded():
    with pytest.raises(ValueError, match=r"have 9 columns, got shape \(9,\)"):
        from_one_hot(TOY, np.zeros(9))
    with pytest.raises(ValueError, match=r"have 4 tokens \(integers\), got int64 of shape \(4,\)"):
        from_sequence(TOY, np.array([1, 0, 0, 9]))
    with pytest.raises(ValueError, match=r"tokens \(integers\), got float64"):
        from_sequence(TOY, np.full((1, 4), np.nan))


def test_other_widths_are_refused():
    with pytest.raises(ValueError, match=r"have 9 columns, got shape \(1, 8\)"):
        from_one_hot(TOY, np.zeros((1, 8), np.float32))
    with pytest.raises(ValueError, match=r"have 4 tokens \(integers\), got int32 of shape \(1, 5\)"):
        from_sequence(TOY, np.zeros((1, 5), np.int32))

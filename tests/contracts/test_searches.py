"""What every search obeys."""

import inspect
from dataclasses import dataclass

import jax
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from nas.search import EXAMPLES, Search
from search_spaces.space import Choice, canonical, option_counts

POP = 16


@dataclass(frozen=True)
class Toy:
    """Choices without a network."""

    @property
    def choices(self):
        depth = Choice(name="depth", options=(1, 2, 3))
        widths = (Choice(name=f"width{i}", options=(8, 16, 24, 32)) for i in range(4))
        kernels = (Choice(name=f"kernel{i}", options=(3, 5, 7), requires=("depth", i)) for i in range(1, 3))
        return (depth, *widths, *kernels)

    def supernet(self, key):
        return None

    def layers(self, arch):
        return ()


TOY = Toy()


@pytest.fixture(params=EXAMPLES, ids=lambda search: search.__name__)
def search(request):
    return request.param(space=TOY, pop_size=POP)


def costs_of(archs):
    archs = np.asarray(archs, float)
    return np.stack([archs.sum(1), ((3 - archs) ** 2).sum(1)], 1)


def rounds(search, state, numbers):
    """The state after some rounds, and all rows asked for."""
    asked = []
    for i in numbers:
        archs = search.ask(jax.random.key(i), state)
        asked.append(np.asarray(archs))
        state = search.tell(state, archs, costs_of(archs))
    return state, np.array(asked)


def stored(state, folder):
    """The state once it went through a file, without pickle."""
    np.savez(folder / "state.npz", **state._asdict())
    with np.load(folder / "state.npz", allow_pickle=False) as arrays:
        return type(state)(**arrays)


def test_it_is_a_search_with_still_settings(search):
    assert isinstance(search, Search)
    assert hash(search) == hash(type(search)(space=TOY, pop_size=POP))
    assert all(p.kind is p.KEYWORD_ONLY for p in inspect.signature(type(search)).parameters.values())


def test_asked_rows_are_networks_of_the_space(search, key):
    _, asked = rounds(search, search.init(key), range(3))
    assert asked.shape == (3, POP, len(TOY.choices))
    assert asked.dtype == np.int32
    assert ((asked >= 0) & (asked < option_counts(TOY))).all()
    assert np.array_equal(canonical(TOY, asked), asked)


def test_one_key_gives_one_answer(search, key):
    first, second = (rounds(search, search.init(key), range(3)) for _ in range(2))
    assert np.array_equal(first[1], second[1])
    assert all(np.array_equal(a, b) for a, b in zip(first[0], second[0], strict=True))


def test_another_key_gives_another_answer(search, key):
    state, _ = rounds(search, search.init(key), range(2))
    assert not np.array_equal(search.ask(jax.random.key(8), state), search.ask(jax.random.key(9), state))


@pytest.mark.parametrize("done", [0, 1, 3])
def test_a_stored_state_goes_on_as_if_never_stored(search, key, done, tmp_path):
    state, _ = rounds(search, search.init(key), range(done))
    through, through_asked = rounds(search, state, range(done, done + 2))
    again, again_asked = rounds(search, stored(state, tmp_path), range(done, done + 2))
    assert np.array_equal(through_asked, again_asked)
    for a, b in zip(through, again, strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        assert np.array_equal(a, b)


def test_asking_and_telling_change_nothing_given(search, key):
    state, _ = rounds(search, search.init(key), range(1))
    before = [np.array(a) for a in state]
    rounds(search, state, range(1, 3))
    assert all(np.array_equal(a, b) for a, b in zip(before, state, strict=True))


@pytest.mark.parametrize("rows", [1, 5, 3 * POP])
def test_any_number_of_known_networks_may_be_told(search, key, rows):
    archs = np.random.default_rng(0).integers(0, option_counts(TOY), (rows, len(TOY.choices)))
    state = search.tell(search.init(key), archs, costs_of(archs))
    assert search.ask(key, state).shape == (POP, len(TOY.choices))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_costs_without_a_finite_value_are_refused(search, key, value):
    state = search.init(key)
    archs = search.ask(key, state)
    costs = costs_of(archs)
    costs[2, 1] = value
    with pytest.raises(ValueError, match=r"must be finite, got .* in row 2, column 1; give a network that failed"):
        search.tell(state, archs, costs)


def test_rows_that_do_not_match_are_refused(search, key):
    state = search.init(key)
    archs = np.asarray(search.ask(key, state))
    with pytest.raises((ValueError, TypeCheckError)):  # under test, the annotation of `tell` speaks first
        search.tell(state, archs, costs_of(archs)[1:])
    with pytest.raises(ValueError, match="rows of 7 genes"):
        search.tell(state, archs[:, 1:], costs_of(archs))
    with pytest.raises(ValueError, match="`depth` has options"):
        search.tell(state, archs + 9, costs_of(archs))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda search: search.__name__)
@pytest.mark.parametrize(
    ("setting", "value"), [("pop_size", 1), ("pop_size", -3), ("mutation", -0.1), ("mutation", 1.5)]
)
def test_settings_out_of_range_are_refused(example, setting, value):
    if setting not in inspect.signature(example).parameters:
        return  # not every search mutates
    with pytest.raises(ValueError, match=f"`{setting}`.*got {value}") as error:
        example(space=TOY, **{setting: value})
    assert "\n" not in str(error.value)

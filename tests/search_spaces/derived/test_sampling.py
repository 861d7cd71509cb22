"""Random rows are rows of the space, drawn as the docstrings say."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from search_spaces.derived.constrained import under
from search_spaces.derived.sampling import crossover, mutate, sample, sample_networks
from search_spaces.space import Choice, active, canonical, option_counts


@dataclass(frozen=True)
class Toy:
    """Choices without a network."""

    choices: tuple[Choice, ...]

    def supernet(self, key):
        return None

    def layers(self, arch):
        return ()


FLAT = Toy(tuple(Choice(name=f"c{i}", options=tuple(range(i + 1))) for i in range(5)))  # 1 to 5 options
NESTED = Toy(
    (
        Choice(name="depth", options=(1, 2, 3)),
        Choice(name="block2.kernel", options=(3, 5, 7), requires=("depth", 1)),
        Choice(name="block3.kernel", options=(3, 5, 7), requires=("depth", 2)),
        Choice(name="block3.gate", options=(0, 1, 2, 3), requires=("block3.kernel", 1)),
    )
)
SINGLE = Toy((Choice(name="a", options=(1,)), Choice(name="b", options=(1,))))
FIXED = Toy(())
ROWS = 20_000
draw = jax.jit(sample, static_argnums=(1, 2))
draw_networks = jax.jit(sample_networks, static_argnums=(1, 2))
vary = jax.jit(mutate, static_argnums=1)
cross = jax.jit(crossover, static_argnums=1)


def all_rows(space):
    """Canonical rows of the space, in numpy."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in option_counts(space)), indexing="ij"), -1)
    return np.unique(canonical(space, grid.reshape(-1, len(space.choices))), axis=0)


@pytest.mark.parametrize("space", [FLAT, NESTED, SINGLE, FIXED])
@pytest.mark.parametrize("way", ["sample", "sample_networks", "mutate", "crossover"])
def test_rows_are_canonical_and_in_range(key, space, way):
    a, b = draw(key, space, 300), draw(jax.random.fold_in(key, 1), space, 300)
    rows = {
        "sample": a,
        "sample_networks": draw_networks(key, space, 300),
        "mutate": vary(key, space, a, 0.3),
        "crossover": cross(key, space, a, b),
    }[way]
    rows = np.asarray(rows)
    assert rows.shape == (300, len(space.choices))
    assert rows.dtype == np.int32
    assert ((rows >= 0) & (rows < option_counts(space))).all()
    assert np.array_equal(canonical(space, rows), rows)


def test_every_option_is_drawn_equally_often(key):
    rows = np.asarray(draw(key, FLAT, ROWS))
    for i, n in list(enumerate(option_counts(FLAT)))[1:]:  # the first choice has one option
        assert chisquare(np.bincount(rows[:, i], minlength=n)).pvalue > 0.001


def test_uniform_is_over_genes_not_over_networks(key):
    depth = np.bincount(np.asarray(draw(key, NESTED, ROWS))[:, 0])
    assert chisquare(depth).pvalue > 0.001  # though 1, 3 and 3 * (1 + 4 + 4) networks have these depths


def networks_drawn(space, rows):
    """How often each network was drawn, those that never were too."""
    place = {bytes(row): i for i, row in enumerate(all_rows(space))}
    return np.bincount([place[bytes(row)] for row in np.asarray(rows)], minlength=len(place))


@pytest.mark.parametrize("space", [FLAT, NESTED])
def test_every_network_is_drawn_equally_often(key, space):
    assert chisquare(networks_drawn(space, draw_networks(key, space, ROWS))).pvalue > 0.001


def test_genes_that_have_an_effect_with_another_count_with_it(key):
    # b has an effect wherever a has one, that is at depths 2 and 3: 1 + 2 * (3 * 2) networks
    space = Toy(
        (
            Choice(name="depth", options=(1, 2, 3)),
            Choice(name="a", options=(0, 1, 2), requires=("depth", 1)),
            Choice(name="b", options=(0, 1), requires=("a", 0)),
        )
    )
    seen = networks_drawn(space, draw_networks(key, space, ROWS))
    assert len(seen) == 13
    assert chisquare(seen).pvalue > 0.001


def test_weights_beyond_machine_integers_are_kept(key):
    # depth 2 wakes 60 choices of 2 options, depth 3 another one of 3: of 1 + 2^60 + 3 * 2^60 networks, 3/4 have depth 3
    kernels = tuple(Choice(name=f"k{i}", options=(3, 5), requires=("depth", 1)) for i in range(60))
    last = Choice(name="last", options=(1, 2, 3), requires=("depth", 2))
    depth = np.asarray(draw_networks(key, Toy((Choice(name="depth", options=(1, 2, 3)), *kernels, last)), 4000))[:, 0]
    assert not (depth == 0).any()
    assert abs((depth == 2).mean() - 0.75) < 0.028  # four standard errors: 4 * sqrt(0.75 * 0.25 / 4000)


def test_one_key_gives_one_population(key):
    assert jnp.array_equal(draw_networks(key, NESTED, 300), draw_networks(key, NESTED, 300))
    assert jnp.array_equal(draw(key, NESTED, 300), draw(key, NESTED, 300))


def test_rate_zero_changes_nothing(key):
    rows = draw(key, NESTED, 300)
    assert jnp.array_equal(vary(key, NESTED, rows, 0.0), rows)


def test_rate_one_changes_every_gene_with_another_option(key):
    rows = draw(key, FLAT, 300)
    changed = np.asarray(vary(key, FLAT, rows, 1.0) != rows)
    assert changed[:, 1:].all()
    assert not changed[:, 0].any()


def test_the_new_option_is_any_other_equally_often(key):
    rows = jnp.full((ROWS, 5), jnp.array([0, 1, 2, 1, 3]))
    varied = np.asarray(vary(key, FLAT, rows, 1.0))
    counts = np.bincount(varied[:, 4], minlength=5)
    assert counts[3] == 0
    assert chisquare(np.delete(counts, 3)).pvalue > 0.001


def test_genes_change_at_the_rate(key):
    rows = draw(key, FLAT, ROWS)
    changed = np.asarray(vary(key, FLAT, rows, 0.5) != rows)[:, 1:]
    # four genes can change; where none did (1/16), one of the four does: 1/2 + 1/16 * 1/4 = 0.515625
    # the standard error of 20 000 draws is 0.0035
    assert np.allclose(changed.mean(0), 0.515625, atol=0.014)


def test_every_network_changes_at_any_rate_above_zero(key):
    rows = jnp.repeat(jnp.asarray(all_rows(NESTED)), 50, axis=0)
    assert (vary(key, NESTED, rows, 1e-6) != rows).any(1).all()


def test_the_one_gene_that_must_change_is_drawn_uniformly(key):
    rows = jnp.full((ROWS, 5), jnp.array([0, 1, 2, 1, 3]))
    changed = np.asarray(vary(key, FLAT, rows, 1e-7) != rows)
    assert chisquare(changed.sum(0)[1:]).pvalue > 0.001


def test_a_network_without_alternatives_comes_back(key):
    rows = draw(key, SINGLE, 4)
    assert jnp.array_equal(vary(key, SINGLE, rows, 1.0), rows)


def test_woken_genes_are_uniform(key):
    shallow = jnp.zeros((ROWS, 4), jnp.int32)
    varied = np.asarray(vary(key, NESTED, shallow, 1e-7))  # only depth has an effect, so it is what changes
    assert chisquare(np.bincount(varied[:, 0], minlength=3)[1:]).pvalue > 0.001
    assert chisquare(np.bincount(varied[:, 1], minlength=3)).pvalue > 0.001


def test_a_child_has_its_genes_from_parents_in_which_they_had_an_effect(key):
    rows = all_rows(NESTED)
    a, b = (np.asarray(x) for x in np.meshgrid(np.arange(len(rows)), np.arange(len(rows))))
    a, b = rows[a.ravel()], rows[b.ravel()]  # every pair
    for i in range(5):
        child = np.asarray(cross(jax.random.fold_in(key, i), NESTED, jnp.asarray(a), jnp.asarray(b)))
        given = ((child == a) & active(NESTED, a)) | ((child == b) & active(NESTED, b))
        assert given[active(NESTED, child)].all()


def test_equal_parents_have_equal_children(key):
    rows = draw(key, NESTED, 300)
    assert jnp.array_equal(cross(key, NESTED, rows, rows), rows)


def test_both_parents_give_half_the_genes(key):
    zeros = jnp.zeros((ROWS, 5), jnp.int32)
    ones = zeros.at[:, 1:].set(1)
    from_b = np.asarray(cross(key, FLAT, zeros, ones)).mean(0)[1:]
    assert np.allclose(from_b, 0.5, atol=0.014)  # four standard errors


@pytest.mark.parametrize("run", [sample, sample_networks])
def test_fewer_than_no_rows_are_refused(key, run):
    with pytest.raises(ValueError, match=r"^`n` must be at least 0, got -1$"):
        run(key, NESTED, -1)
    assert run(key, NESTED, 0).shape == (0, 4)


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan"), float("inf")])
def test_a_rate_that_is_no_probability_is_refused(key, rate):
    with pytest.raises(ValueError, match=rf"^`rate` must be 0 to 1, .* got {rate}$"):
        mutate(key, NESTED, np.zeros((1, 4), np.int32), rate)


@pytest.mark.parametrize("key", [None, -1, 0.5, "0", np.zeros(2), [1, 2]])
def test_what_is_no_key_is_refused(key):
    sampler = under(NESTED, lambda arch: 0, at_most=1)
    with pytest.raises(ValueError, match=r"^`key` must be a JAX key, .* or a whole number from 0, got") as raised:
        sampler(key, 3)
    assert "\n" not in str(raised.value)


def test_it_runs_inside_other_transformations(key):
    both = jax.vmap(partial(sample, space=NESTED, n=3))(jax.random.split(key, 2))
    assert both.shape == (2, 3, 4)

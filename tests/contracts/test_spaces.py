"""What every space obeys; first of all the promise: masked, cut, extracted and exported networks answer alike."""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hardware.onnx_export import to_onnx
from hardware.onnx_runtime import OnnxRuntime
from hardware.weights import weight_shapes
from nas.data.dataset import Dataset, Split
from nas.judge import SupernetJudge
from nas.training import Trainer, Training
from search_spaces import EXAMPLES
from search_spaces.extract import Extracted, extract, weights
from search_spaces.layers import (
    Activation,
    Add,
    AvgPool,
    Conv,
    Dense,
    Depthwise,
    GlobalPool,
    Input,
    LayerNorm,
    Mix,
    Norm,
    PatchEmbed,
    Positions,
    RelativeMix,
    RelativeScores,
    Scale,
    Scores,
    Softmax,
    Take,
    Zeros,
    pooled,
    total_macs,
    total_params,
)
from search_spaces.reading import Cut, Masked, masked
from search_spaces.sampling import sample
from search_spaces.sliced import Sliced, distinct_blocks
from search_spaces.space import Space, active, canonical, check_choices, largest, option_counts, size, smallest
from search_spaces.static import fixed_of, grouped, input_size, resize

BATCH = 6


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    """Equality does not hang on the compiler's optimisations, which take most of its time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def lively(space):
    """A supernet in which every number matters: with fresh biases of 0, what leaks from channels that are off is 0."""
    rng = np.random.default_rng(0)

    def draw(path, like):
        if len(like.shape) > 1:
            return jnp.asarray(rng.normal(0, math.sqrt(2 / math.prod(like.shape[:-1])), like.shape), jnp.float32)
        low, high = (0.5, 1.5) if "scale" in jax.tree_util.keystr(path) else (-0.5, 0.5)
        return jnp.asarray(rng.uniform(low, high, like.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, nnx.eval_shape(lambda: space.supernet(jax.random.key(0))))


@dataclass
class Case:
    """A space with a supernet, images, some architectures, and what the masked reading says of each."""

    space: Space
    supernet: Any = field(init=False)

    def __post_init__(self):
        space = self.space
        layers = space.layers(largest(space))
        self.shape, self.classes = layers[0].shape, layers[-1].shape[-1]
        self.supernet = lively(space)
        self.images, self.calibration = jax.random.normal(jax.random.key(1), (2, BATCH, *self.shape))
        drawn = np.asarray(sample(jax.random.key(2), space, 3))
        self.archs = list(np.unique([smallest(space), *drawn, largest(space)], axis=0))
        read = jax.jit(
            lambda fixed, arch, images, stats: self.supernet(masked(space, arch, fixed), images, stats),
            static_argnums=0,
        )

        def run(arch, images, stats=None):
            return read(fixed_of(space, arch), jnp.asarray(arch), self.seen(arch, images), stats)

        self.masked = run
        self.stats = [self.masked(arch, self.calibration)[1] for arch in self.archs]
        self.batch_logits = [np.asarray(self.masked(arch, self.images)[0]) for arch in self.archs]
        pairs = zip(self.archs, self.stats, strict=True)
        self.logits = [np.asarray(self.masked(arch, self.images, stats)[0]) for arch, stats in pairs]
        pairs = zip(self.archs, self.stats, strict=True)
        self.extracted = [extract(space, self.supernet, arch, stats) for arch, stats in pairs]

    def seen(self, arch, images):
        """The images at the architecture's resolution."""
        with jax.enable_x64(False):  # resizing rounds otherwise where float64 is on
            return resize(images, input_size(self.space, fixed_of(self.space, arch)))

    def data(self):
        """Noise with labels."""
        rng = np.random.default_rng(0)

        def split(n):
            labels = rng.integers(0, self.classes, n).astype(np.int32)
            return Split(images=rng.integers(0, 256, (n, *self.shape)).astype(np.uint8), labels=labels)

        channels = self.shape[-1]
        return Dataset(
            name="noise",
            class_names=tuple(map(str, range(self.classes))),
            train=split(16),
            val=split(8),
            test=split(8),
            mean=(0.5,) * channels,
            std=(0.3,) * channels,
            native_size=self.shape[0],
            native_max=255,
            resample="none",
            fingerprint="",
        )


@pytest.fixture(scope="module", params=EXAMPLES, ids=lambda space: type(space).__name__)
def case(request):
    return Case(request.param)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)


# The promise


@pytest.mark.slow  # a compile for each architecture
def test_cut_answers_as_masked_does(case):
    for arch, stats, logits, batch_logits in zip(case.archs, case.stats, case.logits, case.batch_logits, strict=True):
        read = Cut.of(case.space.choices, arch)

        @jax.jit
        def both(images, calibration, read=read):
            own = case.supernet(read, calibration)[1]
            return case.supernet(read, images, own)[0], case.supernet(read, images)[0], own

        cut_logits, cut_batch_logits, own = both(case.seen(arch, case.images), case.seen(arch, case.calibration))
        close(cut_logits, logits)
        close(cut_batch_logits, batch_logits)
        # and the statistics of the masked reading, cut, are those of the cut reading
        jax.tree.map(close, jax.tree.leaves(case.supernet.cut_stats(read, stats)), jax.tree.leaves(own))


@pytest.mark.slow
def test_the_extracted_network_answers_as_the_masked_one_does(case):
    alone = jax.jit(lambda network, images: network(images))
    for arch, extracted, logits in zip(case.archs, case.extracted, case.logits, strict=True):
        close(alone(extracted, case.seen(arch, case.images)), logits)


def test_the_exported_network_answers_as_the_masked_one_does(case):
    runtime = OnnxRuntime()
    for arch, extracted, logits in zip(case.archs, case.extracted, case.logits, strict=True):
        images = np.asarray(case.seen(arch, case.images)).transpose(0, 3, 1, 2)
        session = runtime.prepare(to_onnx(case.space.layers(arch), weights(extracted)))
        close(runtime.run(session, images), logits)


def test_the_logits_tell_architectures_and_images_apart(case):
    """Else the promise would be kept by a network that answers nothing."""
    for i, (arch, one) in enumerate(zip(case.archs, case.logits, strict=True)):
        # Only a network whose image never reaches the classifier answers the same to every image.
        differs = np.ptp(one, axis=0).max()
        assert differs > 0.05 if sees_the_image(case.space.layers(arch)) else differs == 0
        differences = [np.abs(one - other).max() for other in case.logits[:i]]
        assert min(differences, default=1) > 1e-3, differences


def sees_the_image(layers):
    """Whether a way leads from the image to the last layer that no zeros cut."""
    seen = []
    for layer in layers:
        seen.append(isinstance(layer, Input) or (not isinstance(layer, Zeros) and any(seen[i] for i in layer.inputs)))
    return seen[-1]


def wide(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


@pytest.fixture(scope="module")
def pulled(case):
    """In float64, in the masked reading: logits of a relaxed architecture, and the gradients of a random sum of them.

    The gradients are by the parameters and by the architecture's rows.
    """
    supernet, cotangent = wide(case.supernet), random_cotangent(case)

    @partial(jax.jit, static_argnums=0)
    def masked_pulled(fixed, supernet, rows, images):
        logits, pull = jax.vjp(lambda net, rows: net(Masked(rows, fixed), images)[0], supernet, rows)
        return logits, *pull(jnp.asarray(cotangent))

    def by_mask(arch, rows):
        """The architecture gives the static choices only."""
        with jax.enable_x64(True):
            images = wide(case.seen(arch, case.images))
            return wide(masked_pulled(fixed_of(case.space, arch), supernet, wide(rows), images))

    return by_mask


def random_cotangent(case):
    return np.random.default_rng(0).normal(size=(BATCH, case.classes))


def one_hot(space, arch):
    pairs = zip(space.choices, arch.tolist(), strict=True)
    return {c.name: np.eye(len(c.options))[index] for c, index in pairs}


@pytest.mark.slow
def test_masked_and_cut_gradients_agree_in_float64(case, pulled):
    for arch in case.archs[1:3]:
        read, images = Cut.of(case.space.choices, arch), wide(case.seen(arch, case.images))

        def loss(net, read=read, images=images):
            return (net(read, jnp.asarray(images))[0] * random_cotangent(case)).sum()

        with jax.enable_x64(True):
            by_cut = wide(jax.jit(jax.grad(loss))(wide(case.supernet)))
        got = jax.tree.leaves(pulled(arch, one_hot(case.space, arch))[1])
        for a, b in zip(got, jax.tree.leaves(by_cut), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
        unused = ~used(case.supernet, read)
        assert unused.any()
        assert (np.concatenate([np.ravel(leaf) for leaf in got])[unused] == 0).all()


@pytest.mark.slow
def test_masked_and_sliced_logits_and_gradients_agree_in_float64(case, pulled):
    """And blocks are compiled once: going over the architectures again compiles nothing, however they came."""
    supernet = wide(case.supernet)
    with jax.enable_x64(True):
        sliced = Sliced(case.space)
        for arch in case.archs:
            expected, gradient, _ = pulled(arch, one_hot(case.space, arch))
            images = jnp.asarray(wide(case.seen(arch, case.images)))
            logits, used_stats, pull = sliced.vjp(supernet, arch, images)
            np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-9)
            got = pull(jnp.asarray(random_cotangent(case)))
            assert jax.tree.structure(got) == jax.tree.structure(supernet)
            for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(gradient), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
        compiled = dict(sliced.compiles)
        assert len(jax.tree.leaves(used_stats)) <= len(jax.tree.leaves(case.stats[-1]))
        resolutions = grouped(case.space, np.stack(case.archs))
        bound = sum(
            distinct_blocks(case.space, case.space.layers(case.archs[rows[0]])[0].shape, fixed)
            for fixed, rows in resolutions
        )
        assert 0 < compiled["gradient"] <= bound
        for arch in case.archs:
            sliced.vjp(supernet, arch, jnp.asarray(wide(case.seen(arch, case.images))))
        assert sliced.compiles == compiled


def test_the_sliced_forward_pass_answers_as_the_masked_one_does(case):
    sliced = Sliced(case.space)
    for arch, stats, logits, batch_logits in zip(case.archs, case.stats, case.logits, case.batch_logits, strict=True):
        images = case.seen(arch, case.images)
        close(sliced.forward(case.supernet, arch, images)[0], batch_logits)
        own = sliced.forward(case.supernet, arch, case.seen(arch, case.calibration))[1]
        close(sliced.forward(case.supernet, arch, images, own)[0], logits)
        kept = case.supernet.cut_stats(Cut.of(case.space.choices, arch), stats)
        jax.tree.map(close, jax.tree.leaves(own), jax.tree.leaves(kept))


def used(supernet, read):
    """Which of the supernet's parameters, one after the other, an architecture's own parameters are made of."""
    rng = np.random.default_rng(1)

    def mixed(net):
        return sum((leaf * rng.uniform(1, 2, leaf.shape)).sum() for leaf in jax.tree.leaves(net.cut(read)))

    return np.concatenate([np.ravel(leaf) != 0 for leaf in jax.tree.leaves(jax.jit(jax.grad(mixed))(supernet))])


def is_transformed(supernet):
    """Whether smaller kernels are products with matrices, so that a parameter of a network has several sources."""
    return any("transforms" in jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(supernet))


# The extracted network is small


def test_the_extracted_network_has_the_parameters_that_its_layers_say(case):
    for arch, extracted in zip(case.archs, case.extracted, strict=True):
        layers = case.space.layers(arch)
        count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(extracted.network, nnx.Param)))
        assert count == total_params(layers)
        sources = used(case.supernet, Cut.of(case.space.choices, arch)).sum()
        assert sources >= count if is_transformed(case.supernet) else sources == count
        assert {name: w.shape for name, w in weights(extracted).items()} == weight_shapes(layers)


def test_the_extracted_network_multiplies_what_its_layers_say_and_masks_nothing(case):
    mask_makers = {"iota", "eq", "lt", "le", "gt", "ge", "select_n", "convert_element_type", "and"}
    for arch, extracted in zip(case.archs, case.extracted, strict=True):
        image = case.seen(arch, jnp.zeros((1, *case.shape)))
        alone = jax.make_jaxpr(lambda network, x: network(x))(extracted, image).jaxpr
        assert multiplied(alone) == total_macs(case.space.layers(arch))
        assert not mask_makers & primitives(alone)
    # The same counters do see masks and the channels that are off.
    fixed = fixed_of(case.space, arch)
    whole = jax.make_jaxpr(lambda arch: case.supernet(masked(case.space, arch, fixed), image))(jnp.asarray(arch)).jaxpr
    assert mask_makers & primitives(whole)
    assert multiplied(whole) > total_macs(case.space.layers(largest(case.space)))


def inner(equation):
    """The jaxprs that an equation calls."""
    return [getattr(p, "jaxpr", p) for p in equation.params.values() if hasattr(getattr(p, "jaxpr", p), "eqns")]


def is_depthwise(equation):
    """Its kernel's two sizes, as the second argument is `[kernel, kernel, 1, channels]`."""
    return equation.primitive.name.startswith("custom_vjp_call")


def multiplied(jaxpr):
    """The multiply-accumulates of all matrix products and convolutions."""
    total = 0
    for equation in jaxpr.eqns:
        out = math.prod(equation.outvars[0].aval.shape)
        shapes = [v.aval.shape for v in equation.invars]
        if is_depthwise(equation):
            total += out * shapes[-1][0] * shapes[-1][1]
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += out * math.prod(shapes[0][i] for i in contracted)
        elif equation.primitive.name == "conv_general_dilated":
            assert equation.params["feature_group_count"] == 1
            total += out * math.prod(shapes[1][:3])  # [kernel, kernel, in, out]
        else:
            total += sum(map(multiplied, inner(equation)))
    return total


def primitives(jaxpr):
    """The names of all primitives outside the depthwise convolutions."""
    names = set()
    for equation in jaxpr.eqns:
        names.add(equation.primitive.name)
        if not is_depthwise(equation):
            names |= set().union(*map(primitives, inner(equation)))
    return names


# One compile serves all


@pytest.mark.slow
def test_training_and_judging_are_traced_once(case):
    data = case.data()
    trainer = Trainer(case.space, Training(epochs=1, batch=4), data)
    judge = SupernetJudge(case.space, data, jax.random.key(0), calibration_images=8)
    state = trainer.restart(nnx.split(case.supernet)[1])
    for i, arch in enumerate(case.archs):
        rows = slice(2 * i, 2 * i + 4)
        state, loss = trainer.step(
            state, jax.random.key(i), jnp.asarray(arch), data.train.images[rows], data.train.labels[rows], 1e-3
        )
        assert np.isfinite(loss)
        assert 0 <= judge(trainer.network(state.params), arch).val_error <= 1
    assert trainer.traces == judge.traces == len(grouped(case.space, np.stack(case.archs)))  # 1 for each resolution
    assert int(state.step) == len(case.archs)


@pytest.mark.slow
def test_a_population_runs_at_once(case):
    """`vmap` over architectures of one resolution, with each batch's own statistics."""
    for fixed, rows in grouped(case.space, np.stack(case.archs)):
        archs = np.stack([case.archs[row] for row in rows])
        images = case.seen(archs[0], case.images)

        def logits(arch, fixed=fixed, images=images):
            return case.supernet(masked(case.space, arch, fixed), images)[0]

        close(jax.jit(jax.vmap(logits))(jnp.asarray(archs)), np.stack([case.batch_logits[row] for row in rows]))


@pytest.mark.slow
def test_a_relaxed_architecture_runs_and_every_choice_has_a_gradient(case, pulled):
    rng = np.random.default_rng(0)
    rows = {choice.name: rng.dirichlet(np.ones(len(choice.options))) for choice in case.space.choices}
    logits, _, gradient = pulled(case.archs[-1], rows)
    assert np.isfinite(logits).all()
    for choice in case.space.choices:
        # What counts is how the options differ: adding one number to a whole row prefers none of them.
        assert np.isfinite(gradient[choice.name]).all()
        assert choice.static or len(choice.options) == 1 or np.ptp(gradient[choice.name]) > 1e-6, choice.name
    for arch, expected in zip(case.archs, case.batch_logits, strict=True):
        close(pulled(arch, one_hot(case.space, arch))[0], expected)


# Its choices and its layers


@pytest.fixture(scope="module")
def rows(case):
    return np.unique(np.asarray(sample(jax.random.key(5), case.space, 12)), axis=0)


def test_it_is_a_space_with_still_settings(case):
    assert isinstance(case.space, Space)
    hash(case.space)
    check_choices(case.space.choices)
    assert size(case.space) > len(case.archs)


def test_layers_follow_one_from_the_other(case, rows):
    for row in rows:
        layers = case.space.layers(row)
        assert isinstance(layers[0], Input)
        assert [i for i, layer in enumerate(layers) if isinstance(layer, Input)] == [0]
        read = {i for layer in layers for i in layer.inputs}
        assert read == set(range(len(layers) - 1))  # everything but the last is read
        for position, layer in enumerate(layers):
            assert all(0 <= i < position for i in layer.inputs)
            before = [layers[i].shape for i in layer.inputs]
            match layer:
                case Conv() | Depthwise():
                    ((height, width, channels),) = before
                    assert layer.shape[:2] == (-(-height // layer.stride), -(-width // layer.stride))
                    assert channels == (layer.in_channels if isinstance(layer, Conv) else layer.shape[-1])
                case Dense():
                    assert before == [(*layer.shape[:2], layer.in_channels)]
                case Norm() | LayerNorm() | Softmax() | Activation() | Zeros():
                    assert before == [layer.shape]
                case AvgPool():
                    ((*size, channels),) = before
                    assert layer.shape == (*(pooled(side, layer.kernel, layer.stride) for side in size), channels)
                case PatchEmbed():
                    assert layer.shape[0] * layer.patch**2 == math.prod(before[0][:2])
                    assert before[0][2] == layer.in_channels
                case Positions():
                    assert before == [(layer.shape[0] - layer.class_token, *layer.shape[1:])]
                case Take():
                    assert before[0][0] >= layer.start + layer.shape[0]
                    assert before[0][1:] == layer.shape[1:]
                case Scores():
                    tokens, keys, heads = layer.shape
                    assert before == [(tokens, 1, heads * layer.head_dim), (keys, 1, heads * layer.head_dim)]
                case Mix():
                    tokens, _, channels = layer.shape
                    assert before == [(tokens, tokens, channels // layer.head_dim), layer.shape]
                case RelativeScores():
                    tokens, _, heads = layer.shape
                    assert before == [layer.shape, (tokens, 1, heads * layer.head_dim)]
                    assert tokens == layer.side**2 + layer.class_token
                case RelativeMix():
                    tokens, _, channels = layer.shape
                    assert before == [layer.shape, (tokens, tokens, channels // layer.head_dim)]
                    assert tokens == layer.side**2 + layer.class_token
                case GlobalPool():
                    assert layer.shape == (1, 1, before[0][-1])
                case Add():
                    assert before == [layer.shape] * 2
                case Scale():
                    assert before == [layer.shape, (1, 1, layer.shape[-1])]
                case _:
                    assert position == 0
        weight_shapes(layers)  # raises when two layers share a path


def test_a_later_option_never_costs_less(case, rows):
    counts = option_counts(case.space)
    for row in rows:
        layers = case.space.layers(row)
        for gene in np.flatnonzero(row + 1 < counts):
            more = row.copy()
            more[gene] += 1
            dearer = case.space.layers(more)
            name = case.space.choices[gene].name
            assert total_macs(dearer) >= total_macs(layers), name
            assert total_params(dearer) >= total_params(layers), name
            if active(case.space, row)[gene]:
                assert dearer != layers, name


def test_a_gene_without_effect_changes_neither_layers_nor_logits(case):
    space, counts = case.space, option_counts(case.space)
    for arch, logits in zip(case.archs, case.batch_logits, strict=True):
        other = np.where(active(space, arch), arch, counts - 1).astype(np.int32)
        if arch is case.archs[0]:
            assert (other != arch).any() == any(choice.requires for choice in space.choices)
        assert np.array_equal(canonical(space, other), arch)
        assert space.layers(other) == space.layers(arch)
        assert np.array_equal(case.masked(other, case.images)[0], logits)


def test_extraction_refuses_what_is_no_architecture_of_the_space(case):
    with pytest.raises(ValueError, match="index must be 0 to"):
        extract(case.space, case.supernet, largest(case.space) + 1, case.stats[-1])
    assert isinstance(case.extracted[0], Extracted)

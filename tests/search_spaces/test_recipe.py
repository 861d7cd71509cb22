"""A recipe is written once; what makes, runs, cuts and describes it must agree, in whatever it asks for."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from search_spaces.assembly import Fixed, Place, layers, present, supernet, wired
from search_spaces.elastic import Conv as Conv2d
from search_spaces.extract import extract
from search_spaces.layers import Add, Concat, Conv, Dense, Depthwise, MaxPool, Shuffle, total_macs, total_params
from search_spaces.network import Network
from search_spaces.reading import Cut, masked
from search_spaces.sliced import Sliced
from search_spaces.space import Choice, check_arch, largest, smallest
from search_spaces.trace.blocks import traced_layers
from search_spaces.widths import Join, Width, elastic, joined

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@dataclass(frozen=True, kw_only=True)
class Everything:
    """Asks for all that a builder has; two elastic halves are joined, cut through and joined again."""

    shares: tuple[int, ...]

    def __call__(self, b, x):
        x = b.act(b.norm(b.conv(x, "stem", 8, 3, 2, padding="same"), "stem_norm"), "relu6")
        left = b.act(b.conv(x, "left", Width(self.shares, ("left",)), (1, 3), choice="window", bias=True), "swish")
        right = b.act(b.norm(b.conv(x, "right", Width(self.shares, ("right",))), "right_norm"), "relu")
        both = b.depthwise(b.concat(left, right), "both", (3, 5), choice="reach", dilation=1, bias=True)
        both = b.act(b.norm(both, "both_norm"), "hard_swish")
        both = b.optional(both, "gated", 1, self.gated)
        h = b.act(b.norm(b.conv(both, "project", 8), "project_norm"), None)
        h = b.shuffle(b.concat(b.channels(h, 4, 4), b.channels(h, 0, 4)), 2)
        h = b.one_of(h, "op", [lambda b, x: b.zeros(x), lambda b, x: b.avg_pool(x, 3), self.grouped])
        return b.max_pool(b.add(x, h), 3, 2, "ceil")

    def gated(self, b, x):
        gate = b.act(b.dense(b.global_pool(x), "squeeze", 4), "relu")
        return b.scale(x, b.act(b.dense(gate, "expand", x.width), "sigmoid"))

    def grouped(self, b, x):
        x = b.conv(x, "grouped", 8, 3, groups=2, dilation=2, bias=True)
        return b.norm(b.depthwise(x, "dilated", 3, dilation=2), "dilated_norm")


@dataclass(frozen=True, kw_only=True)
class Answer:
    positions: int
    classes: int

    def __call__(self, b, x):
        return b.dense(b.flatten(x, self.positions), "classifier", self.classes, bias=False)


OWN = {
    "left": (2, 4),
    "right": (2, 4),
    "window": (1, 3),
    "reach": (3, 5),
    "gated": (False, True),
    "op": ("0", "1", "2"),
}


@dataclass(frozen=True, kw_only=True)
class Odd:
    """A space of one block that has everything, and an optional one."""

    image: tuple[int, int, int] = (13, 11, 2)

    @property
    def choices(self):
        own = (Choice(name=name, options=options) for name, options in OWN.items())
        return (*own, Choice(name="deep", options=(0, 1)))

    @property
    def places(self):
        everything = Place(recipe=Everything(shares=(2, 4)), choices=tuple((name, name) for name in OWN))
        # 13 x 11, halved: 7 x 6; pooled with a last, partly filled window: 3 x 3 (7 - 3 = 4; 6 - 3 = 3, one and a half)
        same = Place(recipe=Same(), when=("deep", 1))
        return (everything, same, Place(recipe=Answer(positions=9, classes=3)))

    def supernet(self, key):
        return supernet(key, self.places, self.image[-1])

    def layers(self, arch):
        return layers(self.places, self.image, Cut.of(self.choices, check_arch(self, arch)))


@dataclass(frozen=True, kw_only=True)
class Same:
    def __call__(self, b, x):
        return b.add(x, b.norm(b.conv(x, "conv", x.width, 3), "norm"))


SPACE = Odd()
ARCHS = [
    smallest(SPACE),
    largest(SPACE),
    *np.array([[0, 1, 1, 0, 1, 2, 1], [1, 0, 0, 1, 0, 1, 0], [1, 0, 1, 1, 1, 2, 0]]),
]


@pytest.fixture(scope="module")
def net():
    """A supernet in which no number is 0, so that nothing that is off goes unnoticed."""
    rng = np.random.default_rng(0)
    blank = nnx.eval_shape(lambda: SPACE.supernet(jax.random.key(0)))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.2, 1, leaf.shape), jnp.float32), blank)


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(1), (4, *SPACE.image))


@pytest.fixture(scope="module")
def by_mask(net, images):
    run = jax.jit(lambda arch: net(masked(SPACE, arch), images))
    return [run(jnp.asarray(arch)) for arch in ARCHS]


alone = jax.jit(lambda network, images: network(images))


def test_masked_cut_extracted_and_sliced_agree(net, images, by_mask):
    sliced = Sliced(SPACE)
    for arch, (logits, stats) in zip(ARCHS, by_mask, strict=True):
        read = Cut.of(SPACE.choices, arch)
        cut_logits, cut_stats = net(read, images)
        np.testing.assert_allclose(cut_logits, logits, atol=1e-4)
        expected = jax.tree.leaves(net.cut_stats(read, stats))
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), jax.tree.leaves(cut_stats), expected)
        np.testing.assert_allclose(alone(extract(SPACE, net, arch, stats), images), logits, atol=1e-4)
        np.testing.assert_allclose(sliced.forward(net, arch, images)[0], logits, atol=1e-4)
    answers = np.stack([logits for logits, _ in by_mask])
    assert min(np.abs(a - b).max() for i, a in enumerate(answers) for b in answers[:i]) > 1e-3  # and they do differ


def test_the_layers_are_those_of_the_network(net, by_mask):
    for arch, (_, stats) in zip(ARCHS, by_mask, strict=True):
        extracted = extract(SPACE, net, arch, stats)
        count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(extracted.network, nnx.Param)))
        assert count == total_params(SPACE.layers(arch))


def test_layers_by_hand():
    found = SPACE.layers(largest(SPACE))
    convs = [layer for layer in found if isinstance(layer, Conv)]
    stem, left, right, project, grouped, same = convs
    assert stem.shape == (7, 6, 8)
    # "SAME" at stride 2: (7 - 1) * 2 + 3 - 13 = 2 rows, one on each side; (6 - 1) * 2 + 3 - 11 = 2 columns
    assert stem.padding is None
    assert (left.shape, left.kernel, left.bias, right.shape, right.kernel) == ((7, 6, 4), 3, True, (7, 6, 4), 1)
    assert (project.in_channels, project.shape[-1]) == (8, 8)
    assert (grouped.groups, grouped.dilation, grouped.bias) == (2, 2, True)
    assert same.path == "blocks.1.conv"
    assert [layer.kernel for layer in found if isinstance(layer, Depthwise)] == [5, 3]
    assert [layer.shape[-1] for layer in found if isinstance(layer, Dense)] == [4, 8, 3]
    (pool,) = (layer for layer in found if isinstance(layer, MaxPool))
    # 7 rows: windows at 0, 2, 4 fill it; 6 columns: the third window needs one column more
    assert (pool.shape, pool.padding) == ((3, 3, 8), (0, 0, 0, 1))
    assert [type(layer) for layer in found].count(Concat) == 2
    assert [type(layer) for layer in found].count(Shuffle) == 1
    # stem 42 * 8 * 9 * 2; left 42 * 4 * 9 * 8; right 42 * 4 * 8; both 42 * 8 * 25; squeeze 8 * 4, twice;
    # project 42 * 8 * 8; grouped 42 * 8 * 9 * 4; dilated 42 * 8 * 9; same 9 * 8 * 9 * 8; classifier 72 * 3
    assert total_macs(found) == 6048 + 12096 + 1344 + 8400 + 64 + 2688 + 12096 + 3024 + 5184 + 216


def test_a_network_without_choices_runs_by_the_same_machinery(images):
    space = Fixed(places=(Place(recipe=Same()), Place(recipe=Answer(positions=143, classes=3))), image=(13, 11, 2))
    net = space.supernet(jax.random.key(0))
    logits, stats = net(masked(space, smallest(space)), images)
    np.testing.assert_allclose(alone(extract(space, net, smallest(space), stats), images), logits, atol=1e-5)
    assert [type(layer) for layer in space.layers()][-3] is Add


@dataclass(frozen=True, kw_only=True)
class Wider:
    def __call__(self, b, x):
        return b.conv(x, "conv", Width((4, 8), ("outs",)))


@dataclass(frozen=True, kw_only=True)
class Twice:
    def __call__(self, b, x):
        return b.conv(b.conv(x, "conv", 2), "conv", 2)


@dataclass(frozen=True, kw_only=True)
class Unequal:
    def __call__(self, b, x):
        return b.one_of(x, "op", [lambda b, x: x, lambda b, x: b.conv(x, "conv", 9)])


@dataclass(frozen=True, kw_only=True)
class GroupedChoice:
    def __call__(self, b, x):
        return b.conv(x, "conv", Width((4, 8), ("outs",)), groups=2)


@dataclass(frozen=True, kw_only=True)
class Unlike:
    """One option has a fixed width, the other an elastic one."""

    def __call__(self, b, x):
        wide = lambda b, x: b.conv(x, "wide", 8)  # noqa: E731
        return b.one_of(x, "op", [wide, lambda b, x: b.conv(x, "conv", Width((4, 8), ("outs",)))])


@dataclass(frozen=True, kw_only=True)
class Several:
    """A convolution of several kernels."""

    kernels: tuple[int, ...]
    stride: int = 1
    padding: Any = None
    kernel_width: int | None = None

    def __call__(self, b, x):
        how = {"padding": self.padding, "kernel_width": self.kernel_width}
        return b.conv(x, "conv", 2, self.kernels, self.stride, **how)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (Place(recipe=Wider()), r"place 1 asks for a choice 'outs', which its `choices` don't bind"),
        (Place(recipe=Wider(), choices=(("outs", "w"),), when=("d", 1)), r"may be absent \(`d`\), so it must keep"),
        (Place(recipe=Same(), inputs=(1,)), r"place 1 must be fed by some of 0 to 0, got \(1,\)"),
        (Place(recipe=Twice()), r"need names of their own, got `conv`"),
        (Place(recipe=Unequal(), choices=(("op", "op"),)), r"`op` chooses among must have equally many channels"),
        (Place(recipe=Unlike(), choices=(("op", "op"), ("outs", "w"))), r"must have equally many channels, got Width"),
        (Place(recipe=Several(kernels=(2, 4))), r"several kernels must be odd and increase, got \(2, 4\)"),
        (Place(recipe=Several(kernels=(3, 5), padding=(1, 1, 1, 1))), r"need square windows and padding of their own"),
        (Place(recipe=Several(kernels=(1, 3), stride=2, padding="same")), r"need square windows and padding"),
        (Place(recipe=Several(kernels=(3, 5), kernel_width=3)), r"need square windows .* got kernel_width 3"),
        (Place(recipe=GroupedChoice(), choices=(("outs", "w"),)), r"`conv` has 2 groups, so its channels"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(place, message):
    with pytest.raises(ValueError, match=message):
        supernet(jax.random.key(0), (place,), 4)


def test_widths_follow_one_from_another():
    ins = Width((8, 16), ("ins",))
    hidden = ins.times((2, 3), "expansion", lambda n, e: n * e)
    assert (hidden.counts, hidden.choices) == (((16, 24), (32, 48)), ("ins", "expansion"))
    assert hidden.mapped(lambda n: n // 4).counts == ((4, 6), (8, 12))
    assert ins.times((3,), "expansion", lambda n, e: n * e).choices == ("ins",)  # one option is no choice
    assert elastic((8,), "outs") == Width(8)
    assert joined((Width(8), Width(4))) == Width(12)
    assert joined((ins, joined((Width(4), hidden)))) == Join((ins, Width(4), hidden))
    with pytest.raises(ValueError, match="put a convolution between them"):
        Join((ins, hidden)).mapped(lambda n: n)
    with pytest.raises(ValueError, match="counts of at least 1, nested as deep as it has choices"):
        Width((8, 16))


def test_a_block_is_there_from_the_depth_that_counts_it():
    assert [present("depth", (1, 3, 4), block) for block in (1, 2, 3, 4)] == [
        None,
        *(("depth", 1), ("depth", 1), ("depth", 2)),
    ]


def test_inputs_bring_their_choices_along():
    """The second block reads an elastic width: its slot is bound to the choice that decides it."""
    first = Place(recipe=Wider(), choices=(("outs", "stage.width"),))
    found: Any = wired((first, Place(recipe=Same())), 3)
    assert found[1].slot.choices == (("in0.0", "stage.width"),)
    assert found[1].ins == (Width((4, 8), ("in0.0",)),)


@dataclass(frozen=True, kw_only=True)
class Misnamed(Odd):
    """A block's name is bound to a choice that isn't there, or its presence hangs on one."""

    when: tuple[str, int] | None = None
    bound: str = "op"

    @property
    def places(self):
        everything, same, answer = super().places
        names = tuple((own, self.bound if own == "op" else name) for own, name in everything.choices)
        return (replace(everything, choices=names), replace(same, when=self.when), answer)


@pytest.mark.parametrize("space", [Misnamed(bound="opp"), Misnamed(when=("dep", 1))], ids=["choices", "when"])
def test_a_choice_that_is_not_there_is_named_with_the_nearest(space, net, images):
    arch = largest(space)
    ways = [
        lambda: space.layers(arch),
        lambda: net_of(space, net)(masked(space, arch), images),
        lambda: net_of(space, net)(Cut.of(space.choices, arch), images),
        lambda: Sliced(space),
        lambda: traced_layers(space, arch, SPACE.image),
    ]
    for way in ways:
        with pytest.raises(ValueError, match=r"is no choice of the space; did you mean `(op|deep)`"):
            way()


def net_of(space, net):
    """The supernet's blocks in the space's slots."""
    return Network([each.slot for each in wired(space.places, 2)], net.blocks)


def test_a_convolution_of_one_tap_may_be_padded_on_any_side():
    conv = Conv2d(jnp.ones((1, 1, 2, 3)), padding=(0, 1, 0, 1))
    assert conv(jnp.ones((1, 8, 8, 2))).shape == (1, 9, 9, 3)


@dataclass(frozen=True, kw_only=True)
class Halved:
    """A function that tells no layers."""

    def __call__(self, b, x):
        return b.function([x], x.width, run=lambda array: array / 2)


def test_a_function_that_writes_no_layers_says_what_reads_them():
    space = Fixed(places=(Place(recipe=Halved()),), image=(4, 4, 2))
    with pytest.raises(ValueError, match=r"was given no `write`: .*traced_layers\(self, arch\)"):
        space.layers()

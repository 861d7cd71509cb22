"""The width and resolution for a device: judged against all networks of spaces small enough to list."""

import itertools

import numpy as np
import pytest

from hardware.costs.memory import flash_bytes, peak_bytes
from nas.tinynas import Part, TinyNas
from search_spaces.layers import total_macs
from search_spaces.mcunet import McuNet
from search_spaces.proxyless import ProxylessStage
from search_spaces.space import option_counts

SPACE = McuNet(
    classes=10,
    resolutions=(16, 24),
    width_mults=(0.5, 1.0, 2.0),
    stem_channels=8,
    first_channels=8,
    stages=(ProxylessStage(width=16, depths=(1, 2)),),
    kernels=(3,),
    expansions=(2, 3, 6),
)
PAIRS = [(width, side) for width in (0.5, 1.0, 2.0) for side in (16, 24)]


def listed(width_mult, resolution):
    """Bytes of SRAM, of flash, and MACs of every row of genes: what sampling over genes converges to."""
    space = SPACE.at(width_mult, resolution)
    rows = itertools.product(*(range(n) for n in option_counts(space)))
    networks = [space.layers(np.array(row)) for row in rows]
    return [(peak_bytes(layers, "int8"), flash_bytes(layers, "int8"), total_macs(layers)) for layers in networks]


def fitting(pair, sram, flash):
    return [macs for peak, weights, macs in listed(*pair) if peak <= sram and weights <= flash]


@pytest.mark.parametrize(("sram", "flash"), [(10_000, 8_000), (3_500, 10**9)])
def test_the_best_part_is_that_of_all_networks(key, sram, flash):
    found = TinyNas(space=SPACE, sram_bytes=sram, flash_bytes=flash, networks=40, tries=8)
    parts = found.rank(key)
    assert sorted((part.width_mult, part.resolution) for part in parts) == PAIRS
    means = {pair: np.mean(fitting(pair, sram, flash) or [0]) for pair in PAIRS}
    best = max(means, key=lambda pair: means[pair])
    assert (parts[0].width_mult, parts[0].resolution) == best
    assert parts[0].mean_macs == pytest.approx(means[best], rel=0.15)
    chosen = found.choose(key)
    assert (chosen.width_mults, chosen.resolutions) == ((best[0],), (best[1],))


def test_everything_found_fits(key):
    sram, flash = 10_000, 8_000
    found = TinyNas(space=SPACE, sram_bytes=sram, flash_bytes=flash, networks=10, tries=2)
    for part in found.rank(key):
        assert set(part.macs) <= set(fitting((part.width_mult, part.resolution), sram, flash))
        assert list(part.macs) == sorted(part.macs)
        assert len(part.macs) <= 10
        assert part.drawn <= 20


def test_a_part_in_which_little_fits_stands_behind(key):
    # A third of the widest networks takes 5,000 bytes of flash at most (6 of 18), and they compute most; but who wants
    # every second network to fit is better served by a narrower part.
    assert [len(fitting((2.0, side), 10**9, 5_000)) for side in (16, 24)] == [6, 6]
    patient, hasty = (TinyNas(space=SPACE, sram_bytes=10**9, flash_bytes=5_000, tries=n).rank(key) for n in (6, 2))
    assert patient[0].width_mult == 2.0
    assert hasty[0].width_mult < 2.0
    assert {part.width_mult for part in hasty[-2:]} == {2.0}
    assert hasty[-2].mean_macs > hasty[0].mean_macs


def test_a_part_says_what_was_found():
    part = Part(width_mult=0.5, resolution=16, drawn=10, macs=(1, 2, 3))
    assert (part.share, part.mean_macs) == (0.3, 2.0)
    none = Part(width_mult=0.5, resolution=16, drawn=0, macs=())
    assert (none.share, none.mean_macs) == (0.0, 0.0)


def test_nothing_fits(key):
    with pytest.raises(
        ValueError, match=r"no network was found that fits 100 bytes of SRAM and 100 of flash: the small"
    ):
        TinyNas(space=SPACE, sram_bytes=100, flash_bytes=100).choose(key)
    with pytest.raises(ValueError, match="`sram_bytes` must be at least 1, got 0"):
        TinyNas(space=SPACE, sram_bytes=0, flash_bytes=100)

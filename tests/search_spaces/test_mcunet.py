"""The microcontroller space: its size, its widths by hand, and the part of it at one width and resolution."""

import numpy as np
import pytest

from search_spaces.layers import Conv, total_macs, total_params
from search_spaces.mcunet import McuNet
from search_spaces.networks.point import arch_of
from search_spaces.space import largest, size, smallest


def test_size_by_hand():
    # 12 resolutions x 9 widths, as the paper counts them; the blocks are those of Once-for-All's Proxyless space.
    assert size(McuNet()) == 12 * 9 * 7371**5 * 9 == 21_149_413_138_780_456_247_172
    assert size(McuNet().at(0.5, 160)) == 7371**5 * 9


def test_widths_by_hand():
    space = McuNet()
    layers = space.layers(np.array(arch_of(space, {"width": 0.3})))
    convs = [layer.shape[-1] for layer in layers if isinstance(layer, Conv)]
    # 0.3 * (32, 16, 24, 40, 80, 96, 192, 320) = 9.6, 4.8, 7.2, 12, 24, 28.8, 57.6, 96: to the nearest multiple of 8,
    # or to the next where that is more than a tenth too small (8 for 9.6). Behind stem and first block, each block
    # expands and projects; a stage has two of them, the last has one.
    assert convs[:2] == [16, 8]
    assert [convs[1 + 2 * i] for i in (1, 3, 5, 7, 9, 11)] == [8, 16, 24, 32, 56, 96]
    assert layers[0].shape == (48, 48, 3)


def test_a_part_has_the_networks_of_the_whole_at_its_width_and_resolution():
    space = McuNet()
    part = space.at(0.7, 128)
    assert [choice.name for choice in space.choices][:2] == ["resolution", "width"]
    deepest = {choice.name: choice.options[-1] for choice in part.choices}
    alone = part.layers(largest(part))
    within = space.layers(np.array(arch_of(space, deepest | {"resolution": 128, "width": 0.7})))
    assert alone == within


def test_ends_of_the_space():
    space = McuNet()
    low, high = space.layers(smallest(space)), space.layers(largest(space))
    # No head: the classifier reads 0.2 * 320 = 64 channels, or 320.
    assert (low[-1].in_channels, high[-1].in_channels) == (64, 320)
    assert total_macs(low) < 1e6 < 500e6 < total_macs(high)
    assert total_params(low) < 0.12e6


def test_settings_are_checked():
    with pytest.raises(ValueError, match="`width_mults` must be positive and increase strictly"):
        McuNet(width_mults=(1.0, 0.5))

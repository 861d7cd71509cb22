"""One device or eight, one process or two: the same losses; and each device's own architectures, averaged."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from nas.training import Distributed, Trainer
from nas.training.devices import check_batch, mesh_of, own_part
from search_spaces.space import Choice

PROGRAM = Path(__file__).with_name("on_devices.py")


def start(output, settings, devices, *distributed):
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    command = [sys.executable, str(PROGRAM), str(output), json.dumps(settings), *map(str, distributed)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process, output):
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert out.splitlines()[-1] == "1", out  # one compile
    return dict(np.load(output))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What the program writes for some settings on so many devices; each once."""
    folder, found = tmp_path_factory.mktemp("devices"), {}

    def run(devices=1, **settings):
        name = f"{devices}_{'_'.join(map(str, settings.values()))}.npz"
        if name not in found:
            found[name] = ended(start(folder / name, settings, devices), folder / name)
        return found[name]

    return run


def close(one, other):
    assert np.isfinite(one["losses"]).all()
    np.testing.assert_allclose(one["losses"], other["losses"], rtol=0, atol=1e-5)
    for name in (name for name in one if name.isdigit()):  # the parameters; Adam enlarges what rounding leaves of zeros
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{}, {"rule": "sandwich", "accumulate": 2}], ids=["single path", "a sandwich in two parts"]
)
def test_eight_devices_have_the_losses_of_one(ran, settings):
    one, eight = ran(1, mesh=1, **settings), ran(8, mesh="all", **settings)
    assert (one["devices"], eight["devices"]) == (1, 8)
    close(one, eight)


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(ran, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    outputs = [tmp_path / f"{i}.npz" for i in range(2)]
    processes = [start(outputs[i], {"mesh": "all"}, 2, coordinator, 2, i) for i in range(2)]
    first, second = (ended(process, output) for process, output in zip(processes, outputs, strict=True))
    assert first["devices"] == 4
    assert first["rows"] == second["rows"] == 24  # each brings its half of 48 images
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    close(ran(1, mesh=1), first)


@pytest.mark.slow
def test_architectures_of_each_device_give_the_mean_of_their_gradients(ran):
    """Beside the gradients of the architectures one by one, each on its device's share of the images."""
    found = ran(8, mesh="all", per_device=True)
    assert found["archs"].shape == (4, 8, 1, 6)
    assert all(len(np.unique(step.reshape(8, 6), axis=0)) > 3 for step in found["archs"])
    together = [found[name] for name in found if name.startswith("together")]
    one_by_one = [found[name] for name in found if name.startswith("one_by_one")]
    assert len(together) == len(one_by_one) > 20
    for a, b in zip(together, one_by_one, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    assert np.isfinite(found["losses"]).all()


# What doesn't fit


def test_a_batch_that_the_devices_cannot_share_is_refused():
    check_batch(48, 8, 3)
    with pytest.raises(ValueError, match=r"multiple of 8 to be shared by 8 devices, got 30; .*training.batch=32\?"):
        check_batch(30, 8, 1)
    with pytest.raises(ValueError, match=r"multiple of 16 .* 8 devices times 2 parts .*, got 3; .*training.batch=16\?"):
        check_batch(3, 8, 2)
    with pytest.raises(ValueError, match=r"multiple of 4 to be shared by 1 device times 4 parts .*, got 6"):
        check_batch(6, 1, 4)


def test_more_devices_than_there_are_are_refused():
    count = jax.device_count()
    there = "1 device" if count == 1 else f"{count} devices"
    with pytest.raises(ValueError, match=rf"`training.mesh` is 99, but there are only {there} \(cpu\)"):
        mesh_of(99)
    assert mesh_of("all").size == count
    assert own_part(mesh_of(1), 48) == slice(0, 48)


def test_a_rule_that_changes_shapes_has_no_architectures_of_each_device(data, settings):
    class Resolving:
        """A space of two resolutions."""

        choices = (Choice(name="resolution", options=(6, 8), static=True),)

        def supernet(self, key):
            raise AssertionError

        def layers(self, arch):
            return ()

    with pytest.raises(ValueError, match=r"needs one shape on all devices, but `resolution` changes shapes; set"):
        Trainer(Resolving(), replace(settings, per_device=True), data)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"processes": 2}, "go with a `distributed.coordinator` of the form host:port, got `None`"),
        ({"coordinator": "auto", "process": 0}, "of the form host:port, got `auto`"),
        ({"coordinator": "a:1"}, "needs `distributed.processes` and `distributed.process` too, got None and None"),
        ({"coordinator": "a:1", "processes": 2, "process": 2}, "below `distributed.processes`, got 2 of 2"),
    ],
)
def test_processes_that_cannot_find_each_other_are_refused(given, message):
    with pytest.raises(ValueError, match=message) as error:
        Distributed(**given)
    assert "\n" not in str(error.value)

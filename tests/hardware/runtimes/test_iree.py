"""IREE's compiled networks answer as onnxruntime's do, here and on an emulated Arm core."""

import os
import platform
import struct
from dataclasses import replace

import jax
import numpy as np
import pytest

from hardware.export.weights import random_weights
from hardware.measuring.campaign import reference_network
from hardware.runtimes.artifact import Artifact
from hardware.runtimes.emulator import Emulator
from hardware.runtimes.iree import Iree
from hardware.runtimes.onnx_runtime import OnnxRuntime
from hardware.runtimes.runtime import Runtime
from search_spaces.derived.sampling import sample
from search_spaces.examples import EXAMPLES
from search_spaces.graph import Graph
from search_spaces.layers import total_macs

LAYERS = reference_network()
WEIGHTS = random_weights(LAYERS)
IMAGES = np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype(np.float32)
HERE = Iree(architecture="aarch64" if platform.machine() == "aarch64" else "x86_64")
ARM = Iree(architecture="aarch64", cpu="cortex-a72")
EM_AARCH64 = 183  # the processor in an ELF file's header


@pytest.fixture(scope="module")
def here():
    return HERE.prepare(LAYERS, WEIGHTS)


@pytest.fixture(scope="module")
def arm():
    return ARM.prepare(LAYERS, WEIGHTS)


@pytest.fixture(scope="module")
def expected():
    return OnnxRuntime().run(OnnxRuntime().prepare(LAYERS, WEIGHTS), IMAGES)


@pytest.fixture
def emulated():
    """An emulated core; what it needs is installed by `.ci/run`."""
    try:
        Emulator().check()
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture
def counted(emulated, arm):
    """A count of the network's instructions; not every qemu takes the plugin that counts."""
    try:
        return ARM.instructions(arm)
    except ValueError as error:
        if "takes no plugins" not in str(error):
            raise
        pytest.skip(str(error))


def test_it_is_a_runtime_that_names_its_version_and_core():
    assert isinstance(HERE, Runtime)
    assert ARM.version.startswith("IREE 3.")
    assert ARM.version.endswith("aarch64 cortex-a72")


def test_compiled_networks_answer_as_onnxruntime_does(here, expected):
    assert (here.format, here.precision, here.input_shape) == ("vmfb", "fp32", (32, 32, 3))
    np.testing.assert_allclose(HERE.run(here, IMAGES), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("space", EXAMPLES, ids=lambda space: type(space).__name__)
def test_networks_of_every_family_of_spaces_are_compiled(space, lively):
    layers = tuple(space.layers(np.asarray(sample(jax.random.key(1), space, 1))[0]))
    weights = lively(layers)
    images = np.random.default_rng(0).normal(size=(1, *layers[0].shape)).astype(np.float32)
    expected = OnnxRuntime().run(OnnxRuntime().prepare(layers, weights), images)
    np.testing.assert_allclose(HERE.run(HERE.prepare(layers, weights), images), expected, rtol=1e-4, atol=1e-5)


def test_what_is_timed_runs_the_network(here):
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    assert np.array_equal(HERE.ready(here)().to_host(), HERE.run(here, image))


def test_tokens_come_out_as_tokens(lively):
    graph = Graph((8, 8, 3))
    graph.layer_norm(graph.patch_embed(0, 6, "patches", 4), "norm", 1e-5)
    weights = lively(graph.layers)
    images = IMAGES[:, :8, :8]
    expected = OnnxRuntime().run(OnnxRuntime().prepare(graph.layers, weights), images)
    assert expected.shape == (2, 4, 6)
    np.testing.assert_allclose(HERE.run(HERE.prepare(graph.layers, weights), images), expected, rtol=1e-4, atol=1e-5)


def test_networks_for_arm_hold_its_code(arm, here):
    def processors(artifact):
        starts = [i for i in range(len(artifact.content)) if artifact.content.startswith(b"\x7fELF", i)]
        return {struct.unpack_from("<H", artifact.content, start + 18)[0] for start in starts}

    assert processors(arm) == {EM_AARCH64}
    assert ARM.native or EM_AARCH64 not in processors(here)


def test_an_emulated_core_answers_as_onnxruntime_does(arm, expected, emulated):
    got = np.concatenate([ARM.emulator.run(arm.content, image[None]) for image in IMAGES])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_instructions_are_counted_and_two_counts_are_equal(arm, counted):
    assert ARM.instructions(arm) == counted
    # an instruction does 4 MACs at best (128 bits of fp32); without vectors each took two, a load and the MAC itself
    assert total_macs(LAYERS) / 4 < counted < 2 * total_macs(LAYERS)


def test_a_count_does_not_hang_on_the_weights(counted):
    assert ARM.instructions(ARM.prepare(LAYERS, random_weights(LAYERS, seed=1))) == counted


@pytest.mark.skipif(ARM.native, reason="this machine is an Arm")
def test_emulated_networks_are_not_timed(arm):
    with pytest.raises(ValueError, match="emulated on x86_64, so there is nothing to time; count its instructions"):
        ARM.ready(arm)
    with pytest.raises(ValueError, match="counted for `architecture` aarch64, under emulation; got x86_64"):
        HERE.instructions(arm)
    with pytest.raises(ValueError, match="refuses the artifact"):
        HERE.run(arm, IMAGES)  # made for another processor


@pytest.mark.parametrize("content", [b"", b"nonsense" * 9, None])
def test_damaged_artifacts_are_refused(content, here):
    content = here.content[:-500] if content is None else content
    damaged = Artifact(content=content, format="vmfb", precision="fp32", input_shape=(32, 32, 3))
    for use in (lambda: HERE.run(damaged, IMAGES), lambda: HERE.ready(damaged)):
        with pytest.raises(ValueError, match=r"^IREE 3\S+ \S+ host refuses the artifact: "):
            use()


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="`cpu` must name a core of"):
        Iree(architecture="x86_64" if ARM.native else "aarch64")
    with pytest.raises(ValueError, match="IREE runs fp32 here, got `int8`"):
        HERE.prepare(LAYERS, WEIGHTS, "int8")
    with pytest.raises(ValueError, match="refuses the network: Unknown CPU for target architecture aarch64"):
        Iree(architecture="aarch64", cpu="cortex-z9").prepare(LAYERS, WEIGHTS)
    with pytest.raises(ValueError, match="`timeout_s` must be above 0"):
        Emulator(timeout_s=0.0)


def test_what_the_emulator_lacks_is_said_with_the_command(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="run `apt-get install qemu-user libc6-arm64-cross libstdc"):
        Emulator(qemu="no-such-qemu").check()
    with pytest.raises(ValueError, match=r"Arm's libraries in \S+ are needed"):
        Emulator(qemu="sh", sysroot=str(tmp_path)).check()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"not in \S+/edgenas/iree-3\S+-aarch64; run `python -m hardware.runtimes"):
        Emulator(qemu="sh", sysroot=sysroot(tmp_path)).check()


def sysroot(folder):
    (folder / "lib").mkdir(exist_ok=True)
    (folder / "lib" / "libstdc++.so.6").touch()
    return str(folder)


def stand_in(folder, script):
    """An emulator that is a shell script: called in the folder of the network's files, with all arguments."""
    qemu = folder / "qemu"
    qemu.write_text(f"#!/bin/sh\n{script}\n")
    qemu.chmod(0o755)
    (folder / "iree-run-module").touch()
    return Emulator(qemu=str(qemu), sysroot=sysroot(folder), programs=str(folder), timeout_s=5.0)


def test_the_program_is_called_in_a_folder_with_the_networks_files(tmp_path):
    emulator = stand_in(tmp_path, 'echo "$@" > "$(dirname "$0")/said"; cat network.vmfb; cp input.npy output.npy')
    assert np.array_equal(emulator.run(b"module", IMAGES[:1]), IMAGES[:1])
    said = (tmp_path / "said").read_text().split()
    assert said[:3] == ["-L", str(tmp_path), str(tmp_path / "iree-run-module")]
    assert {"--device=local-sync", "--input=@input.npy", "--output=@output.npy"} <= set(said)


def test_loading_drops_out_of_a_count(tmp_path):
    count = 'case "$*" in *=2x*) echo "instructions: 240" >&2;; *) echo "instructions: 170" >&2;; esac'
    assert stand_in(tmp_path, count).instructions(b"module", (2, 2, 1)) == 70  # 240 - 170: one run more
    with pytest.raises(ValueError, match=r"takes no plugins, which counting needs \(unknown option 'plugin'\)"):
        stand_in(tmp_path, "echo \"unknown option 'plugin'\" >&2; exit 1").instructions(b"module", (2, 2, 1))


def test_what_keeps_a_count_from_being_taken_is_reported(tmp_path, monkeypatch):
    emulator = stand_in(tmp_path, "exec sleep 60")
    with pytest.raises(ValueError, match=r"qemu` hangs with a plugin; raise `timeout_s`"):
        replace(emulator, timeout_s=0.2).instructions(b"module", (2, 2, 1))
    (tmp_path / "cc").write_text("#!/bin/sh\necho no such flag >&2\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ValueError, match=r"cc` does not compile \S+count_instructions\.c: no such flag"):
        emulator.instructions(b"module", (2, 2, 1))


def test_emulated_programs_that_fail_or_hang_are_reported(tmp_path):
    with pytest.raises(ValueError, match="emulated iree-run-module refuses the artifact: bad archive"):
        stand_in(tmp_path, "echo bad archive >&2; exit 1").run(b"", IMAGES[:1])
    slow = replace(stand_in(tmp_path, "exec sleep 60"), timeout_s=0.2)
    with pytest.raises(ValueError, match=r"took more than 0.2 s; raise `timeout_s`"):
        slow.run(b"", IMAGES[:1])

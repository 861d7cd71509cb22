"""TFLite answers as JAX does, for every family of spaces.

That ONNX answers as the supernet, and what is cut from it as both, are contracts of `nas/contracts/`, which `edgenas
check` runs over anyone's space. TFLite is an extra, so it is held here, against networks that are cut out.
"""

import jax
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from hardware.runtimes.litert import LiteRt
from hardware.runtimes.onnx_runtime import OnnxRuntime
from nas.contracts.case import lively, quick
from search_spaces import EXAMPLES
from search_spaces.derived.sampling import sample
from search_spaces.extract import Extracted, weights
from search_spaces.reading import Cut, Whole
from search_spaces.space import smallest

NAMES = [type(space).__name__ for space in EXAMPLES]
NAMES = [name if name not in NAMES[:i] else f"{name}{NAMES[:i].count(name) + 1}" for i, name in enumerate(NAMES)]

pytestmark = pytest.mark.slow


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(space, id=name, marks=pytest.mark.xdist_group(f"exports of {name}"))
        for name, space in zip(NAMES, EXAMPLES, strict=True)
    ],
)
def networks(request):
    """Of the smallest network of a space and one that is drawn: layers, weights, images and JAX's logits."""
    space, found = request.param, []
    supernet = jax.device_get(lively(space))

    def run(network, calibration, images):
        stats = network(Whole(), calibration)[1]
        return stats, network(Whole(), images, stats)[0]

    for arch in (smallest(space), np.asarray(sample(jax.random.key(7), space, 1))[0]):
        layers, cut = space.layers(arch), supernet.cut(Cut.of(space.choices, arch))
        calibration, images = np.random.default_rng(1).normal(size=(2, 6, *layers[0].shape)).astype(np.float32)
        stats, logits = jax.device_get(quick(run)(cut, calibration, images))
        found.append((layers, weights(Extracted(cut, stats)), images, logits))
    return found


def test_tflite_answers_as_jax_does(networks):
    runtime = LiteRt()
    for layers, tensors, images, logits in networks:
        np.testing.assert_allclose(runtime.run(runtime.prepare(layers, tensors), images), logits, atol=1e-4)


def test_half_precision_answers_nearly_so(networks):
    """Weights of 11 significant bits: off by at most one part in 2,048, layer after layer."""
    runtime = LiteRt()
    for layers, tensors, images, logits in networks:
        answers = runtime.run(runtime.prepare(layers, tensors, "fp16"), images)
        assert abs(answers - logits).max() < 0.01 * abs(logits).max()


def test_integers_are_all_there_is_in_the_file(networks):
    """And both runtimes answer in them about as in floats; how well, `test_int8.py` says of trained networks."""
    layers, tensors, images, logits = networks[0]
    for runtime in (LiteRt(), OnnxRuntime()):
        artifact = runtime.prepare(layers, tensors, "int8", images)
        assert abs(runtime.run(artifact, images) - logits).mean() < 0.1 * np.ptp(logits)
        if artifact.format == "tflite":
            graph = schema.Model.GetRootAs(artifact.content, 0).Subgraphs(0)
            types = {graph.Tensors(i).Type() for i in range(graph.TensorsLength())}
            assert schema.TensorType.FLOAT32 not in types or graph.OperatorsLength() == 0  # 0: zeros cut every way

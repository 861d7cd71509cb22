"""Writes a network as StableHLO, the portable form of JAX's programs, which compilers such as IREE take."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax import export

from hardware.export.folding import fold_norms
from hardware.export.jax_network import answer, run_layers
from hardware.export.source import source_of
from search_spaces.layers import Layer


def to_stablehlo(layers: Sequence[Layer], weights: Mapping[str, np.ndarray], *, batch: int = 1) -> bytes:
    """The network as a StableHLO module in MLIR's byte code, with its weights in it.

    Its function `main` takes float32 images `[batch, height, width, channels]` and gives `[batch, channels]` where the
    network ends in a vector, `[batch, tokens, channels]` where it ends in tokens, else an image.

    Layers that can't change the answer (`search_spaces/alive.py`) are left out, and norms folded (`folding.py`).

    Args:
      layers: the graph in execution order, with one `Input` and one output.
      weights: arrays by `<layer.path>.<name>`, as `hardware/export/weights.py` says.
      batch: how many images at once: compilers write a program for one number.

    Raises:
      ValueError: when weights are missing, unknown or of the wrong shape; on a layer that has no operation here, or
        attributes and shapes that do not fit together (`hardware/export/shapes.py`).
    """
    folded, values = fold_norms(source_of(layers, weights))
    image = jax.ShapeDtypeStruct((batch, *layers[0].shape), np.float32)
    program = jax.jit(lambda images: answer(folded, run_layers(folded, values, images)))
    return export.export(program, platforms=["cpu"])(image).mlir_module_serialized

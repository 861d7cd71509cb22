"""Quantises an ONNX model to int8 by onnxruntime's static quantisation: scales written beside the operators (QDQ)."""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from jaxtyping import Float
from onnx import helper
from onnxruntime import quantization
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from hardware.export.calibration import calibration_of
from hardware.export.onnx_export import to_onnx
from search_spaces.layers import Layer

CHUNK = 16
IN_FLOATS = {"LayerNormalization"}


def to_onnx_int8(
    layers: Sequence[Layer],
    weights: Mapping[str, np.ndarray],
    calibration: Float[np.ndarray, "images height width channels"] | None,
) -> onnx.ModelProto:
    """The network as an ONNX model that computes in int8; images come in and answers go out as float32.

    Weights are int8, each output channel with its own scale; activations are uint8, which onnxruntime has fast routines
    for on x86 (int8 there took 2-4 times as long); biases are int32. Ranges are the smallest and the largest value that
    calibration saw. What onnxruntime has no integer routine for runs in float32 between integers, as layer norms do.

    Bytes are 0.28 times those of fp32, on small networks more: each scale is a node with names. Times on an AMD EPYC
    with AVX-512 VNNI, one thread, weights random, over those of fp32: ResNet-8 0.55, SqueezeNet 1.1 0.40, MobileNetV2
    0.35 0.64, DeiT-tiny 0.62, MobileNetV3-small 1.05 (`python -m experiments.benchmarks.exports`). On an x86 without
    VNNI there was no gain at all, and products of uint8 and int8 may saturate there, which costs accuracy.

    Args:
      layers: the graph in execution order, with one `Input` and one output.
      weights: arrays by `<layer.path>.<name>`, as `hardware/export/weights.py` says.
      calibration: images, normalised as in training.

    Raises:
      ValueError: as `to_onnx`; without calibration images, or where they don't fit the network.
    """
    images = calibration_of(layers, calibration)
    model = to_onnx(layers, weights)
    helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})  # shapes are all there
    with tempfile.TemporaryDirectory() as folder, _without_advice():
        path = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            model,
            path,
            _Images(images, model.graph.input[0].name),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=sorted({*QDQRegistry, *QLinearOpsRegistry} - IN_FLOATS),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        quantised = onnx.load(path)
    helper.set_model_props(quantised, {"input_layout": "NCHW", "precision": "int8", "input": model.doc_string})
    quantised.doc_string, quantised.producer_name = model.doc_string, model.producer_name
    return quantised


class _Images(quantization.CalibrationDataReader):
    """Hands calibration images over, some at a time, as ONNX lays them out."""

    def __init__(self, images: Float[np.ndarray, "images height width channels"], name: str):
        chunks = (images[i : i + CHUNK].transpose(0, 3, 1, 2) for i in range(0, len(images), CHUNK))
        self.feeds = ({name: np.ascontiguousarray(chunk)} for chunk in chunks)

    def get_next(self) -> Any:
        """The next images; None after the last."""
        return next(self.feeds, None)


@contextmanager
def _without_advice() -> Iterator[None]:
    """Drops what the quantiser logs on the root logger, which would set up the process's logging where nobody has."""
    root, nothing = logging.getLogger(), logging.NullHandler()

    def others(record: logging.LogRecord) -> bool:
        return "quantization" not in Path(record.pathname).parts

    root.addHandler(nothing)
    root.addFilter(others)
    try:
        yield
    finally:
        root.removeFilter(others)
        root.removeHandler(nothing)

"""Runs one TFLite file in tflite-micro's interpreter, in a process of its own: a damaged file may bring that down.

Called with the paths of the file, of images and of what to write, and the arena's bytes. It imports nothing of ours.
What tflite-micro says, its record of allocations too, goes to the standard error.
"""

import sys
from pathlib import Path

import numpy as np
from tflite_micro import runtime

INT8 = (-128, 127)


def main(model: str, images: str, outputs: str, arena_bytes: str) -> None:
    """Runs every image and writes all outputs, as floats."""
    interpreter = runtime.Interpreter.from_bytes(Path(model).read_bytes(), arena_size=int(arena_bytes))
    into, out = interpreter.get_input_details(0), interpreter.get_output_details(0)
    found = []
    for image in np.load(images, allow_pickle=False):
        scale, zero = _line(into)
        interpreter.set_input(np.clip(np.round(image[None] / scale) + zero, *INT8).astype(np.int8), 0)
        interpreter.invoke()
        scale, zero = _line(out)
        found.append((interpreter.get_output(0).astype(np.float32) - zero) * np.float32(scale))
    np.save(outputs, np.concatenate(found) if found else np.zeros((0, *out["shape"][1:]), np.float32))
    interpreter.print_allocations()


def _line(details: dict) -> tuple[float, int]:
    """The scale and the zero point of a tensor."""
    parameters = details["quantization_parameters"]
    return parameters["scales"][0], parameters["zero_points"][0]


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A winner is a folder that someone can use: weights, architecture, layers, preprocessing, classes, files to run.

from experiments.winner import load
network = load("runs/<run>/networks/most_accurate")
print(network.classify("digit.png"))
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from experiments.build import build, describe
from experiments.files import read_json, write, write_json
from nas.data.dataset import Dataset
from search_spaces.extract import Extracted, weights, with_weights
from search_spaces.layers import Layer
from search_spaces.space import Space, options
from search_spaces.static import fixed_of, input_size, resize

VERSION = 1

_forward = jax.jit(lambda network, images: network(images))  # compiled once for each network and batch size


@dataclass(frozen=True, kw_only=True)
class Winner:
    """An extracted network with all that is needed to use it.

    Attributes:
      network: gives logits of normalised images `[batch, height, width, channels]`.
      preprocessing: how a picture becomes such an image.
      class_names: in the order of the logits.
    """

    network: Extracted
    preprocessing: dict[str, Any]
    class_names: tuple[str, ...]

    def prepare(self, picture: Image.Image) -> Float[np.ndarray, "1 height width channels"]:
        """A picture, brought to the range, normalisation and size the network was trained with."""
        p = self.preprocessing
        grey = p["image_channels"] == 1
        size = (p["image_size"], p["image_size"])
        picture = picture.convert("L" if grey else "RGB")
        if picture.size != size:
            picture = picture.resize(size, Image.Resampling.BICUBIC)
        pixels: UInt8[np.ndarray, ...] = np.asarray(picture, np.uint8).reshape(1, *size, p["image_channels"])
        image = (pixels.astype(np.float32) / 255 - np.float32(p["mean"])) / np.float32(p["std"])
        return np.asarray(resize(jnp.asarray(image), p.get("resolution")))

    def logits(self, images: Float[Any, "batch height width channels"]) -> Float[Array, "batch classes"]:
        """Logits of normalised images."""
        return _forward(self.network, jnp.asarray(images))

    def classify(self, path: str | Path) -> str:
        """The class of a picture file.

        Raises:
          ValueError: when the file is no picture.
        """
        try:
            with Image.open(path) as picture:
                image = self.prepare(picture)
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(f"`{path}` cannot be read as a picture: {error}") from error
        return self.class_names[int(self.logits(image)[0].argmax())]


def save(
    folder: Path,
    extracted: Extracted,
    models: Mapping[str, bytes],
    *,
    space: Space,
    arch: tuple[int, ...],
    data: Dataset,
    facts: dict[str, Any],
) -> None:
    """Writes the folder, `architecture.json` last: a folder that has it is complete.

    Args:
      folder: is made.
      extracted: the network.
      models: the same as files of other runtimes, by name: `model.onnx` and what else was asked for.
      space: what it was cut from.
      arch: its row.
      data: for preprocessing and class names.
      facts: what else to keep beside the architecture: accuracies, seed, commit.
    """
    write(folder / "weights.safetensors", save_tensors(weights(extracted)))
    for name, content in models.items():
        write(folder / name, content)
    write_json(folder / "layers.json", [_layer_dict(layer) for layer in space.layers(np.array(arch, np.int32))])
    write_json(
        folder / "preprocessing.json",
        {
            "image_size": data.image_size,
            "resolution": input_size(space, fixed_of(space, np.array(arch, np.int32))),
            "image_channels": data.image_channels,
            "resample": data.resample,
            "scale": "pixels / 255, then (x - mean) / std per channel, then resized to `resolution` (bilinear, smoothed"
            " when it shrinks) unless that is null",
            "mean": list(data.mean),
            "std": list(data.std),
            "layout": "JAX: batch, height, width, channels; ONNX: batch, channels, height, width; TFLite: as JAX, one"
            " image at a time, in int8 as integers whose scale and zero point the file has",
            "class_names": list(data.class_names),
        },
    )
    write(
        folder / "README.md",
        "# A network found by edgenas\n\n"
        "```python\n"
        "from experiments.winner import load\n"
        'network = load("<this folder>")\n'
        'print(network.classify("picture.png"))\n'
        "```\n\n"
        "`model.onnx` gives the same logits in any ONNX runtime; `preprocessing.json` says what it wants as input. What"
        " stands beside it (`model_*.onnx`, `model_*.tflite`) is the same network in other formats or precisions;"
        " `architecture.json` says under `files` how each answers.\n",
    )
    write_json(
        folder / "architecture.json",
        {
            "version": VERSION,
            "space": describe(space),
            "arch": list(arch),
            "options": options(space, np.array(arch, np.int32)),
            **facts,
        },
    )


def load(folder: str | Path, plugins: tuple[str, ...] = ()) -> Winner:
    """Loads a winner's folder.

    Args:
      folder: as a run left it, or a copy.
      plugins: packages of yours that its space comes from.

    Raises:
      ValueError: when a file is missing, damaged or of another version.
    """
    folder = Path(folder)
    architecture = read_json(folder / "architecture.json")
    if architecture.get("version") != VERSION:
        raise ValueError(f"`{folder}` is of version {architecture.get('version')}; this edgenas reads {VERSION}")
    preprocessing = read_json(folder / "preprocessing.json")
    try:
        tensors = load_tensors((folder / "weights.safetensors").read_bytes())
    except FileNotFoundError as error:
        raise ValueError(f"`{error.filename}` is missing; copy the whole folder of the network") from error
    except SafetensorError as error:
        raise ValueError(f"`{folder / 'weights.safetensors'}` is damaged ({error}); copy the folder again") from error
    space = build(architecture["space"], plugins)
    network = with_weights(space, np.array(architecture["arch"], np.int32), tensors)
    return Winner(network=network, preprocessing=preprocessing, class_names=tuple(preprocessing["class_names"]))


def _layer_dict(layer: Layer) -> dict[str, Any]:
    return {"op": type(layer).__name__, **dataclasses.asdict(layer)}

"""What a result depends on beside its settings: versions, device, commit."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from hardware.measuring.store import host

LIBRARIES = (
    "edgenas",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "scikit-learn",
    "onnx",
    "onnxruntime",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results depend on."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in LIBRARIES}}


def device() -> str:
    """The device that JAX computes on, and the processor."""
    kind = jax.devices()[0]
    return f"{kind.platform}: {host() if kind.platform == 'cpu' else kind.device_kind}"


def commit() -> str | None:
    """The commit of the source, with `+changes` if the tree differs from it; None outside a checkout."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return f"{head}+changes" if _git(root, "status", "--porcelain") else head
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def environment() -> dict[str, Any]:
    """All of it."""
    return {"versions": versions(), "device": device(), "commit": commit()}

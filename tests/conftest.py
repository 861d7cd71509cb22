"""Shared fixtures. Shapes in signatures are checked at run time: the import hook goes in before our packages do."""

import os
from pathlib import Path

from jaxtyping import install_import_hook

PACKAGES = ["search_spaces", "hardware", "predictors", "nas", "experiments"]
install_import_hook(PACKAGES, "beartype.beartype")

import jax  # noqa: E402
import pytest  # noqa: E402


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run in several processes (`make test`), those of a file share one, unless they say otherwise."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.relative_to(Path(__file__).parent).as_posix()))


@pytest.fixture
def key() -> jax.Array:
    """One fixed key: a test that passes does so again."""
    return jax.random.key(0)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of the shared data sets (`EDGENAS_DATA`, else `../shared/data`); skips without it."""
    root = Path(os.environ.get("EDGENAS_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no data folder at {root}: set EDGENAS_DATA")
    return root

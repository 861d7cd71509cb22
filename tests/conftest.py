"""Shared fixtures. Shapes in signatures are checked at run time: the import hook goes in before our packages do."""

import os
import sys
import types
from pathlib import Path
from typing import Any

from beartype import beartype
from jaxtyping import install_import_hook

PACKAGES = ["search_spaces", "hardware", "predictors", "nas", "experiments"]


def _checked(made: Any) -> Any:
    """With checks of its annotations, unless it is made inside a function: that would be done anew at every call.

    What a recipe hands to its builder is such; `space.layers` took three to six times as long with it checked.
    """
    return made if "<locals>" in made.__qualname__ else beartype(made)


_checker = types.ModuleType("edgenas_type_checker")
_checker.checked = _checked  # pyright: ignore[reportAttributeAccessIssue]
sys.modules[_checker.__name__] = _checker  # the hook finds its checker by name
install_import_hook(PACKAGES, f"{_checker.__name__}.checked")

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
